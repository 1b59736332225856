"""Every recorded run gives what was really sent to the model and what it answered.

The shipped recordings are compared always; the whole collection that they come from where it is at hand:
beside the repository, or where `RECORDED_RUNS` says.
"""

import json
import os
from pathlib import Path

import pytest

from langchain_finetune.handles import RecordedSession
from langchain_finetune.runs import Rejection, read_run
from tests.fakes.model_requests import canonical, prompt_of, tools_of, with_parsed_arguments
from tests.fakes.recorded_runs import DATA

SHIPPED = sorted(DATA.glob("*.json"))
BESIDE = Path(__file__).parents[4].parent / "shared" / "data" / "langsmith_runs"
SHARED = Path(os.environ.get("RECORDED_RUNS", BESIDE))

REJECTED = {
    "core02__completion_llm": ["not_chat_model"],
    "core02__llmchain": ["not_an_llm_run", "not_an_llm_run"],
    "core1__audio_output": ["unsupported_content"],
    "core1__finish_length": ["truncated"],
    "core1__responses_builtin_web_search": ["builtin_tool"],
    "core1__responses_previous_id": ["previous_response_id"],
    "core1__tools_invalid_json": ["invalid_tool_arguments"],
    "lc0335__completion_llm": ["not_chat_model"],
    "lc0335__llmchain": ["not_an_llm_run"],
    "lc0352__generate_two": ["pending", "pending"],
    "lc0352__llmchain": ["not_an_llm_run"],
    "ls015__anthropic_stream_helper": ["pending"],
    "ls015__openai_error": ["errored"],
    "ls015__openai_refusal_stream": ["empty_answer"],
    "ls015__parent_traceable_with_llm_child": ["not_an_llm_run"],
    "own__structured_output": ["not_an_llm_run", "not_an_llm_run"],
    "public__get_run_2026_01_root_chain": ["not_an_llm_run"],
}
THOUGHT = "**Thinking** about it"
REASONING = {
    "core1__anthropic_thinking": [["Let me think."]],
    "core1__responses_reasoning_responses_v1": [[THOUGHT]],
    "core1__responses_reasoning_v0": [[THOUGHT]],
    "core1__responses_stream_responses_v1": [[THOUGHT]],
    "core1__responses_tools_responses_v1": [[THOUGHT], [THOUGHT, THOUGHT]],
    "core1__responses_tools_v0": [[THOUGHT], [THOUGHT, THOUGHT]],
    "core1__responses_tools_v1": [[THOUGHT], [THOUGHT, THOUGHT]],
    "ls015__openai_responses_str": [[THOUGHT]],
    "own__responses_history": [[None, "Hm."], [None, "Hm.", "Hm."]],
    "own__responses_instructions": [["Hm."]],
    "own__wrapped_responses_tools": [["Hm."], ["Hm.", "Hm."]],
    "ls015__openai_responses_stream": [[THOUGHT]],
}


def said(content, **fields):
    return {"role": "assistant", "content": content, **fields}


def call(call_id, name, arguments):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def called(*calls, content=None):
    return said(content, tool_calls=[call(*each) for each in calls])


def called_function(arguments):
    return said(None, function_call={"name": "get_weather", "arguments": arguments})


PLAIN = [said("Hello! The answer is 42. é你好")]
CITY, SUM = '{"city": "Paris"}', '{"a": 7, "b": 7}'
WEATHER = [called(("call_0abc", "get_weather", CITY))]
BOTH = [called(("call_0abc", "get_weather", CITY), ("call_1abc", "add", SUM))]
BOTH_R = [called(("call_0r", "get_weather", CITY), ("call_1r", "add", SUM))]
RESPONSE = [said("Hello! The answer is 42.")]
CLAUDE = [said("Hello from Claude.")]
HEY = [said("hey")]
HOWDY = [said("Howdy! How can I assist you today?")]
FUNCTION = [called_function('{"city": "Paris", "unit": "c"}')]
PART_OF_FUNCTION = [called_function(CITY)]
REFUSED = [said(None, refusal="I'm sorry, I can't help with that.")]
BOTH_OF_CLAUDE = [
    called(("toolu_0", "get_weather", CITY), ("toolu_1", "add", SUM), content="I'll check."),
    *CLAUDE,
]
BOTH_AS_WRAPPED = [
    called(
        ("toolu_0", "get_weather", '{"city":"Paris"}'),
        ("toolu_1", "add", '{"a":7,"b":7}'),
        content="I'll check.",
    ),
    *CLAUDE,
]
SEARCH = [
    called(
        ("call_hYPpXiyNNLiRRytLlJdNFpGN", "search_web", '{"query": "best agent frameworks 2023"}'),
    )
]
FAKE = [called(("1", "get_weather", '{"city": "P"}'))]
JSON_TEXT = [said('{"name": "Paris", "age": 7}')]

SUNNY = [said("It is sunny.")]
ZURICH = [called(("call_1", "get_weather", '{"city": "Zürich"}'))]
ANN = [said('{"name": "Ann", "age": 7}')]

ANSWERS = {
    "own__escaped_data": SUNNY,
    "own__langgraph_node": SUNNY,
    "own__responses_history": [*ZURICH, *SUNNY],
    "own__responses_instructions": SUNNY,
    "own__run_tree": SUNNY * 2,
    "own__stream_tools": ZURICH,
    "own__structured_output": ANN,
    "own__traceable_chunks": [*SUNNY, *ZURICH],
    "own__traceable_completion": SUNNY,
    "own__traceable_constructed": SUNNY,
    "own__traceable_message_chunks": SUNNY,
    "own__wrapped_chat_parse": ANN,
    "own__wrapped_chat_tools": [*ZURICH, *SUNNY],
    "own__wrapped_responses_tools": [*ZURICH, *SUNNY],
    "core02__functions": PART_OF_FUNCTION,
    "core02__generate_two": PLAIN * 2,
    "core02__llmchain": PLAIN,
    "core02__multimodal": PLAIN,
    "core02__n2": PLAIN,
    "core02__tools_roundtrip": [*BOTH, *PLAIN],
    "core02__tools_stream": BOTH,
    "core1__anthropic_thinking": CLAUDE,
    "core1__anthropic_tools": BOTH_OF_CLAUDE,
    "core1__astream_events_v2": PLAIN,
    "core1__batch": PLAIN * 2,
    "core1__cache_hit": PLAIN * 2,
    "core1__chat_v1_output_version": BOTH,
    "core1__chat_v1_output_version_text": PLAIN,
    "core1__developer_role": PLAIN,
    "core1__fake_model": HEY,
    "core1__function_message_history": PLAIN,
    "core1__functions_bind": FUNCTION,
    "core1__functions_stream": FUNCTION,
    "core1__generic_fake_toolcalls": FAKE,
    "core1__metadata_tags_run_name": PLAIN,
    "core1__multimodal_image_url": PLAIN,
    "core1__multimodal_v0_blocks": PLAIN,
    "core1__multimodal_v1_blocks": PLAIN,
    "core1__n2": PLAIN,
    "core1__names_and_ids": PLAIN,
    "core1__plain": PLAIN,
    "core1__refusal": REFUSED,
    "core1__responses_plain": RESPONSE,
    "core1__responses_reasoning_responses_v1": RESPONSE,
    "core1__responses_reasoning_v0": RESPONSE,
    "core1__responses_stream_responses_v1": RESPONSE,
    "core1__responses_tools_responses_v1": [*BOTH_R, *RESPONSE],
    "core1__responses_tools_v0": [*BOTH_R, *RESPONSE],
    "core1__responses_tools_v1": [*BOTH_R, *RESPONSE],
    "core1__stream": PLAIN,
    "core1__stream_events_v3_tools": BOTH,
    "core1__tools_choice_forced": WEATHER,
    "core1__tools_not_used": PLAIN,
    "core1__tools_parallel_stream": BOTH,
    "core1__tools_roundtrip": [*BOTH, *PLAIN],
    "lc0335__call": PLAIN,
    "lc0335__functions": PART_OF_FUNCTION,
    "lc0335__llmchain": PLAIN,
    "lc0335__plain": PLAIN,
    "lc0335__stream": PLAIN,
    "lc0335__tools": BOTH,
    "lc0335__tools_roundtrip": [*BOTH, *PLAIN],
    "lc0352__functions": PART_OF_FUNCTION,
    "lc0352__functions_stream": PART_OF_FUNCTION,
    "lc0352__llmchain": PLAIN,
    "lc0352__multimodal": PLAIN,
    "lc0352__n2": PLAIN,
    "lc0352__tools": BOTH,
    "lc0352__tools_roundtrip": [*BOTH, *PLAIN],
    "ls015__anthropic_plain": CLAUDE,
    "ls015__anthropic_tools": BOTH_AS_WRAPPED,
    "ls015__openai_async": PLAIN,
    "ls015__openai_developer_role": PLAIN,
    "ls015__openai_multimodal": PLAIN,
    "ls015__openai_n2": PLAIN,
    "ls015__openai_plain": PLAIN,
    "ls015__openai_refusal": REFUSED,
    "ls015__openai_responses_parse": JSON_TEXT,
    "ls015__openai_responses_str": RESPONSE,
    "ls015__openai_responses_stream": RESPONSE,
    "ls015__openai_tools_parallel_stream": BOTH,
    "ls015__parent_traceable_with_llm_child": PLAIN,
    "ls015__trace_ctx": HEY,
    "ls015__traceable_choices": HEY,
    "ls015__traceable_generator": HEY,
    "ls015__traceable_langchain_objects": [called(("1", "get_weather", '{"city": "P"}'), content="hey")],
    "ls015__traceable_list_of_messages": HEY,
    "ls015__traceable_message": HEY,
    "ls015__traceable_messages_dict_arg": HEY,
    "ls015__traceable_role_content": FAKE,
    "ls015__traceable_string": HEY,
    "ls015__traceable_tuple": HEY,
    "otel__derived_genai_prompt_n": HEY,
    "otel__derived_input_value_json": HEY,
    "otel__derived_input_value_str": HEY,
    "otel_spans__langchain": WEATHER,
    "public__any_agent_chatlitellm": SEARCH,
    "public__sdk_langsmith_js_wrap_openai_default": HOWDY,
    "public__sdk_langsmith_js_wrap_openai_stream_no_usage": HOWDY,
    "public__sdk_langsmith_py_wrap_openai_": HOWDY,
    "public__sdk_langsmith_py_wrap_openai_stream_no_usage": HOWDY,
}


def assert_as_recorded(path):
    """Compare all that one file holds: outcomes, reasons, ids, answers, prompts, schemas, reasoning."""
    scenario = json.loads(path.read_text())
    name, records = path.stem, scenario.get("runs") or scenario["spans"]
    outcomes = [read_run(record) for record in records]
    sessions = [each for each in outcomes if isinstance(each, RecordedSession)]
    rejections = [each for each in outcomes if isinstance(each, Rejection)]
    assert [each.run_id for each in outcomes] == [record.get("id", "") for record in records]
    assert [each.reason.value for each in rejections] == REJECTED.get(name, [])
    assert [each.answer for each in sessions] == ANSWERS.get(name, [])
    assert [each.reasoning for each in sessions] == REASONING.get(name, [None] * len(sessions))
    pairs = zip(outcomes, records, strict=True)
    model_runs = [outcome for outcome, record in pairs if record.get("run_type") == "llm"]
    for request, outcome in zip(scenario.get("model_requests") or (), model_runs, strict=False):
        if isinstance(outcome, RecordedSession):
            assert_as_sent(outcome, request)


def assert_as_sent(session, request):
    is_anthropic = request["model"].startswith("claude")
    form = with_parsed_arguments if is_anthropic else canonical
    assert [form(each) for each in session.messages] == [form(each) for each in prompt_of(request)]
    assert session.tools == tools_of(request)
    assert session.functions == request.get("functions")
    assert session.parallel_tool_calls == request.get("parallel_tool_calls")


def test_at_least_forty_recordings_are_shipped_and_each_has_an_expectation():
    assert len(SHIPPED) >= 40
    assert {path.stem for path in SHIPPED} <= {*REJECTED, *ANSWERS}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_prompt_tools_and_answer_are_what_was_sent(path):
    assert_as_recorded(path)


def test_prompt_tools_and_answer_are_what_was_sent_in_the_whole_collection():
    if not SHARED.is_dir():
        pytest.skip(f"NO COLLECTION of recorded runs at {SHARED}: only the shipped ones were compared")
    paths = sorted(SHARED.glob("*.json"))
    assert {path.stem for path in paths} == {name for name in {*REJECTED, *ANSWERS} if name[:5] != "own__"}
    for path in paths:
        assert_as_recorded(path)


def session(name, number=0):
    runs = json.loads((DATA / f"{name}.json").read_text())["runs"]
    return read_run(runs[number])


@pytest.mark.parametrize(
    ("name", "end"), [("core1__n2", " (choice 1)"), ("ls015__openai_n2", " (choice 1)"), ("core02__n2", None)]
)
def test_further_candidates_are_kept_apart(name, end):
    (candidate,) = session(name).candidates
    assert candidate["role"] == "assistant"
    assert end is None or candidate["content"] == PLAIN[0]["content"] + end


@pytest.mark.parametrize(
    "name",
    [
        *("core1__plain", "lc0335__tools_roundtrip", "ls015__openai_n2", "core1__anthropic_thinking"),
        *("ls015__anthropic_plain", "ls015__openai_responses_str"),
    ],
)
def test_token_counts_have_one_name_whoever_recorded_them(name):
    assert session(name).usage == {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}


def test_a_langgraph_run_keeps_its_thread_and_its_own_metadata():
    found = session("own__langgraph_node")
    assert (found.thread_id, found.node) == ("thread-1", "agent")
    assert found.metadata["checkpoint_ns"] == "agent:1"
    assert found.metadata["user"] == "u-7"
    assert "temperature" not in found.metadata


def test_the_schema_of_a_class_is_found_in_the_options():
    found = session("own__structured_output", 1).response_format
    assert found["type"] == "json_schema"
    assert found["json_schema"]["name"] == "Person"
    assert set(found["json_schema"]["schema"]["properties"]) == {"name", "age"}


def test_arguments_of_the_applications_own_names_are_the_prompt():
    assert session("own__traceable_message_chunks").messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "weather?"},
    ]
    assert session("own__traceable_constructed").messages == [{"role": "user", "content": "weather?"}]


def test_a_langgraph_run_keeps_its_node():
    found = session("public__any_agent_chatlitellm")
    assert (found.node, found.model) == ("agent", "gpt-4o-mini")
    assert found.metadata["langgraph_step"] == 1


def test_a_parsed_response_keeps_its_schema():
    assert session("ls015__openai_responses_parse").response_format["json_schema"]["name"] == "Person"
