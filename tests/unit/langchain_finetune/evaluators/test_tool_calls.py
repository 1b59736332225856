import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage

from langchain_finetune.evaluators.tool_calls import (
    Answer,
    ToolCall,
    given_answer,
    is_exact,
    is_json_equal,
    most_tokens,
    recorded_answer,
)
from tests.fakes.training_rows import call

# A machine that is busy with something else is no defect.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def answer(*calls, text=""):
    return Answer(text, tuple(ToolCall(name, arguments) for name, arguments in calls))


def message(*calls, content=None):
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


def test_tool_calls_are_read_from_openais_form():
    read = recorded_answer(message(call(arguments='{"num1": 56, "num2": 7}'), call("Other", "{}")))
    assert read == answer(("Calculator", {"num1": 56, "num2": 7}), ("Other", {}))


def test_a_legacy_function_call_is_read_too():
    read = recorded_answer({"content": None, "function_call": {"name": "f", "arguments": '{"a": 1}'}})
    assert read == answer(("f", {"a": 1}))


def test_arguments_that_are_no_json_are_kept_as_they_are():
    assert recorded_answer(message(call(arguments="{num1: 56"))).calls == (
        ToolCall("Calculator", "{num1: 56"),
    )


@pytest.mark.parametrize(
    "content", ["It is 8.", [{"type": "text", "text": "It is "}, {"type": "text", "text": "8."}]]
)
def test_text_is_read_from_either_form(content):
    assert recorded_answer({"content": content}).text == "It is 8."


def test_a_models_answer_is_read_with_all_kinds_of_calls():
    given_message = AIMessage(
        "text",
        tool_calls=[{"name": "a", "args": {"x": 1}, "id": "1"}],
        invalid_tool_calls=[{"name": "b", "args": "{x", "id": "2", "error": None}],
        additional_kwargs={"function_call": {"name": "c", "arguments": '{"y": 2}'}},
    )
    assert given_answer(given_message) == answer(("a", {"x": 1}), ("b", "{x"), ("c", {"y": 2}), text="text")


@pytest.mark.parametrize(
    ("expected", "given_calls", "is_same"),
    [
        ([("f", {"a": 1, "b": 2})], [("f", {"b": 2, "a": 1})], True),
        ([("f", {"a": 7})], [("f", {"a": 7.0})], True),
        ([("f", {"a": 7})], [("f", {"a": "7"})], False),
        ([("f", {"a": 1})], [("f", {"a": True})], False),
        ([("f", {"a": 1})], [("g", {"a": 1})], False),
        ([("f", {"a": 1})], [("f", {"a": 1, "b": None})], False),
        ([("f", {"a": [1, 2]})], [("f", {"a": [2, 1]})], False),
        ([("f", 1), ("g", 2)], [("g", 2), ("f", 1)], True),
        ([("f", 1), ("f", 1)], [("f", 1)], False),
        ([("f", 1)], [("f", 1), ("f", 1)], False),
        ([("f", 1), ("f", True)], [("f", True), ("f", 1)], True),
        ([("f", "{x")], [("f", "{x")], True),
        ([("f", 1)], [], False),
    ],
)
def test_calls_have_to_agree_in_name_and_arguments_in_any_order(expected, given_calls, is_same):
    assert is_exact(answer(*expected), answer(*given_calls)) is is_same


def test_beside_calls_the_text_is_free():
    assert is_exact(answer(("f", {})), answer(("f", {}), text="Let me calculate that for you."))


@pytest.mark.parametrize(
    ("text", "calls", "is_same"), [(" 8.\n", [], True), ("8", [], False), ("8.", [("f", {})], False)]
)
def test_without_calls_the_text_counts_and_a_call_is_a_miss(text, calls, is_same):
    assert is_exact(answer(text="8."), answer(*calls, text=text)) is is_same


@UNHURRIED
@given(st.lists(st.tuples(st.sampled_from("ab"), JSON), max_size=4), st.randoms())
def test_an_answer_matches_itself_in_any_order_and_through_json(calls, random):
    shuffled = [ToolCall(name, json.loads(json.dumps(arguments))) for name, arguments in calls]
    random.shuffle(shuffled)
    assert is_exact(answer(*calls, text="t"), Answer("t", tuple(shuffled)))


@UNHURRIED
@given(JSON, JSON)
def test_equality_of_json_is_that_of_its_canonical_text(left, right):
    def canonical(value):
        if isinstance(value, bool) or value is None or isinstance(value, str):
            return repr(value)
        if isinstance(value, list):
            return [canonical(item) for item in value]
        if isinstance(value, dict):
            return {key: canonical(item) for key, item in value.items()}
        return ("number", value)

    assert is_json_equal(left, right) is (canonical(left) == canonical(right))


@UNHURRIED
@given(JSON)
def test_any_assistant_message_is_read_without_a_crash(value):
    for key in ("content", "tool_calls", "function_call"):
        recorded_answer({key: value})
    recorded_answer({"tool_calls": [value]})
    recorded_answer(
        {"tool_calls": [{"function": value}], "function_call": {"name": value, "arguments": value}}
    )


def test_the_bound_of_tokens_has_room_for_what_is_written_around_a_call():
    arguments = '{"num1": 56, "num2": 7, "operation": "/"}'
    text = f'<tool_call>\n{{"name": "Calculator", "arguments": {arguments}}}\n</tool_call>'
    assert len(text) <= most_tokens(message(call(arguments=arguments))) < 2 * len(text)
    assert most_tokens({"content": "ö" * 100}) >= 200
