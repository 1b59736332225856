"""Every recorded run gives what was really sent to the model and what it answered."""

import copy
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_finetune.handles import RecordedSession
from langchain_finetune.runs import SENTENCES, Reason, Rejection, read_run
from tests.fakes.recorded_runs import DATA, chat_run, recorded

SHIPPED = sorted(path.stem for path in DATA.glob("*.json"))
SHARED = Path(__file__).parents[4].parent / "shared" / "data" / "langsmith_runs"

# Claude's and the Responses API's requests are no chat completions: there is no list of messages to compare.
OTHER_WIRES = ("core1__anthropic", "core1__responses", "ls015__anthropic", "ls015__openai_responses")

REJECTED = {
    "core02__completion_llm": ["not_chat_model"],
    "core1__finish_length": ["truncated"],
    "core1__responses_builtin_web_search": ["builtin_tool"],
    "core1__responses_previous_id": ["previous_response_id"],
    "core1__tools_invalid_json": ["invalid_tool_arguments"],
    "lc0352__generate_two": ["pending", "pending"],
    "ls015__openai_error": ["errored"],
    "ls015__openai_refusal_stream": ["empty_answer"],
    "ls015__parent_traceable_with_llm_child": ["not_an_llm_run"],
}

PLAIN = {"role": "assistant", "content": "Hello! The answer is 42. é你好"}


def call(call_id, name, arguments):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


BOTH_TOOLS = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        call("call_0abc", "get_weather", '{"city": "Paris"}'),
        call("call_1abc", "add", '{"a": 7, "b": 7}'),
    ],
}
IN_RESPONSES = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        call("call_0r", "get_weather", '{"city": "Paris"}'),
        call("call_1r", "add", '{"a": 7, "b": 7}'),
    ],
}
ANSWERS = {
    "core02__tools_stream": [BOTH_TOOLS],
    "core1__astream_events_v2": [PLAIN],
    "core1__chat_v1_output_version": [BOTH_TOOLS],
    "core1__developer_role": [PLAIN],
    "core1__function_message_history": [PLAIN],
    "core1__functions_bind": [
        {
            "role": "assistant",
            "content": None,
            "function_call": {"name": "get_weather", "arguments": '{"city": "Paris", "unit": "c"}'},
        }
    ],
    "core1__multimodal_v1_blocks": [PLAIN],
    "core1__n2": [PLAIN],
    "core1__names_and_ids": [PLAIN],
    "core1__plain": [PLAIN],
    "core1__refusal": [
        {"role": "assistant", "content": None, "refusal": "I'm sorry, I can't help with that."}
    ],
    "core1__responses_tools_responses_v1": [
        IN_RESPONSES,
        {"role": "assistant", "content": "Hello! The answer is 42."},
    ],
    "core1__tools_parallel_stream": [BOTH_TOOLS],
    "core1__tools_roundtrip": [BOTH_TOOLS, PLAIN],
    "lc0335__tools_roundtrip": [BOTH_TOOLS, PLAIN],
    "lc0352__functions_stream": [
        {
            "role": "assistant",
            "content": None,
            "function_call": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
        }
    ],
    "ls015__openai_multimodal": [PLAIN],
    "ls015__openai_n2": [PLAIN],
    "ls015__openai_tools_parallel_stream": [BOTH_TOOLS],
    "ls015__parent_traceable_with_llm_child": [PLAIN],
    "public__any_agent_chatlitellm": [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                call("call_hYPpXiyNNLiRRytLlJdNFpGN", "search_web", '{"query": "best agent frameworks 2023"}')
            ],
        }
    ],
    "public__sdk_langsmith_js_wrap_openai_stream_no_usage": [
        {"role": "assistant", "content": "Howdy! How can I assist you today?"}
    ],
}


def outcomes(name):
    return [read_run(run) for run in recorded(name)["runs"]]


def test_every_shipped_recording_has_an_expectation():
    assert set(SHIPPED) == {*REJECTED, *ANSWERS}


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_the_answer_is_the_response_of_the_model(name):
    assert [it.answer for it in outcomes(name) if isinstance(it, RecordedSession)] == ANSWERS[name]


@pytest.mark.parametrize("name", sorted(REJECTED))
def test_what_cannot_be_trained_on_is_rejected_with_its_reason_and_id(name):
    rejections = [it for it in outcomes(name) if isinstance(it, Rejection)]
    assert [rejection.reason for rejection in rejections] == REJECTED[name]
    ids = [run["id"] for run in recorded(name)["runs"]]
    assert all(rejection.run_id in ids for rejection in rejections)


def canonical(message):
    """An assistant message that only calls: null, absent and empty content say the same."""
    if message.keys() & {"tool_calls", "function_call"}:
        return {**message, "content": message.get("content") or None}
    return message


def assert_as_sent(scenario, name):
    llm_runs = [run for run in scenario["runs"] if run["run_type"] == "llm"]
    for request, run in zip(scenario.get("model_requests") or [], llm_runs, strict=False):
        session = read_run(run)
        if isinstance(session, Rejection) or name.startswith(OTHER_WIRES):
            continue
        assert [canonical(it) for it in session.messages] == [canonical(it) for it in request["messages"]]
        assert session.tools == request.get("tools")
        assert session.functions == request.get("functions")


@pytest.mark.parametrize("name", SHIPPED)
def test_messages_and_schemas_are_what_was_sent(name):
    assert_as_sent(recorded(name), name)


def test_messages_and_schemas_are_what_was_sent_in_the_whole_collection():
    """The collection that the shipped recordings come from, beside the repository where it is at hand."""
    if not SHARED.is_dir():
        pytest.skip(f"no collection of recorded runs at {SHARED}: only the shipped ones were compared")
    names = sorted(path.stem for path in SHARED.glob("*.json"))
    assert len(names) > len(SHIPPED)
    for name in names:
        scenario = json.loads((SHARED / f"{name}.json").read_text())
        if "runs" in scenario:
            assert_as_sent(scenario, name)


def test_responses_tools_are_read_in_chat_form():
    first, second = outcomes("core1__responses_tools_responses_v1")
    assert first.tools[0]["function"]["name"] == "get_weather"
    assert [message["role"] for message in second.messages] == ["system", "user", "assistant", "tool", "tool"]
    assert second.messages[2] == IN_RESPONSES


@pytest.mark.parametrize("name", ["core1__n2", "ls015__openai_n2"])
def test_further_candidates_are_kept_apart(name):
    (session,) = outcomes(name)
    assert session.candidates == [{**PLAIN, "content": PLAIN["content"] + " (choice 1)"}]


@pytest.mark.parametrize("name", ["core1__plain", "lc0335__tools_roundtrip", "ls015__openai_n2"])
def test_token_counts_have_one_name_whoever_recorded_them(name):
    usage = outcomes(name)[0].usage
    assert usage == {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}


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
        ({"outputs": {"text": "hi"}}, Reason.UNKNOWN_SHAPE),
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
    assert outcome.run_id == ("" if run_id is None else str(run_id))
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


def test_nesting_without_end_around_the_call_is_rejected():
    run = chat_run(7, "hi")
    run["extra"] = {"metadata": {"a": nested(100_000)}, "invocation_params": {"a": nested(100_000)}}
    assert read_run(run) == Rejection(run["id"], Reason.TOO_DEEP)
