import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_openai import ChatOpenAI

from langchain_finetune.errors import TrainingDataError
from langchain_finetune.evaluators.questions import batches, origins_from, questions_from, token_limit
from tests.fakes.training_rows import TOOL, call, text_row, tool_row


def question(row):
    """The last question of a row."""
    return questions_from([row])[-1]


def sent(messages):
    """The prompt as the chat model puts it on the wire."""
    return ChatOpenAI(model="m", api_key="k")._get_request_payload(messages)["messages"]


def test_the_prompt_is_all_but_the_last_answer_and_the_tools_are_bound():
    read = question(tool_row(56))
    assert read.messages == [HumanMessage("Reckon 56")]
    assert read.settings == {"tools": [TOOL]}
    assert read.expected.calls[0].arguments == {"num1": 56}


def test_functions_and_parallel_calls_are_bound_as_recorded():
    function = TOOL["function"]
    row = {**text_row(1), "functions": [function], "parallel_tool_calls": False, "tools": None}
    assert question(row).settings == {"functions": [function], "parallel_tool_calls": False}


def test_a_conversation_with_calls_goes_out_as_it_was_recorded():
    history = [
        {"role": "system", "content": "You are an accounting assistant."},
        {"role": "user", "content": "What's 56/7?", "name": "ann"},
        {"role": "assistant", "content": None, "tool_calls": [call(arguments='{"num1": 56}')]},
        {"role": "tool", "tool_call_id": "call_1", "content": "8"},
        {"role": "assistant", "content": "", "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "9"},
        {"role": "assistant", "content": "Eight.", "weight": 0},
        {"role": "user", "content": [{"type": "text", "text": "And?"}]},
    ]
    read = question({"messages": [*history, {"role": "assistant", "content": "Nine."}]})
    assert isinstance(read.messages[0], SystemMessage)
    assert isinstance(read.messages[3], ToolMessage)
    wire = sent(read.messages)
    assert [message["role"] for message in wire] == [message["role"] for message in history]
    assert wire[1]["name"] == "ann"
    assert wire[2]["tool_calls"] == [call(arguments='{"num1": 56}')]
    assert wire[4]["function_call"] == {"name": "f", "arguments": "{}"}
    assert "weight" not in wire[6]


def test_arguments_of_the_history_that_are_no_json_stay():
    history = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "tool_calls": [call(arguments="{num1: 56")]},
    ]
    read = question({"messages": [*history, {"role": "assistant", "content": "y"}]})
    assert isinstance(read.messages[1], AIMessage)
    assert sent(read.messages)[1]["tool_calls"][0]["function"]["arguments"] == "{num1: 56"


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"messages": []},
        {"messages": "x"},
        {"messages": [{"role": "user", "content": "x"}]},
        {"messages": [1]},
    ],
)
def test_a_row_without_an_answer_is_named_by_its_number(row):
    with pytest.raises(TrainingDataError, match="row 1 "):
        questions_from([text_row(0), row])


def test_questions_with_the_same_tools_are_asked_together():
    other = {**tool_row(3), "tools": [{**TOOL, "function": {**TOOL["function"], "name": "Other"}}]}
    read = questions_from([tool_row(0), text_row(1), tool_row(2), other])
    assert [[each.row for each in batch.questions] for batch in batches(read)] == [[0, 2], [1], [3]]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=5,
)
PARTS = st.sampled_from(["user", "assistant", "tool", "system", "developer", "function", "stranger"]) | JSON


def keyed(keys, value):
    return st.fixed_dictionaries({}, optional=dict.fromkeys(keys, value))


MESSAGES = st.lists(
    st.tuples(
        PARTS, keyed(["content", "tool_calls", "function_call", "name", "weight", "tool_call_id"], JSON)
    ).map(lambda pair: {"role": pair[0], **pair[1]})
    | JSON,
    max_size=3,
)


@given(MESSAGES, keyed(["tools", "functions", "parallel_tool_calls"], JSON), st.booleans())
def test_any_row_is_read_or_refused_by_its_number(messages, settings, is_preference):
    row = {"messages": [*messages, {"role": "assistant", "content": "x"}], **settings}
    if is_preference:
        row = {"input": {"messages": messages, **settings}, "preferred_output": row["messages"][-1:]}
    try:
        read = questions_from([row])
    except TrainingDataError as e:
        assert "row 0 " in str(e)  # noqa: PT017  a refusal is one of two good ends
        return
    assert read
    assert batches(read)
    assert all(sent(each.messages) is not None for each in read)


@given(st.lists(keyed(["run_id", "split", "row", "tags"], JSON | st.just("test")), max_size=5))
def test_any_report_is_read(lines):
    assert all(isinstance(row, int) for row in origins_from(lines))


def test_the_longest_answer_on_record_sets_the_limit():
    short, long = question(text_row(1)), question({"messages": [{"role": "assistant", "content": "x" * 500}]})
    assert token_limit([short, long]) == token_limit([long]) > 500
