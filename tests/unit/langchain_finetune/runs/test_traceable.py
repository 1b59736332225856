import json

import pytest

from langchain_finetune.runs import Reason, Rejection, read_run
from tests.fakes.recorded_runs import lc_message

USER = {"role": "user", "content": "hi"}
HEY = {"role": "assistant", "content": "hey"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
LC_CALL = {"name": "f", "args": {"a": 1}, "id": "c1", "type": "tool_call"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
CHUNK = {"type": "AIMessageChunk", "content": "", "tool_calls": []}


def run_of(inputs=None, outputs=None, **fields):
    return {
        "id": "r1",
        "run_type": "llm",
        "end_time": "2026-01-05",
        "inputs": {"messages": [USER]} if inputs is None else inputs,
        "outputs": {"message": HEY} if outputs is None else outputs,
        **fields,
    }


@pytest.mark.parametrize(
    "outputs",
    [
        {"choices": [{"message": HEY}]},
        {"message": HEY},
        {"message": "hey"},
        HEY,
        {"content": "hey"},
        {"content": [{"type": "text", "text": "hey"}], "usage": {}},
        {"content": "hey", "type": "ai", "tool_calls": []},
        {"type": "ai", "data": {"content": "hey"}},
        lc_message("AIMessage", "hey"),
        {"messages": [HEY]},
        {"messages": [USER, HEY]},
        {"messages": [[USER, HEY]]},
        {"messages": [lc_message("AIMessage", "hey")]},
        {"output": ["assistant", "hey"]},
        {"output": [["ai", "hey"]]},
        {"output": ["he", "y"]},
        {"output": "hey"},
        {"output": HEY},
        {"output": {"choices": [{"message": HEY}]}},
        {"output": lc_message("AIMessage", "hey")},
        {"output": [HEY]},
        {"output": [{"choices": [{"delta": {"content": "he"}}]}, {"choices": [{"delta": {"content": "y"}}]}]},
        {"output": [{**CHUNK, "content": "he"}, {**CHUNK, "content": "y"}]},
        {"output": [lc_message("AIMessageChunk", "he"), lc_message("AIMessageChunk", "y")]},
        {"completion": "hey"},
        {"text": "hey"},
        {"answer": "hey", "model": "m"},
        {"whatever": "hey"},
        {"generations": [[{"text": "hey", "message": lc_message("AIMessage", "hey")}]]},
    ],
)
def test_whatever_a_function_returned_is_the_answer(outputs):
    session = read_run(run_of(outputs=outputs))
    assert session.answer == HEY
    assert session.messages == [USER]


@pytest.mark.parametrize(
    "inputs",
    [
        {"messages": [USER]},
        {"messages": [[USER]]},
        {"messages": {"messages": [USER]}},
        {"messages": {"messages": {"messages": [USER]}}},
        {"messages": [["user", "hi"]]},
        {"messages": [["human", "hi"]]},
        {"messages": [{"type": "human", "content": "hi"}]},
        {"messages": [{"type": "human", "data": {"content": "hi"}}]},
        {"messages": [lc_message("HumanMessage", "hi")]},
        {"chat_history": [USER], "model": "m"},
        {"input": [USER]},
        {"input": USER},
        {"request": {"messages": [USER]}, "retries": 3},
        {"kwargs": {"messages": [USER]}},
        {"prompt": "hi"},
        {"prompt": "hi", "model": "m"},
        {"input": "hi"},
        {"question": "hi", "temperature": 0},
        {"x": "hi"},
    ],
)
def test_whatever_the_argument_is_called_it_is_the_prompt(inputs):
    assert read_run(run_of(inputs)).messages == [USER]


def test_a_question_beside_its_history_is_asked_last():
    session = read_run(run_of({"chat_history": [USER, HEY], "question": "why?", "model": "m"}))
    assert session.messages == [USER, HEY, {"role": "user", "content": "why?"}]


def test_texts_of_which_nobody_knows_the_place_are_no_prompt():
    run = run_of({"question": "hi", "context": "a page"})
    assert read_run(run) == Rejection("r1", Reason.UNKNOWN_SHAPE)


@pytest.mark.parametrize("name", ["system", "system_prompt", "instructions"])
def test_a_system_prompt_of_its_own_stands_first(name):
    assert read_run(run_of({name: "s", "messages": [USER]})).messages == [
        {"role": "system", "content": "s"},
        USER,
    ]


@pytest.mark.parametrize(
    ("inputs", "extra"),
    [
        ({"messages": [USER], "tools": [TOOL]}, {}),
        ({"messages": {"messages": [USER], "tools": [TOOL]}}, {}),
        ({"messages": {"messages": [USER]}, "tools": [TOOL]}, {}),
        ({"messages": [USER]}, {"invocation_params": {"tools": [TOOL]}}),
        ({"messages": [USER]}, {"options": {"tools": [TOOL]}}),
        (
            {
                "messages": [USER],
                "tools": json.dumps([TOOL]),
            },
            {},
        ),
        (
            {
                "messages": [USER],
                "tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": "object"}}]}],
            },
            {},
        ),
        (
            {
                "messages": [USER],
                "tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object"}}}}],
            },
            {},
        ),
    ],
)
def test_tools_are_found_wherever_they_were_given(inputs, extra):
    assert read_run(run_of(inputs, extra=extra)).tools == [TOOL]


def test_tool_calls_of_langchains_form_beside_a_role():
    answer = read_run(run_of(outputs={"role": "assistant", "content": "", "tool_calls": [LC_CALL]})).answer
    assert answer == {"role": "assistant", "content": None, "tool_calls": [CALL]}


def test_a_loop_within_one_run_joins_the_prompt():
    loop = [
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "content": "5", "tool_call_id": "c1"},
    ]
    whole = read_run(run_of(outputs={"messages": [USER, *loop, HEY]}))
    new = read_run(run_of(outputs={"messages": [*loop, HEY]}))
    assert whole.messages == new.messages == [USER, *loop]
    assert whole.answer == new.answer == HEY


def test_several_answers_to_one_prompt_are_candidates():
    session = read_run(run_of(outputs={"messages": [HEY, {**HEY, "content": "ho"}]}))
    assert (session.answer, session.candidates) == (HEY, [{**HEY, "content": "ho"}])


def test_pieces_of_a_tool_call_are_put_together():
    def delta(**call):
        return {
            "choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, **call}]}, "finish_reason": None}]
        }

    chunks = [
        delta(id="c1", function={"name": "f", "arguments": ""}),
        delta(function={"arguments": '{"a"'}),
        delta(function={"arguments": ": 1}"}),
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
        {"choices": [], "usage": {"total_tokens": 3}},
    ]
    assert read_run(run_of(outputs={"output": chunks})).answer["tool_calls"] == [CALL]


def test_pieces_of_langchains_tool_call_are_put_together():
    pieces = [
        {**CHUNK, "tool_call_chunks": [{"index": 0, "id": "c1", "name": "f", "args": '{"a"'}]},
        {**CHUNK, "tool_call_chunks": [{"index": 0, "id": None, "name": None, "args": ": 1}"}]},
    ]
    assert read_run(run_of(outputs={"output": pieces})).answer["tool_calls"] == [CALL]


def test_a_stream_of_several_choices_gives_candidates():
    chunks = [
        {"choices": [{"index": index, "delta": {"content": text}}]} for index, text in ((0, "a"), (1, "b"))
    ]
    session = read_run(run_of(outputs={"output": chunks}))
    assert (session.answer["content"], session.candidates[0]["content"]) == ("a", "b")


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_reasoning_beside_the_content_is_kept_apart(key):
    session = read_run(run_of(outputs={"message": {**HEY, key: "Hm."}}))
    assert (session.answer, session.reasoning) == (HEY, ["Hm."])


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (run_of(outputs={"output": None}), Reason.NO_ANSWER),
        (run_of(outputs={"a": None, "b": None}), Reason.NO_ANSWER),
        (run_of(outputs={"messages": []}), Reason.NO_ANSWER),
        (run_of(outputs={"messages": [USER]}), Reason.NO_ANSWER),
        (run_of(outputs={"messages": [HEY, USER]}), Reason.NO_ANSWER),
        (run_of(outputs={"a": 1}), Reason.UNKNOWN_SHAPE),
        (run_of(outputs={"output": 5}), Reason.UNKNOWN_SHAPE),
        (run_of(outputs={"output": [5]}), Reason.UNKNOWN_SHAPE),
        (run_of(outputs={"content": ""}), Reason.EMPTY_ANSWER),
        (run_of(outputs={"output": ""}), Reason.EMPTY_ANSWER),
        (run_of(outputs={**HEY, "finish_reason": "MAX_TOKENS"}), Reason.TRUNCATED),
        (run_of(outputs={"message": {**HEY, "finish_reason": "length"}}), Reason.TRUNCATED),
        (run_of({"messages": [USER], "tools": ["f"]}), Reason.BUILTIN_TOOL),
        (run_of({"messages": [USER], "tools": "<function f>"}), Reason.BUILTIN_TOOL),
        (run_of({"messages": "hi there"}, {"a": 1}), Reason.UNKNOWN_SHAPE),
        (run_of({"a": [USER], "b": [USER]}), Reason.UNKNOWN_SHAPE),
        (run_of({"a": "x", "b": "y"}), Reason.UNKNOWN_SHAPE),
        (run_of({"prompt": ""}), Reason.HIDDEN_INPUTS),
        (run_of({"prompts": ["hi"]}), Reason.NOT_CHAT_MODEL),
        (run_of({"messages": [{"role": "user"}]}), Reason.UNKNOWN_MESSAGE),
        (run_of({"messages": [USER], "web_search_options": {"a": 1}}), Reason.BUILTIN_TOOL),
        (run_of({"messages": [USER] * 10_001}), Reason.TOO_LARGE),
        (run_of({"messages": [{"role": "user", "content": "a" * (64 * 2**20 + 1)}]}), Reason.TOO_LARGE),
    ],
)
def test_what_cannot_be_trained_on(run, reason):
    assert read_run(run) == Rejection("r1", reason)
