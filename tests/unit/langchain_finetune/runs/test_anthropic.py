import pytest

from langchain_finetune.runs import Reason, Rejection, read_run
from tests.fakes.recorded_runs import langchain_run, lc_message

TEXT = {"type": "text", "text": "sunny", "citations": None}
USE = {"type": "tool_use", "id": "t1", "name": "f", "input": {"city": "Zürich"}}
CALL = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"city": "Zürich"}'}}
SCHEMA = {"name": "f", "description": "d", "input_schema": {"type": "object"}}


def run_of(messages, content=(TEXT,), stop_reason="end_turn", outputs=None, **inputs):
    return {
        "id": "r1",
        "run_type": "llm",
        "end_time": "2026-01-05",
        "inputs": {"messages": messages, "model": "claude-sonnet-4-5", **inputs},
        "outputs": {
            "role": "assistant",
            "content": list(content) if isinstance(content, tuple) else content,
            "stop_reason": stop_reason,
            **(outputs or {}),
        },
    }


def prompt_of(*messages, **inputs):
    return read_run(run_of(list(messages), **inputs)).messages


def user(*blocks):
    return {"role": "user", "content": list(blocks)}


def test_a_system_prompt_stands_first_wherever_it_was_recorded():
    question = {"role": "user", "content": "hi"}
    system = {"role": "system", "content": "Be brief."}
    assert prompt_of(system, question) == [system, question]
    assert prompt_of(question, system="Be brief.") == [system, question]
    blocks = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    assert prompt_of(question, system=blocks)[0] == {
        "role": "system",
        "content": [{"type": "text", "text": "Be brief."}],
    }


def test_tool_results_become_tool_messages_and_what_is_said_stays_the_users():
    results = user(
        {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "5"}]},
        {"type": "tool_result", "tool_use_id": "t2", "content": "6", "is_error": False},
        {"type": "tool_result", "tool_use_id": "t3"},
        {"type": "text", "text": "and now?"},
    )
    assert prompt_of(
        {"role": "user", "content": "hi"}, {"role": "assistant", "content": [TEXT, USE]}, results
    ) == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "sunny", "tool_calls": [CALL]},
        {"role": "tool", "content": [{"type": "text", "text": "5"}], "tool_call_id": "t1"},
        {"role": "tool", "content": "6", "tool_call_id": "t2"},
        {"role": "tool", "content": "", "tool_call_id": "t3"},
        {"role": "user", "content": [{"type": "text", "text": "and now?"}]},
    ]


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        ),
        (
            {"type": "image", "source": {"type": "url", "url": "https://x/a.png"}},
            {"type": "image_url", "image_url": {"url": "https://x/a.png"}},
        ),
        (
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a page"}},
            {"type": "text", "text": "a page"},
        ),
        (
            {
                "type": "document",
                "title": "a.pdf",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"},
            },
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"}},
        ),
    ],
)
def test_sources_become_chat_parts(block, part):
    assert prompt_of(user(block)) == [{"role": "user", "content": [part]}]


def test_thinking_is_kept_apart_also_the_historys():
    thinking = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
    history = [user(TEXT), {"role": "assistant", "content": [thinking, TEXT]}, user(TEXT)]
    session = read_run(run_of(history, ({"type": "redacted_thinking", "data": "x"}, thinking, USE)))
    assert session.messages[1] == {"role": "assistant", "content": "sunny"}
    assert session.answer == {"role": "assistant", "content": None, "tool_calls": [CALL]}
    assert session.reasoning == ["Hm.", "Hm."]


def test_a_collapsed_answer_keeps_its_text_of_arguments():
    call = {"id": "t1", "type": "function", "index": 0, "function": {"name": "f", "arguments": '{"a":1}'}}
    session = read_run(run_of([user(TEXT)], "sunny", outputs={"tool_calls": [call]}))
    assert session.answer["content"] == "sunny"
    assert session.answer["tool_calls"][0]["function"]["arguments"] == '{"a":1}'


def test_schemas_and_the_switch_for_parallel_calls():
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    session = read_run(run_of([user(TEXT)], tools=[SCHEMA], tool_choice=choice))
    assert session.parallel_tool_calls is False
    assert session.tools == [
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
    ]


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (run_of([user(TEXT)], stop_reason="max_tokens"), Reason.TRUNCATED),
        (run_of([user(TEXT)], stop_reason="pause_turn"), Reason.TRUNCATED),
        (run_of([user(TEXT)], stop_reason="refusal"), Reason.CONTENT_FILTER),
        (run_of([user(TEXT)], ()), Reason.EMPTY_ANSWER),
        (run_of([user(TEXT)], ({"type": "thinking", "thinking": "Hm."},)), Reason.EMPTY_ANSWER),
        (run_of([user(TEXT)], ({"type": "server_tool_use", "name": "web_search"},)), Reason.BUILTIN_TOOL),
        (
            run_of([user(TEXT)], tools=[{"type": "web_search_20250305", "name": "web_search"}]),
            Reason.BUILTIN_TOOL,
        ),
        (run_of([user({"type": "tool_result", "content": "5"})]), Reason.UNKNOWN_MESSAGE),
        (run_of([user({"type": "search_result"})]), Reason.UNSUPPORTED_CONTENT),
        (run_of([user(TEXT)], ({**USE, "input": float("nan")},)), Reason.INVALID_TOOL_ARGUMENTS),
    ],
)
def test_what_cannot_be_trained_on(run, reason):
    assert read_run(run) == Rejection("r1", reason)


def test_langchains_messages_may_hold_the_same_blocks():
    run = langchain_run(
        1,
        [
            lc_message("HumanMessage", "hi", name="ann"),
            lc_message("AIMessage", [TEXT, USE]),
            lc_message("HumanMessage", [{"type": "tool_result", "tool_use_id": "t1", "content": "5"}]),
        ],
        lc_message("AIMessage", [TEXT, {**USE, "input": {}, "partial_json": '{"city":"Zürich"}'}]),
    )
    run["extra"]["invocation_params"]["_type"] = "anthropic-chat"
    session = read_run(run)
    assert session.messages == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "sunny", "tool_calls": [CALL]},
        {"role": "tool", "content": "5", "tool_call_id": "t1"},
    ]
    assert session.answer["tool_calls"][0]["function"]["arguments"] == '{"city":"Zürich"}'
