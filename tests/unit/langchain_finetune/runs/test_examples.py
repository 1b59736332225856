import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_finetune.handles import RecordedSession
from langchain_finetune.runs import Reason, Rejection, read_example
from tests.fakes.recorded_runs import lc_message

USER = {"role": "user", "content": "hi"}
HEY = {"role": "assistant", "content": "hey"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}


def example(inputs, outputs, **fields):
    return {"id": "e1", "inputs": inputs, "outputs": outputs, **fields}


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ({"messages": [USER]}, {"message": HEY}),
        ({"messages": [USER]}, {"messages": [HEY]}),
        ({"messages": [USER]}, {"messages": [USER, HEY]}),
        ({"messages": [USER]}, {"choices": [{"message": HEY}]}),
        ({"messages": [USER]}, {"answer": "hey"}),
        ({"question": "hi"}, {"answer": "hey"}),
        ({"input": "hi"}, {"output": "hey"}),
        (
            {"input": [{"type": "human", "data": {"content": "hi"}}]},
            {"output": {"type": "ai", "data": {"content": "hey"}}},
        ),
        (
            {"messages": [[lc_message("HumanMessage", "hi")]]},
            {"generations": [[{"message": lc_message("AIMessage", "hey")}]]},
        ),
    ],
)
def test_every_kind_of_dataset(inputs, outputs):
    session = read_example(example(inputs, outputs, metadata={"dataset_split": ["train"]}))
    assert (session.run_id, session.messages, session.answer) == ("e1", [USER], HEY)
    assert session.metadata == {"dataset_split": ["train"]}
    assert session.trace_id is None


def test_a_chat_dataset_keeps_its_schemas_and_calls():
    call = {"name": "f", "args": {"a": 1}, "id": "c1", "type": "tool_call"}
    session = read_example(
        example(
            {
                "input": [{"type": "human", "data": {"content": "hi"}}],
                "tools": [TOOL],
                "functions": [{"name": "g"}],
            },
            {"output": {"type": "ai", "data": {"content": "", "tool_calls": [call]}}},
        )
    )
    assert session.answer == {"role": "assistant", "content": None, "tool_calls": [CALL]}
    assert (session.tools, session.functions) == ([TOOL], [{"name": "g"}])


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, Reason.NOT_A_RUN),
        (example({"messages": [USER]}, None), Reason.NO_ANSWER),
        (example({}, {"output": "hey"}), Reason.HIDDEN_INPUTS),
        (example(["hi"], {"output": "hey"}), Reason.UNKNOWN_SHAPE),
        (example({"a": 1}, {"output": "hey"}), Reason.UNKNOWN_SHAPE),
    ],
)
def test_examples_that_cannot_be_trained_on(value, reason):
    assert read_example(value) == Rejection("e1" if value else "", reason)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["messages", "output", "content", "role", "type", "kwargs", "message", "x"]),
            inner | st.sampled_from(["assistant", "user", "ai", "human"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON, JSON)
@settings(deadline=None)
def test_any_example_gives_a_session_or_a_rejection(inputs, outputs):
    assert isinstance(read_example(example(inputs, outputs)), RecordedSession | Rejection)
