"""Whatever a run holds, it ends in a session or in a rejection with its reason."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_finetune.handles import RecordedSession
from langchain_finetune.runs import SENTENCES, Reason, Rejection, read_run
from tests.fakes.recorded_runs import DATA, chat_run, recorded

SHIPPED = sorted(path.stem for path in DATA.glob("*.json") if not path.stem.startswith("otel_spans"))


def test_reasons_all_have_a_sentence():
    assert set(SENTENCES) == set(Reason)
    assert all(reason.value == reason.value.lower() for reason in Reason)


# --- bad input ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, 1, "run", [], [{}], True])
def test_what_is_no_run_is_rejected(value):
    assert read_run(value) == Rejection("", Reason.NOT_A_RUN)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"run_type": "chain"}, Reason.NOT_AN_LLM_RUN),
        ({"error": "ValueError()"}, Reason.ERRORED),
        ({"status": "error"}, Reason.ERRORED),
        ({"outputs": None, "end_time": None}, Reason.PENDING),
        ({"outputs": {}, "status": "pending"}, Reason.PENDING),
        ({"outputs": None}, Reason.NO_ANSWER),
        ({"outputs": {"generations": [[]]}}, Reason.NO_ANSWER),
        ({"outputs": {"choices": []}}, Reason.NO_ANSWER),
        ({"outputs": {"choices": None}}, Reason.UNKNOWN_SHAPE),
        ({"outputs": {"a": "hi", "b": "ho"}}, Reason.UNKNOWN_SHAPE),
        ({"outputs": {"output": None}}, Reason.NO_ANSWER),
        ({"outputs": {}, "outputs_s3_urls": {"ROOT": {"presigned_url": "x"}}}, Reason.OFFLOADED),
        ({"inputs": None, "inputs_s3_urls": {"ROOT": {"presigned_url": "x"}}}, Reason.OFFLOADED),
        ({"outputs": {"generations": None}}, Reason.UNKNOWN_SHAPE),
        ({"outputs": {"generations": [["text"]]}}, Reason.UNKNOWN_SHAPE),
        ({"outputs": ["text"]}, Reason.UNKNOWN_SHAPE),
        ({"inputs": {}}, Reason.HIDDEN_INPUTS),
        ({"inputs": {"messages": []}}, Reason.HIDDEN_INPUTS),
        ({"inputs": {"messages": [[]]}}, Reason.HIDDEN_INPUTS),
        ({"inputs": {"messages": [["text"]]}}, Reason.UNKNOWN_MESSAGE),
        ({"inputs": {"messages": {"a": 1}}}, Reason.UNKNOWN_SHAPE),
        ({"inputs": {"input": "hi"}}, Reason.UNKNOWN_SHAPE),
        ({"inputs": {"prompts": ["hi"]}}, Reason.NOT_CHAT_MODEL),
    ],
)
def test_each_bad_shape_has_its_reason(changes, reason):
    run = {**chat_run(7, "hi"), **changes}
    assert read_run(run) == Rejection(run["id"], reason)


def test_an_errored_run_with_an_answer_is_read_when_errors_are_asked_for():
    run = chat_run(7, "hi", error="ToolException()")
    assert read_run(run, include_errors=True).answer["content"] == "ok"


def test_columns_that_are_json_strings_are_parsed():
    run = chat_run(7, "hi")
    strings = {
        name: json.dumps(run[name]) for name in ("inputs", "outputs", "extra", "feedback_stats", "tags")
    }
    assert read_run({**run, **strings}) == read_run(run)


def test_a_column_that_is_no_json_is_an_unknown_shape():
    assert read_run({**chat_run(7, "hi"), "inputs": "{broken"}).reason == Reason.UNKNOWN_SHAPE


def test_the_run_itself_is_left_as_it_was():
    run = recorded("core1__tools_roundtrip")["runs"][1]
    before = copy.deepcopy(run)
    read_run(run)
    assert run == before


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
RUNS = [run for name in SHIPPED for run in recorded(name)["runs"]]


def paths_in(value, path=()):
    yield path
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, child in children:
        yield from paths_in(child, (*path, key))


def replaced(value, path, new):
    if not path:
        return new
    changed = copy.copy(value)
    changed[path[0]] = replaced(value[path[0]], path[1:], new)
    return changed


def assert_outcome(run):
    outcome = read_run(run)
    assert isinstance(outcome, RecordedSession | Rejection)
    run_id = run.get("id") if isinstance(run, dict) else None
    is_id = isinstance(run_id, str) or (isinstance(run_id, int) and abs(run_id) <= 2**53)
    assert outcome.run_id == (str(run_id) if is_id else "")
    if isinstance(outcome, RecordedSession):
        for message in (*outcome.messages, outcome.answer):
            assert isinstance(message["role"], str)
            assert isinstance(message["content"], str | list | None)
            for tool_call in message.get("tool_calls", ()):
                assert isinstance(tool_call["function"]["arguments"], str)


@given(JSON)
@settings(deadline=None)
def test_any_json_value_gives_a_session_or_a_rejection(value):
    assert_outcome(value)


@given(
    st.fixed_dictionaries(
        {"id": JSON}, optional=dict.fromkeys(("inputs", "outputs", "extra", "error", "tags"), JSON)
    )
)
@settings(deadline=None)
def test_any_envelope_gives_a_session_or_a_rejection(run):
    assert_outcome(run)


@given(st.data())
@settings(deadline=None, max_examples=400)
def test_any_damage_to_a_recorded_run_gives_a_session_or_a_rejection(data):
    run = data.draw(st.sampled_from(RUNS))
    for _ in range(data.draw(st.integers(1, 3))):
        paths = [path for path in paths_in(run) if path]
        run = replaced(run, data.draw(st.sampled_from(paths)), data.draw(JSON))
        if not isinstance(run, dict):
            break
    assert_outcome(run)


def nested(depth):
    value = {"a": 1}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize("depth", [500, 100_000])
def test_nesting_without_end_is_rejected(depth):
    run = recorded("core1__tools_roundtrip")["runs"][0]
    run["outputs"]["generations"][0][0]["message"]["kwargs"]["tool_calls"][0]["args"] = nested(depth)
    assert read_run(run) == Rejection(run["id"], Reason.TOO_DEEP)


def test_figures_that_nobody_counts_are_left_out():
    run = chat_run(
        7, "hi", feedback_stats={"a": {"avg": 10**400}, "b": {"avg": float("nan")}, "c": {"avg": 1}}
    )
    run["outputs"]["llm_output"]["token_usage"]["prompt_tokens"] = 10**400
    session = read_run(run)
    assert session.feedback == {"c": 1.0}
    assert "prompt_tokens" not in session.usage


def test_an_id_without_end_is_none():
    assert read_run({**chat_run(7, "hi"), "id": nested(100_000)}).run_id == ""
    assert read_run({**chat_run(7, "hi"), "id": 10**5000}).run_id == ""
    assert read_run({**chat_run(7, "hi"), "trace_id": nested(100_000)}).trace_id == chat_run(7, "hi")["id"]


def test_nesting_without_end_around_the_call_is_rejected():
    run = chat_run(7, "hi")
    run["extra"] = {"metadata": {"a": nested(100_000)}, "invocation_params": {"a": nested(100_000)}}
    assert read_run(run) == Rejection(run["id"], Reason.TOO_DEEP)
