"""LangSmith's query language: what it says of a run, and where it is refused."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_finetune.errors import SelectionError
from langchain_finetune.loaders._filter_language import COMPARATORS, Combination, Condition, parse
from langchain_finetune.loaders._run_filter import RunFilter

RUN = {
    "id": "6f1a",
    "trace_id": "77aa",
    "parent_run_id": "77aa",
    "name": "ChatOpenAI",
    "run_type": "llm",
    "status": "success",
    "start_time": "2026-01-05T12:00:00",
    "end_time": "2026-01-05T12:00:06.5+00:00",
    "error": None,
    "tags": ["prod", 'quo"ted'],
    "extra": {
        "metadata": {
            "env": "prod",
            "tenant": "b",
            "version": 3,
            "is_beta": True,
            "thread_id": "t1",
            "usage_metadata": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15},
        }
    },
    "inputs": {"messages": [[{"kwargs": {"content": "What is 56/7?"}}]], "question": {"lang": "en"}},
    "outputs": {"answer": "Eight", "score": 8},
    "feedback_stats": {"user_score": {"n": 2, "avg": 0.5}, "style": {"n": 1, "avg": 1.0}},
}


def matches(text, run=RUN):
    return RunFilter(text).matches(run)


@pytest.mark.parametrize(
    "text",
    [
        'eq(id, "6f1a")',
        'eq(name, "ChatOpenAI")',
        "eq(name, 'ChatOpenAI')",
        ' eq ( name ,"ChatOpenAI" ) ',
        'neq(name, "other")',
        'in(name, ["a", "ChatOpenAI"])',
        'search(name, "openai")',
        'eq(run_type, "llm")',
        'eq(status, "success")',
        "eq(error, null)",
        'eq(trace_id, "77aa")',
        'eq(thread_id, "t1")',
        "eq(is_root, false)",
        'gt(start_time, "2026-01-05T11:59:59Z")',
        'lte(start_time, "2026-01-05T13:00:00+01:00")',
        'lt(end_time, "2026-01-06")',
        'gt(latency, "6s")',
        "lt(latency, 7)",
        'gte(latency, "6500ms")',
        "eq(total_tokens, 15)",
        "in(total_tokens, [1, 15])",
        'has(tags, "prod")',
        'has(tags, "quo\\"ted")',
        'in(tags, ["dev", "prod"])',
        'has(metadata, \'{"env": "prod", "version": 3}\')',
        'and(eq(metadata_key, "env"), eq(metadata_value, "prod"))',
        'and(in(metadata_key, ["session_id", "conversation_id", "thread_id"]), eq(metadata_value, "t1"))',
        'and(eq(metadata_key, "version"), gte(metadata_value, 3))',
        'and(eq(metadata_key, "version"), eq(metadata_value, "3"))',
        'and(eq(metadata_key, "is_beta"), eq(metadata_value, true))',
        'and(eq(metadata_key, "is_beta"), eq(metadata_value, "true"))',
        'and(eq(input_key, "question.lang"), eq(input_value, "en"))',
        'eq(input_key, "messages")',
        'and(eq(input_key, "messages.kwargs.content"), search(input_value, "56/7"))',
        'and(eq(output_key, "score"), gt(output_value, 7.5))',
        'and(eq(feedback_key, "user_score"), gte(feedback_score, 0.5))',
        'and(eq(feedback_key, "user_score"), or(gte(feedback_score, 0.9), lt(feedback_score, 0.6)))',
        'search("what IS 56")',
        'search("eight")',
        'not(eq(name, "other"))',
        'or(eq(name, "other"), has(tags, "prod"))',
        'and(and(eq(metadata_key, "env"), eq(metadata_value, "prod")), and(eq(metadata_key, "tenant")))',
        'and(eq(metadata_key, "env"), eq(metadata_value, "prod"), eq(feedback_key, "style"))',
    ],
)
def test_what_is_true_of_the_run(text):
    assert matches(text)
    assert not matches(f"not({text})")


@pytest.mark.parametrize(
    "text",
    [
        'eq(name, "chatopenai")',
        "neq(error, null)",
        'gt(latency, "6500ms")',
        'has(tags, "pro")',
        'has(metadata, \'{"env": "dev"}\')',
        'and(eq(metadata_key, "env"), eq(metadata_value, "b"))',
        'and(eq(feedback_key, "user_score"), gte(feedback_score, 0.9))',
        'and(eq(feedback_key, "missing"), gte(feedback_score, 0))',
        'and(eq(feedback_key, "user_score"), or(gte(feedback_score, 0.9), eq(name, "x")))',
        'and(eq(input_key, "question"), eq(input_value, "en"))',
        "eq(metadata_value, 1)",
        'gt(metadata_value, "zzz")',
        "eq(execution_order, 1)",
    ],
)
def test_what_is_false_of_the_run(text):
    assert not matches(text)


def test_a_root_is_the_first_in_the_old_order():
    assert matches("eq(execution_order, 1)", {**RUN, "parent_run_id": None})


def test_a_pair_is_one_pair_inside_of_its_and():
    # 0.5 belongs to user_score and 1.0 to style: no one key has both.
    assert not matches('and(eq(feedback_key, "user_score"), and(gte(feedback_score, 1)))')
    assert matches(
        'and(eq(feedback_key, "user_score"), and(eq(feedback_key, "style"), gte(feedback_score, 1)))'
    )


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("", 1, "expected a comparator"),
        ('eq(nme, "x")', 4, "unknown field 'nme'"),
        ('equals(name, "x")', 1, "unknown word 'equals'"),
        ('eq(name "x")', 9, "expected ','"),
        ('eq(name, "x"', 13, r"expected '\)'"),
        ('eq(name, "x") or', 15, "nothing may follow"),
        ("eq(name, x)", 10, "a text stands in quotes"),
        ('eq(name, "x', 10, "expected a value"),
        ("eq(name, 5)", 10, "name is not compared with 5"),
        ('gt(name, "a")', 4, "name cannot be compared by 'gt'"),
        ('in(name, "a")', 10, "'in' takes a list"),
        ('eq(name, ["a"])', 10, "'eq' takes one value"),
        ('in(name, ["a" "b"])', 15, "expected ','"),
        ('gt(start_time, "yesterday")', 16, "compared with a time"),
        ('gt(latency, "long")', 13, "latency is not compared"),
        ("gt(total_tokens, null)", 18, "null is compared by eq and neq"),
        ('has(metadata, "no json")', 15, "a JSON object in quotes"),
        ("and()", 5, "expected a comparator"),
        ('not(eq(name, "a"), eq(name, "b"))', 1, "`not` takes one"),
        ("eq(total_tokens, 1e999)", 18, "too large"),
        ('eq(name, "\\q")', 10, "escape"),
        ("and(" * 60, 201, "nested more than 50 deep"),
    ],
)
def test_what_cannot_be_read_is_refused_at_its_position(text, position, reason):
    with pytest.raises(SelectionError, match=reason) as caught:
        parse(text, "trace_filter")
    assert f"this trace_filter cannot be read at position {position}: " in str(caught.value)


def test_a_filter_without_end_is_refused():
    with pytest.raises(SelectionError, match="longer than 100,000"):
        parse("x" * 100_001)


# --- what others wrote ---

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
leaf = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(
    leaf, lambda each: st.lists(each, max_size=3) | st.dictionaries(texts, each, max_size=3)
)
fields = st.sampled_from([*COMPARATORS, "inputs", "outputs", "extra", "feedback_stats", "parent_run_id"])
runs = st.dictionaries(fields, values, max_size=8) | st.builds(
    lambda run, metadata, stats, inputs: {
        **run,
        "extra": {"metadata": metadata},
        "feedback_stats": stats,
        "inputs": inputs,
    },
    st.dictionaries(fields, values, max_size=4),
    st.dictionaries(texts, leaf, max_size=3),
    st.dictionaries(texts, st.fixed_dictionaries({"avg": leaf}), max_size=3),
    st.dictionaries(texts, values, max_size=3),
)


def literal_for(field):
    if field.endswith("_time"):
        return st.datetimes().map(lambda time: time.isoformat())
    if field in ("latency", "total_tokens", "execution_order", "feedback_score"):
        return st.integers(-10, 10) | st.floats(allow_nan=False, allow_infinity=False)
    if field == "is_root":
        return st.booleans()
    if field == "metadata":
        return st.dictionaries(texts, texts | st.integers(), max_size=2).map(json.dumps)
    return texts


@st.composite
def conditions(draw):
    field = draw(st.sampled_from(list(COMPARATORS)))
    word = draw(st.sampled_from(COMPARATORS[field]))
    literal = literal_for(field)
    value = draw(st.lists(literal, max_size=3) if word == "in" else literal)
    return f"{word}({field}, {json.dumps(value)})"


filters = st.recursive(
    conditions() | texts.map(lambda text: f"search({json.dumps(text)})"),
    lambda inner: st.one_of(
        inner.map(lambda one: f"not({one})"),
        st.lists(inner, min_size=1, max_size=3).map(lambda some: f"and({', '.join(some)})"),
        st.lists(inner, min_size=1, max_size=3).map(lambda some: f"or({','.join(some)})"),
    ),
    max_leaves=6,
)


@given(filters, runs)
@settings(deadline=None)
def test_every_filter_of_the_language_says_yes_or_no_of_any_run(text, run):
    is_true = matches(text, run)
    assert matches(f"not({text})", run) is not is_true
    assert matches(f"and({text})", run) is is_true
    assert matches(f"or({text}, {text})", run) is is_true


@given(filters, filters, runs)
@settings(deadline=None)
def test_or_is_either_and_not_or_is_neither(first, second, run):
    either = matches(first, run) or matches(second, run)
    assert matches(f"or({first}, {second})", run) is either
    assert matches(f"and(not({first}), not({second}))", run) is not either


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from([*"()[],\"\\'", "and", "eq", "name", "1", " "])).map("".join)
)
def test_no_text_breaks_the_parser(text):
    try:
        parsed = parse(text)
    except SelectionError as e:
        assert "cannot be read at position" in str(e)  # noqa: PT017  # either is right
    else:
        assert isinstance(parsed, Condition | Combination)


@given(texts)
def test_a_text_is_compared_as_it_is(text):
    assert matches(f"eq(name, {json.dumps(text)})", {"name": text})
    quoted = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    assert matches(f"eq(name, '{quoted}')", {"name": text})


def test_a_run_with_very_many_values_is_still_tried():
    run = {"inputs": {"docs": [{"text": str(number)} for number in range(200_000)]}}
    assert matches('and(eq(input_key, "docs.text"), eq(input_value, "0"))', run)
