from langchain_finetune.converters.render import lacks_schemas, render
from langchain_finetune.handles import RecordedSession
from tests.fakes.recorded_runs import CALCULATOR

CALLS = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "c", "type": "function", "function": {"name": "Calculator", "arguments": "{}"}}],
}
FUNCTION_CALL = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
HI = {"role": "user", "content": "hi"}


def session(**fields):
    return RecordedSession(
        **{"run_id": "r", "messages": [HI], "answer": {"role": "assistant", "content": "ok"}, **fields}
    )


def test_the_answer_is_the_last_message_and_nothing_else_is_added():
    assert render(session()) == {"messages": [HI, {"role": "assistant", "content": "ok"}]}


def test_tools_stand_in_the_row_with_the_order_of_their_keys():
    row = render(session(tools=[CALCULATOR], parallel_tool_calls=False))
    assert list(row) == ["messages", "tools", "parallel_tool_calls"]
    assert row["tools"] == [CALCULATOR]
    assert row["parallel_tool_calls"] is False


def test_parallel_tool_calls_without_tools_has_no_place():
    assert "parallel_tool_calls" not in render(session(parallel_tool_calls=True))


def test_functions_stand_in_the_row():
    assert render(session(functions=[CALCULATOR["function"]]))["functions"] == [CALCULATOR["function"]]


def test_the_developer_becomes_the_system():
    messages = [{"role": "developer", "content": "dev", "name": "ops"}, HI]
    assert render(session(messages=messages))["messages"][0] == {
        "role": "system",
        "content": "dev",
        "name": "ops",
    }
    assert messages[0]["role"] == "developer"


def test_further_candidates_are_not_trained_on():
    assert len(render(session(candidates=[{"role": "assistant", "content": "other"}]))["messages"]) == 2


def test_a_call_without_any_schema_is_noticed():
    assert lacks_schemas(render(session(answer=CALLS)))
    assert not lacks_schemas(render(session(answer=CALLS, tools=[CALCULATOR])))
    assert lacks_schemas(render(session(answer=FUNCTION_CALL, tools=[CALCULATOR])))
    assert not lacks_schemas(render(session(answer=FUNCTION_CALL, functions=[{"name": "f"}])))
    assert not lacks_schemas(render(session()))


def test_a_correction_is_the_target():
    better = {"role": "assistant", "content": "better"}
    assert render(session(correction=better))["messages"][-1] == better
