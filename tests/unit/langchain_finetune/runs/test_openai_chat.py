import pytest

from langchain_finetune.runs import Reason, Rejection, read_run


def wrapped(message, *, prompt=None, finish_reason="stop", **inputs):
    return {
        "id": "r1",
        "run_type": "llm",
        "end_time": "2026-01-05",
        "inputs": {
            "messages": prompt or [{"role": "user", "content": "hi"}],
            "model": "gpt-4o-mini",
            **inputs,
        },
        "outputs": {"choices": [{"finish_reason": finish_reason, "message": message}]},
        "extra": {"metadata": {"ls_model_name": "gpt-4o-mini"}},
    }


def test_null_fields_of_the_client_are_left_out():
    message = {
        "role": "assistant",
        "content": "hey",
        "annotations": [],
        "audio": None,
        "function_call": None,
        "refusal": None,
        "tool_calls": None,
        "parsed": None,
    }
    session = read_run(wrapped(message))
    assert session.answer == {"role": "assistant", "content": "hey"}
    assert list(session.answer) == ["role", "content"]


def test_the_index_of_streamed_tool_calls_is_left_out_and_the_text_of_arguments_kept():
    tool_call = {
        "index": 0,
        "id": "c1",
        "type": "function",
        "function": {"name": "f", "arguments": '{"a":1}'},
    }
    session = read_run(wrapped({"role": "assistant", "content": "", "tool_calls": [tool_call]}))
    assert session.answer["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    ]
    assert session.answer["content"] is None


def test_tools_come_from_the_request():
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    session = read_run(wrapped({"content": "hey"}, tools=tools, parallel_tool_calls=False))
    assert session.tools == tools
    assert session.parallel_tool_calls is False


def test_functions_come_from_the_request():
    functions = [{"name": "f", "parameters": {"type": "object"}}]
    answer = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}}
    session = read_run(wrapped(answer, functions=functions))
    assert session.functions == functions
    assert session.answer["function_call"] == {"name": "f", "arguments": "{}"}


def test_a_response_format_is_kept():
    response_format = {"type": "json_object"}
    assert (
        read_run(wrapped({"content": "{}"}, response_format=response_format)).response_format
        == response_format
    )


def test_history_objects_without_content_are_messages():
    history = {"role": "assistant", "annotations": [], "refusal": "no"}
    prompt = [{"role": "user", "content": "hi", "name": "ann"}, history, {"role": "user", "content": "why"}]
    session = read_run(wrapped({"content": "hey"}, prompt=prompt))
    assert session.messages == [
        {"role": "user", "content": "hi", "name": "ann"},
        {"role": "assistant", "content": None, "refusal": "no"},
        {"role": "user", "content": "why"},
    ]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (None, Reason.NO_ANSWER),
        ({"content": None}, Reason.EMPTY_ANSWER),
        ({"content": "", "audio": {"id": "a"}}, Reason.UNSUPPORTED_CONTENT),
        ({"content": None, "tool_calls": [{"type": "custom", "custom": {}}]}, Reason.BUILTIN_TOOL),
        ({"content": None, "tool_calls": [{"function": None}]}, Reason.UNKNOWN_MESSAGE),
        ({"content": None, "tool_calls": ["call"]}, Reason.UNKNOWN_MESSAGE),
        (
            {"content": None, "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{"}}]},
            Reason.INVALID_TOOL_ARGUMENTS,
        ),
        (
            {"content": None, "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "[1]"}}]},
            Reason.INVALID_TOOL_ARGUMENTS,
        ),
        ({"content": None, "function_call": "f"}, Reason.UNKNOWN_MESSAGE),
    ],
)
def test_answers_that_cannot_be_trained_on(message, reason):
    assert read_run(wrapped(message)) == Rejection("r1", reason)


@pytest.mark.parametrize(
    ("finish_reason", "reason"),
    [
        ("length", Reason.TRUNCATED),
        ({"finish_reason": "length", "delta": {}}, Reason.TRUNCATED),
        ("content_filter", Reason.CONTENT_FILTER),
    ],
)
def test_answers_that_were_cut_off(finish_reason, reason):
    run = wrapped({"content": "the answ"}, finish_reason=finish_reason)
    assert read_run(run) == Rejection("r1", reason)


@pytest.mark.parametrize(
    "content",
    [[{"type": "video"}], [{"type": ["text"]}], [{"type": "text"}], [{"type": "image_url"}]],
)
def test_unknown_content_is_rejected(content):
    run = wrapped({"content": "hey"}, prompt=[{"role": "user", "content": content}])
    assert read_run(run) == Rejection("r1", Reason.UNSUPPORTED_CONTENT)


@pytest.mark.parametrize("prompt", [[{"content": "hi"}], ["hi"], [{"role": "user", "content": 1}]])
def test_unknown_messages_are_rejected(prompt):
    assert read_run(wrapped({"content": "hey"}, prompt=prompt)) == Rejection("r1", Reason.UNKNOWN_MESSAGE)


def test_a_completion_prompt_is_no_chat():
    run = wrapped({"content": "hey"})
    run["inputs"] = {"prompt": "Once upon"}
    run["outputs"]["choices"] = [{"text": " a time", "finish_reason": "stop"}]
    assert read_run(run) == Rejection("r1", Reason.NOT_CHAT_MODEL)


def test_a_second_choice_that_is_broken_does_not_matter():
    run = wrapped({"content": "hey"})
    run["outputs"]["choices"] += [{"message": {"content": None}}, {"message": {"content": "ho"}}]
    assert [it["content"] for it in read_run(run).candidates] == ["ho"]
