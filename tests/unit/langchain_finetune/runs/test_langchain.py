import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_finetune.runs import Reason, Rejection, read_run
from langchain_finetune.runs.messages import read_message, read_plain
from tests.fakes.recorded_runs import CALCULATOR, chat_run, langchain_run, lc_message, run_id


def run_with(answer, prompt=None):
    return langchain_run(1, prompt or [lc_message("HumanMessage", "hi")], answer)


def answer_of(message):
    return read_run(run_with(message)).answer


def prompt_of(*messages):
    return read_run(run_with(lc_message("AIMessage", "ok"), list(messages))).messages


def tool_call(args, call_id="c1"):
    return {"name": "f", "args": args, "id": call_id, "type": "tool_call"}


def arguments_of(message):
    return [call["function"]["arguments"] for call in message["tool_calls"]]


def test_flat_lists_are_read_like_nested_ones():
    run = chat_run(1, "hi")
    flat = {
        **run,
        "inputs": {"messages": run["inputs"]["messages"][0]},
        "outputs": {**run["outputs"], "generations": run["outputs"]["generations"][0]},
    }
    assert read_run(flat) == read_run(run)


def test_two_prompts_in_one_run_are_an_unknown_message():
    run = chat_run(1, "hi")
    run["inputs"]["messages"] *= 2
    assert read_run(run) == Rejection(run["id"], Reason.UNKNOWN_MESSAGE)


@pytest.mark.parametrize(
    "element",
    [
        lc_message("HumanMessage", "hi"),
        {**lc_message("HumanMessage", "hi"), "id": ["langchain_core", "messages", "HumanMessage"]},
        lc_message("HumanMessageChunk", "hi"),
        {"type": "human", "data": {"content": "hi"}},
        {"type": "human", "content": "hi"},
        {"role": "user", "content": "hi"},
        {
            "lc": 1,
            "type": "constructor",
            "id": ["x", "ChatMessage"],
            "kwargs": {"content": "hi", "role": "user"},
        },
    ],
)
def test_every_way_in_which_a_message_is_written_down(element):
    assert prompt_of(element) == [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    "element",
    [
        lc_message("RemoveMessage", ""),
        {"lc": 1, "type": "not_implemented", "id": ["x"], "repr": "Message()"},
        {"lc": 1, "type": "constructor", "id": [], "kwargs": {}},
        {"lc": 1, "type": "constructor", "id": ["x", "HumanMessage"], "kwargs": None},
        {"type": ["human"], "content": "hi"},
        lc_message("HumanMessage", {"text": "hi"}),
        lc_message("ToolMessage", "hi"),
        lc_message("ChatMessage", "hi"),
        None,
    ],
)
def test_unknown_messages_are_rejected(element):
    run = run_with(lc_message("AIMessage", "ok"), [element])
    assert read_run(run) == Rejection(run["id"], Reason.UNKNOWN_MESSAGE)


def test_the_original_text_of_arguments_is_kept_where_it_is_recorded():
    raw = '{"city":"Zürich"}'
    additional = {
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": raw}}]
    }
    in_extras = lc_message(
        "AIMessage", "", tool_calls=[tool_call({"city": "Zürich"})], additional_kwargs=additional
    )
    in_chunks = lc_message(
        "AIMessageChunk",
        "",
        tool_calls=[tool_call({"city": "Zürich"})],
        tool_call_chunks=[{"id": "c1", "name": "f", "args": raw, "index": 0}],
    )
    in_blocks = lc_message(
        "AIMessage",
        [{"type": "function_call", "call_id": "c1", "name": "f", "arguments": raw}],
        tool_calls=[tool_call({"city": "Zürich"})],
    )
    for message in (in_extras, in_chunks, in_blocks):
        assert arguments_of(answer_of(message)) == [raw]


def test_parsed_arguments_are_written_as_langchain_sends_them():
    message = lc_message("AIMessage", "", tool_calls=[tool_call({"city": "Zürich", "n": 1})])
    assert arguments_of(answer_of(message)) == ['{"city": "Zürich", "n": 1}']


def test_a_call_in_the_history_is_what_langchain_sent_again():
    additional = {"tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": '{"a":1}'}}]}
    history = lc_message("AIMessage", "", tool_calls=[tool_call({"a": 1})], additional_kwargs=additional)
    (message,) = prompt_of(history)
    assert arguments_of(message) == ['{"a": 1}']
    assert message["content"] is None


def test_a_broken_call_in_the_history_stays_as_the_model_saw_it():
    broken = {"type": "invalid_tool_call", "id": "c1", "name": "f", "args": '{"a', "error": "x"}
    (message,) = prompt_of(lc_message("AIMessage", "", invalid_tool_calls=[broken]))
    assert arguments_of(message) == ['{"a']


def test_user_data_that_was_escaped_is_unwrapped_and_no_further():
    args = {"__lc_escaped__": {"lc": 1, "inner": {"__lc_escaped__": {"x": 1}}}}
    message = lc_message("AIMessage", "", tool_calls=[tool_call({"a": [args]})])
    assert arguments_of(answer_of(message)) == ['{"a": [{"lc": 1, "inner": {"__lc_escaped__": {"x": 1}}}]}']


@pytest.mark.parametrize("args", [None, [1], "{", {"a": float("nan")}, {"a": {1}}])
def test_arguments_that_are_no_json_object_are_rejected(args):
    run = run_with(lc_message("AIMessage", "", tool_calls=[tool_call(args)]))
    assert read_run(run) == Rejection(run["id"], Reason.INVALID_TOOL_ARGUMENTS)


def test_a_call_that_langchain_could_not_parse_is_rejected():
    broken = {"type": "invalid_tool_call", "id": "c1", "name": "f", "args": None, "error": "x"}
    run = run_with(lc_message("AIMessage", "", tool_calls=[tool_call({})], invalid_tool_calls=[broken]))
    assert read_run(run) == Rejection(run["id"], Reason.INVALID_TOOL_ARGUMENTS)


def test_arguments_to_the_responses_api_are_written_as_they_were_sent():
    """A v1 block with the item's id: without spaces, ASCII only."""
    block = {
        "type": "tool_call",
        "id": "c1",
        "name": "f",
        "args": {"a": ["é", 1]},
        "extras": {"item_id": "fc"},
    }
    history = lc_message("AIMessage", [block], tool_calls=[tool_call({"a": ["é", 1]})])
    (message,) = prompt_of(history)
    assert arguments_of(message) == ['{"a":["\\u00e9",1]}']
    huge = {**block, "args": {"a": 10**5000}}
    run = run_with(lc_message("AIMessage", "ok"), [lc_message("AIMessage", [huge])])
    assert read_run(run) == Rejection(run["id"], Reason.INVALID_TOOL_ARGUMENTS)


@pytest.mark.parametrize("call", ["call", {"name": None, "args": {}, "id": "c"}])
def test_tool_calls_of_an_unknown_shape_are_rejected(call):
    run = run_with(lc_message("AIMessage", "", tool_calls=[call]))
    assert read_run(run) == Rejection(run["id"], Reason.UNKNOWN_MESSAGE)


def test_a_tool_message_keeps_what_the_model_saw():
    message = lc_message(
        "ToolMessage", [{"type": "text", "text": "5"}], tool_call_id="c1", artifact={"x": 1}, name="f"
    )
    assert prompt_of(message) == [
        {"role": "tool", "content": [{"type": "text", "text": "5"}], "tool_call_id": "c1"}
    ]


def test_hidden_reasoning_is_no_part_of_the_answer():
    blocks = [
        {"type": "reasoning", "summary": [], "encrypted_content": "x"},
        {"type": "thinking", "thinking": "x"},
        {"type": "text", "text": "The answer ", "annotations": []},
        {"type": "text", "text": "is 8.", "id": "msg_1"},
    ]
    assert answer_of(lc_message("AIMessage", blocks)) == {"role": "assistant", "content": "The answer is 8."}


def test_an_answer_that_is_only_reasoning_is_empty():
    run = run_with(lc_message("AIMessage", [{"type": "reasoning", "summary": []}]))
    assert read_run(run) == Rejection(run["id"], Reason.EMPTY_ANSWER)


def test_a_refusal_in_a_content_block_is_a_refusal():
    answer = answer_of(lc_message("AIMessage", [{"type": "refusal", "refusal": "No."}]))
    assert answer == {"role": "assistant", "content": None, "refusal": "No."}


def test_an_answer_that_is_no_assistant_message_is_no_answer():
    run = run_with(lc_message("HumanMessage", "hi"))
    assert read_run(run) == Rejection(run["id"], Reason.NO_ANSWER)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("generation_info", {"finish_reason": "length"}),
        ("generationInfo", {"finish_reason": "length"}),
        ("response_metadata", {"finish_reason": "length"}),
        ("response_metadata", {"stop_reason": "max_tokens"}),
        ("response_metadata", {"status": "incomplete"}),
    ],
)
def test_an_answer_that_was_cut_off_is_rejected_whoever_says_so(where, value):
    run = chat_run(1, "hi")
    (generation,) = run["outputs"]["generations"][0]
    del generation["generation_info"]
    target = generation["message"]["kwargs"] if where == "response_metadata" else generation
    target[where] = value
    assert read_run(run) == Rejection(run["id"], Reason.TRUNCATED)


def test_schemas_are_found_in_each_place():
    run = chat_run(1, "hi")
    for place in (run["extra"]["invocation_params"], run["inputs"], run["extra"].setdefault("options", {})):
        place["tools"] = [CALCULATOR]
        assert read_run(run).tools == [CALCULATOR]
        del place["tools"]
    assert read_run(run).tools is None


@pytest.mark.parametrize(
    "tool",
    [
        {"name": "f", "description": "d", "input_schema": {"type": "object"}},
        {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}},
    ],
)
def test_schemas_of_other_wires_are_put_in_chat_form(tool):
    run = chat_run(1, "hi")
    run["extra"]["invocation_params"]["tools"] = [tool]
    assert read_run(run).tools == [
        {
            "type": "function",
            "function": {"name": "f", "description": "d", "parameters": {"type": "object"}},
        }
    ]


@pytest.mark.parametrize("tool", [{"type": "web_search"}, {"type": "custom", "name": "f"}])
def test_tools_without_a_schema_are_rejected(tool):
    run = chat_run(1, "hi")
    run["extra"]["invocation_params"]["tools"] = [tool]
    assert read_run(run) == Rejection(run["id"], Reason.BUILTIN_TOOL)


def test_what_surrounds_the_call_is_kept():
    run = chat_run(
        3,
        "hi",
        tags=["prod", 1],
        feedback_stats={"score": {"n": 2, "avg": 0.5}, "note": {"n": 1, "avg": None}},
    )
    run["extra"]["metadata"] = {
        "ls_provider": "openai",
        "LANGSMITH_PROJECT": "p",
        "lc_versions": {},
        "model": "gpt-4o-mini",
        "customer": 7,
        "thread_id": "t-9",
        "langgraph_node": "agent",
    }
    session = read_run(run)
    assert (session.trace_id, session.thread_id, session.node) == (run_id(3), "t-9", "agent")
    assert session.tags == ["prod"]
    assert session.metadata == {"customer": 7, "thread_id": "t-9", "langgraph_node": "agent"}
    assert session.feedback == {"score": 0.5}
    assert session.model == "gpt-4o-mini"


@pytest.mark.parametrize(
    ("changes", "trace_id"),
    [
        ({"dotted_order": f"20260105T100000000000Z{run_id(9)}.20260105T100001Z{run_id(1)}"}, run_id(9)),
        ({"parent_run_id": run_id(8)}, run_id(8)),
        ({}, run_id(1)),
    ],
)
def test_the_trace_of_a_run_of_an_old_client_is_worked_out(changes, trace_id):
    run = {**chat_run(1, "hi"), "trace_id": None, **changes}
    assert read_run(run).trace_id == trace_id


_SAID = {"content": "hi", "type": "human"}


@given(
    st.sampled_from(["HumanMessage", "AIMessage", "AIMessageChunk", "SystemMessage", "ToolMessage", "Other"]),
    st.dictionaries(
        st.sampled_from(["name", "additional_kwargs", "tool_calls", "invalid_tool_calls", "content", "id"]),
        st.sampled_from([None, "", "x", [], {}, {"refusal": None}, {"refusal": "no"}, [{"name": "f"}], 7]),
    ),
    st.sampled_from([{}, {"lc": 1}, {"type": "not_implemented"}, {"id": "HumanMessage"}, {"kwargs": ["x"]}]),
)
def test_a_plain_message_is_read_as_every_other_is(name, fields, other):
    element = {"lc": 1, "type": "constructor", "id": ["langchain", name], "kwargs": {**_SAID, **fields}}
    element |= other
    plain = read_plain(element)
    if plain is not None:
        assert plain == read_message(element)


@pytest.mark.parametrize("extras", [{}, {"refusal": None}, None])
@pytest.mark.parametrize(("name", "role"), [("HumanMessage", "user"), ("AIMessage", "assistant")])
def test_messages_of_a_text_alone_are_plain(name, role, extras):
    fields = {"content": "hi", "additional_kwargs": extras, "tool_calls": [], "name": None}
    element = {"lc": 1, "type": "constructor", "id": ["langchain", name], "kwargs": fields}
    assert read_plain(element) == {"role": role, "content": "hi"}


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "Anna"},
        {"additional_kwargs": {"refusal": "no"}},
        {"tool_calls": [tool_call({})]},
        {"invalid_tool_calls": [tool_call("{")]},
        {"content": ["hi"]},
        {"content": None},
    ],
)
def test_messages_that_hold_more_than_a_text_are_not_plain(fields):
    element = {"lc": 1, "type": "constructor", "id": ["AIMessage"], "kwargs": {"content": "hi", **fields}}
    assert read_plain(element) is None


def test_what_is_no_constructor_is_not_plain():
    for element in (
        None,
        "HumanMessage",
        [],
        {"type": "constructor"},
        {"lc": 1, "type": "constructor", "id": []},
    ):
        assert read_plain(element) is None
