import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from langchain_finetune.runs import Reason, Rejection, openai_messages, read_chat_session
from tests.fakes.recorded_runs import CALCULATOR

CALL = {"name": "f", "args": {"a": 1}, "id": "c1", "type": "tool_call"}


def test_message_objects_become_openai_messages():
    messages = [
        SystemMessage("s"),
        HumanMessage("h", name="ann"),
        AIMessage("", tool_calls=[CALL]),
        ToolMessage("t", tool_call_id="c1"),
        AIMessage("", additional_kwargs={"function_call": {"name": "f", "arguments": "{}"}}),
        FunctionMessage("r", name="f"),
        ChatMessage("d", role="developer"),
        AIMessageChunk("end"),
    ]
    calls = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]
    assert openai_messages({"messages": messages}) == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "h", "name": "ann"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "content": "t", "tool_call_id": "c1"},
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "content": "r", "name": "f"},
        {"role": "developer", "content": "d"},
        {"role": "assistant", "content": "end"},
    ]


def test_a_message_without_such_a_form_gives_none():
    assert openai_messages({"messages": [RemoveMessage(id="x")]}) is None
    assert openai_messages({"messages": ["text"]}) is None


def test_the_last_message_is_the_answer():
    session = read_chat_session(
        {"messages": [HumanMessage("h"), AIMessage("", tool_calls=[CALL])], "tools": [CALCULATOR]},
        "session-1",
    )
    assert session.run_id == "session-1"
    assert session.messages == [{"role": "user", "content": "h"}]
    assert session.answer["tool_calls"][0]["id"] == "c1"
    assert session.tools == [CALCULATOR]


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], Reason.NO_ANSWER),
        (None, Reason.NO_ANSWER),
        ([HumanMessage("h")], Reason.NO_ANSWER),
        ([AIMessage("a"), HumanMessage("h")], Reason.NO_ANSWER),
        ([AIMessage("a")], Reason.HIDDEN_INPUTS),
        ([HumanMessage("h"), AIMessage("")], Reason.EMPTY_ANSWER),
    ],
)
def test_sessions_that_cannot_be_trained_on(messages, reason):
    assert read_chat_session({"messages": messages}, "s") == Rejection("s", reason)
