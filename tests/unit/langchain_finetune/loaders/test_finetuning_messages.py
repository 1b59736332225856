import pytest
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, ToolMessage

from langchain_finetune import RunExportLoader, convert_messages_for_finetuning
from tests.fakes.recorded_runs import CALCULATOR, calculator_run, write_runs

CALL = {"name": "f", "args": {"a": 1}, "id": "c1", "type": "tool_call"}


def test_every_field_of_a_message_is_kept():
    session = {
        "messages": [
            HumanMessage("h", name="ann"),
            AIMessage("", tool_calls=[CALL]),
            ToolMessage("t", tool_call_id="c1"),
            AIMessage("done"),
        ]
    }
    calls = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]
    assert convert_messages_for_finetuning([session]) == [
        [
            {"role": "user", "content": "h", "name": "ann"},
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "content": "t", "tool_call_id": "c1"},
            {"role": "assistant", "content": "done"},
        ]
    ]


def test_refusals_and_calls_as_they_were_written_are_kept():
    text = '{"a":1}'
    written = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": text}, "index": 0}
    other = {**written, "function": {"name": "f", "arguments": '{"a": 2}'}}
    messages = [
        AIMessage("", additional_kwargs={"refusal": "I will not."}),
        AIMessage("", tool_calls=[CALL], additional_kwargs={"tool_calls": [written], "refusal": None}),
        AIMessage("", tool_calls=[CALL], additional_kwargs={"tool_calls": [other]}),
        AIMessage("", tool_calls=[CALL], additional_kwargs={"tool_calls": ["?", {"id": "c1"}]}),
    ]
    ((refused, *called),) = convert_messages_for_finetuning([{"messages": messages}])
    assert refused == {"role": "assistant", "content": "", "refusal": "I will not."}
    assert [it["tool_calls"][0]["function"]["arguments"] for it in called] == [text, '{"a": 1}', '{"a": 1}']
    assert all("index" not in it["tool_calls"][0] for it in called)


def test_what_our_loaders_yield_comes_out_as_the_model_wrote_it(tmp_path):
    run = calculator_run(1, 56, 7)
    loader = RunExportLoader(write_runs(tmp_path / "runs.jsonl", [run]))
    (session,) = loader.lazy_load()
    session["messages"][-1].additional_kwargs["tool_calls"][0]["function"]["arguments"] = (
        '{"num1":56,"num2":7}'
    )
    with pytest.warns(UserWarning, match="1 sessions carry tool schemas"):
        ((*_, answer),) = convert_messages_for_finetuning([session])
    assert answer["tool_calls"][0]["function"]["arguments"] == '{"num1":56,"num2":7}'


def test_sessions_without_an_assistant_are_left_out():
    assert convert_messages_for_finetuning(iter([{"messages": [HumanMessage("h")]}, {"messages": []}])) == []


@pytest.mark.parametrize("schemas", [{"tools": [CALCULATOR]}, {"functions": [CALCULATOR["function"]]}])
def test_schemas_that_have_no_place_are_warned_about_once(schemas):
    session = {"messages": [HumanMessage("h"), AIMessage("a")], **schemas}
    with pytest.warns(UserWarning, match="2 sessions carry tool schemas.*TrainingDataConverter") as caught:
        assert len(convert_messages_for_finetuning([session, session])) == 2
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_a_message_without_an_openai_form_is_a_type_error():
    with pytest.raises(TypeError, match="session 2"):
        convert_messages_for_finetuning([{"messages": []}, {"messages": [RemoveMessage(id="x")]}])


def test_it_takes_what_a_loader_gives(tmp_path):
    loader = RunExportLoader(write_runs(tmp_path / "r.jsonl", [calculator_run(1, 56, 7)]))
    with pytest.warns(UserWarning, match="1 sessions carry"):
        (messages,) = convert_messages_for_finetuning(loader.lazy_load())
    assert messages[-1]["tool_calls"][0]["function"]["arguments"] == '{"num1": 56, "num2": 7}'
