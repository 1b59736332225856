import json

import pytest

from langchain_finetune.runs import Reason, Rejection, read_run

USER = {"role": "user", "content": "hi"}
HEY = {"role": "assistant", "content": "hey"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
LLM = {"langsmith.span.kind": "LLM"}


def span(**attributes):
    return {"span_id": "s1", "trace_id": "t1", "name": "chat", "attributes": attributes}


def flat(**fields):
    return {key.replace("__", "."): value for key, value in fields.items()}


def test_the_genai_conventions():
    parts = [{"type": "text", "content": "hi"}]
    result = {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c0", "response": "5"}]}
    called = {"type": "tool_call", "id": "c1", "name": "f", "arguments": {"a": 1}}
    session = read_run(
        span(
            **{
                "gen_ai.operation.name": "chat",
                "gen_ai.request.model": "gpt-4o",
                "gen_ai.system_instructions": json.dumps([{"type": "text", "content": "s"}]),
                "gen_ai.input.messages": json.dumps([{"role": "user", "parts": parts}, result]),
                "gen_ai.output.messages": json.dumps(
                    [
                        {
                            "role": "assistant",
                            "parts": [{"type": "reasoning", "content": "Hm."}, called],
                            "finish_reason": "tool_call",
                        }
                    ]
                ),
                "gen_ai.tool.definitions": json.dumps([TOOL]),
                "gen_ai.usage.input_tokens": 3,
                "gen_ai.usage.output_tokens": 2,
            }
        )
    )
    assert session.run_id == "s1"
    assert session.messages == [
        {"role": "system", "content": "s"},
        USER,
        {"role": "tool", "content": "5", "tool_call_id": "c0"},
    ]
    assert session.answer == {"role": "assistant", "content": None, "tool_calls": [CALL]}
    assert (session.reasoning, session.tools, session.model) == (["Hm."], [TOOL], "gpt-4o")
    assert session.usage == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


OPENLLMETRY = {
    "llm.request.type": "chat",
    "gen_ai.prompt.0.role": "user",
    "gen_ai.prompt.0.content": "hi",
    "gen_ai.completion.0.role": "assistant",
    "gen_ai.completion.0.finish_reason": "tool_calls",
    "gen_ai.completion.0.tool_calls.0.id": "c1",
    "gen_ai.completion.0.tool_calls.0.name": "f",
    "gen_ai.completion.0.tool_calls.0.arguments": '{"a": 1}',
    "llm.request.functions.0.name": "f",
    "llm.request.functions.0.parameters": '{"type": "object"}',
}
OPENINFERENCE = {
    "openinference.span.kind": "LLM",
    "llm.input_messages.0.message.role": "user",
    "llm.input_messages.0.message.content": "hi",
    "llm.output_messages.0.message.role": "assistant",
    "llm.output_messages.0.message.tool_calls.0.tool_call.id": "c1",
    "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "f",
    "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": '{"a": 1}',
    "llm.tools.0.tool.json_schema": json.dumps(TOOL),
}


@pytest.mark.parametrize("attributes", [OPENLLMETRY, OPENINFERENCE])
def test_one_attribute_a_field(attributes):
    session = read_run(span(**attributes))
    assert session.messages == [USER]
    assert session.answer == {"role": "assistant", "content": None, "tool_calls": [CALL]}
    assert session.tools == [TOOL]


def test_attributes_as_the_list_of_otlps_json():
    pairs = [{"key": key, "value": {"stringValue": value}} for key, value in OPENLLMETRY.items()]
    found = read_run({"spanId": "s1", "attributes": pairs})
    assert found.answer["tool_calls"] == [CALL]


def test_texts_and_images_of_openinference():
    image = {
        "llm.input_messages.0.message.contents.0.message_content.type": "text",
        "llm.input_messages.0.message.contents.0.message_content.text": "look",
        "llm.input_messages.0.message.contents.1.message_content.type": "image",
        "llm.input_messages.0.message.contents.1.message_content.image.image.url": "https://x/a.png",
        "llm.input_messages.0.message.role": "user",
    }
    assert read_run(span(**LLM, **image, **{"output.value": "hey"})).messages == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "https://x/a.png"}},
            ],
        }
    ]


@pytest.mark.parametrize(
    ("prompt", "completion"),
    [
        ("hi", "hey"),
        (json.dumps({"messages": [USER]}), json.dumps({"choices": [{"message": HEY}]})),
        (json.dumps([USER]), json.dumps([HEY])),
        (json.dumps({"input": [USER]}), json.dumps({"output": HEY})),
    ],
)
@pytest.mark.parametrize("names", [("gen_ai.prompt", "gen_ai.completion"), ("input.value", "output.value")])
def test_one_text_for_all(names, prompt, completion):
    session = read_run(span(**LLM, **dict(zip(names, (prompt, completion), strict=True))))
    assert (session.messages, session.answer) == ([USER], HEY)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (span(), Reason.NOT_AN_LLM_RUN),
        (span(**{"langsmith.span.kind": "tool"}), Reason.NOT_AN_LLM_RUN),
        (span(**LLM), Reason.NO_ANSWER),
        (span(**LLM, **{"output.value": "hey"}), Reason.HIDDEN_INPUTS),
        (
            {**span(**LLM, **{"input.value": "hi", "output.value": "x"}), "status": {"status_code": "ERROR"}},
            Reason.ERRORED,
        ),
    ],
)
def test_spans_that_cannot_be_trained_on(record, reason):
    assert read_run(record) == Rejection("s1", reason)


def ingested(outputs, inputs=None, metadata=None):
    return {
        "id": "r1",
        "run_type": "llm",
        "end_time": "2026-01-05",
        "inputs": inputs or {"messages": [USER]},
        "outputs": outputs,
        "extra": {"metadata": metadata or {}},
    }


def test_tool_calls_that_ingestion_lost_are_read_from_the_attributes():
    run = ingested({"messages": [{"role": "assistant", "content": ""}]}, metadata=OPENLLMETRY)
    assert read_run(run).answer["tool_calls"] == [CALL]


def test_events_leave_calls_beside_the_message_and_history_beside_the_choices():
    history = [
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "content": "5", "tool_call_id": "c1"},
    ]
    choice = {
        "index": 0,
        "finish_reason": "tool_calls",
        "message": {"role": "assistant"},
        "tool_calls": [CALL],
    }
    session = read_run(ingested({"messages": history, "choices": [choice]}))
    assert session.messages == [USER, *history]
    assert session.answer["tool_calls"] == [CALL]


def test_a_history_whose_order_is_lost_is_rejected():
    outputs = {"messages": [HEY], "choices": [{"message": HEY}]}
    run = ingested(outputs, {"messages": [USER, USER]})
    assert read_run(run) == Rejection("r1", Reason.UNKNOWN_SHAPE)


def test_tool_definitions_in_the_metadata_are_the_tools():
    run = ingested({"choices": [{"message": HEY}]}, metadata={"gen_ai.tool.definitions": json.dumps([TOOL])})
    assert read_run(run).tools == [TOOL]
