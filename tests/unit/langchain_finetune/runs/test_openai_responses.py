import pytest

from langchain_finetune.runs import Reason, Rejection, read_run

TEXT = {
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "sunny", "annotations": []}],
}
CALL = {"type": "function_call", "call_id": "c1", "id": "fc1", "name": "f", "arguments": '{"a":1}'}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "5"}
CHAT_CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}}
USER = {"role": "user", "content": "hi"}


def reasoning(*texts, **fields):
    summary = [{"type": "summary_text", "text": text} for text in texts]
    return {"type": "reasoning", "id": "rs", "summary": summary, **fields}


def run_of(given, output=(TEXT,), *, outputs=None, **inputs):
    return {
        "id": "r1",
        "run_type": "llm",
        "end_time": "2026-01-05",
        "inputs": {"input": given, "model": "gpt-5", **inputs},
        "outputs": {"object": "response", "status": "completed", "output": list(output), **(outputs or {})},
    }


def test_items_that_stand_together_are_one_turn():
    items = [
        USER,
        reasoning("Hm."),
        TEXT,
        CALL,
        {**CALL, "call_id": "c2"},
        RESULT,
        {**RESULT, "call_id": "c2"},
    ]
    session = read_run(run_of(items))
    assert session.messages == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "sunny", "tool_calls": [CHAT_CALL, {**CHAT_CALL, "id": "c2"}]},
        {"role": "tool", "content": "5", "tool_call_id": "c1"},
        {"role": "tool", "content": "5", "tool_call_id": "c2"},
    ]
    assert session.reasoning == ["Hm.", None]


def test_calls_before_the_text_are_the_same_turn_and_a_second_text_is_the_next():
    session = read_run(run_of([USER, CALL, TEXT, TEXT, RESULT]))
    assert [message.get("content") for message in session.messages] == ["hi", "sunny", "sunny", "5"]
    assert "tool_calls" in session.messages[1]


@pytest.mark.parametrize(
    ("item", "content"),
    [
        ({"role": "user", "content": [{"type": "input_text", "text": "x"}]}, [{"type": "text", "text": "x"}]),
        (
            {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_image", "image_url": "https://x/a.png"}],
            },
            [{"type": "image_url", "image_url": {"url": "https://x/a.png"}}],
        ),
        (
            {"role": "user", "content": [{"type": "input_file", "file_data": "data:a", "filename": "a.pdf"}]},
            [{"type": "file", "file": {"file_data": "data:a", "filename": "a.pdf"}}],
        ),
    ],
)
def test_input_parts_become_chat_parts(item, content):
    assert read_run(run_of([item])).messages == [{"role": "user", "content": content}]


def test_instructions_stand_first():
    session = read_run(run_of("hi", instructions="Be brief."))
    assert session.messages == [{"role": "system", "content": "Be brief."}, USER]


def test_an_answer_in_several_texts_is_one():
    again = {**TEXT, "content": [{"type": "output_text", "text": "and warm"}]}
    assert read_run(run_of("hi", [TEXT, again])).answer["content"] == "sunny\n\nand warm"


def test_a_refusal_after_reasoning_is_a_refusal():
    refused = {**TEXT, "content": [{"type": "refusal", "refusal": "No."}]}
    session = read_run(run_of("hi", [reasoning("Hm."), refused]))
    assert session.answer == {"role": "assistant", "content": None, "refusal": "No."}
    assert session.reasoning == ["Hm."]


def test_the_events_of_a_stream_are_read_by_their_last():
    response = run_of("hi")["outputs"]
    run = run_of("hi")
    run["outputs"] = {
        "output": [{"type": "response.created"}, {"type": "response.completed", "response": response}]
    }
    assert read_run(run).answer["content"] == "sunny"
    run["outputs"]["output"].pop()
    assert read_run(run) == Rejection("r1", Reason.TRUNCATED)


def test_tools_that_the_history_adds_are_told_by_turn():
    added = {"type": "additional_tools", "role": "developer", "tools": [{**TOOL, "name": "g"}]}
    session = read_run(run_of([USER, CALL, RESULT, added, USER], tools=[TOOL]))
    assert [tool["function"]["name"] for tool in session.tools] == ["f", "g"]
    assert session.turn_tools == [["f"], ["f", "g"]]


def test_tools_that_were_there_from_the_start_are_every_turns():
    added = {"type": "additional_tools", "role": "developer", "tools": [TOOL]}
    session = read_run(run_of([added, USER]))
    assert session.turn_tools is None
    assert session.tools[0]["function"]["name"] == "f"


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (run_of("hi", previous_response_id="resp_0"), Reason.PREVIOUS_RESPONSE_ID),
        (run_of("hi", conversation={"id": "conv_1"}), Reason.PREVIOUS_RESPONSE_ID),
        (run_of("hi", outputs={"previous_response_id": "resp_0"}), Reason.PREVIOUS_RESPONSE_ID),
        (run_of([{"type": "item_reference", "id": "x"}]), Reason.PREVIOUS_RESPONSE_ID),
        (run_of([{"type": "compaction", "encrypted_content": "x"}]), Reason.PREVIOUS_RESPONSE_ID),
        (run_of("hi", prompt={"id": "pmpt_1"}), Reason.HIDDEN_INPUTS),
        (run_of(""), Reason.HIDDEN_INPUTS),
        (run_of([]), Reason.HIDDEN_INPUTS),
        (run_of({"a": 1}), Reason.UNKNOWN_SHAPE),
        (run_of([{"type": "web_search_call", "id": "x"}]), Reason.BUILTIN_TOOL),
        (run_of("hi", [{"type": "custom_tool_call", "input": "x"}]), Reason.BUILTIN_TOOL),
        (run_of("hi", tools=[{"type": "file_search"}]), Reason.BUILTIN_TOOL),
        (run_of("hi", []), Reason.NO_ANSWER),
        (run_of("hi", outputs={"output": None}), Reason.NO_ANSWER),
        (run_of("hi", [{"type": "reasoning", "summary": []}]), Reason.EMPTY_ANSWER),
        (run_of("hi", [reasoning("Hm.")]), Reason.EMPTY_ANSWER),
        (run_of("hi", [{**CALL, "arguments": "{"}]), Reason.INVALID_TOOL_ARGUMENTS),
        (run_of("hi", outputs={"status": "incomplete"}), Reason.TRUNCATED),
        (
            run_of(
                "hi", outputs={"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}
            ),
            Reason.CONTENT_FILTER,
        ),
        (run_of("hi", outputs={"status": "failed"}), Reason.ERRORED),
        (run_of("hi", outputs={"status": "in_progress"}), Reason.PENDING),
        (run_of([USER, {"type": ["x"]}]), Reason.UNKNOWN_MESSAGE),
        (run_of(["hi"]), Reason.UNKNOWN_MESSAGE),
    ],
)
def test_what_cannot_be_trained_on(run, reason):
    assert read_run(run) == Rejection("r1", reason)


@pytest.mark.parametrize(
    "inputs",
    [
        {
            "text": {
                "format": {"type": "json_schema", "name": "P", "schema": {"type": "object"}, "strict": True}
            }
        },
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "P", "schema": {"type": "object"}, "strict": True},
            }
        },
    ],
)
def test_the_form_of_the_answer_is_in_chat_form(inputs):
    assert read_run(run_of("hi", **inputs)).response_format == {
        "type": "json_schema",
        "json_schema": {"name": "P", "schema": {"type": "object"}, "strict": True},
    }
