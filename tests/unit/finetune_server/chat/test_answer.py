"""What the engine wrote becomes OpenAI's answer, whole or in parts that add up to it."""

import pytest

from finetune_server.chat.answer import Answer, ChoiceWriter
from finetune_server.inference.completion import Completed, CompletionChunk, TokenChance, TokenLogprob
from tests.openai_schemas import check_schema

CALL = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
ANSWER = Answer(id="chatcmpl-1", created=5, model="m", system_fingerprint="fp_1", num_prompt_tokens=9)


def completed(finish_reason="stop", num_tokens=3) -> Completed:
    return Completed(
        finish_reason=finish_reason, stop_text=None, num_completion_tokens=num_tokens, num_cached_tokens=4
    )


def write(*texts: str, finish_reason="stop", may_call=True, is_legacy=False, num_top=None, logprobs=()):
    """What a choice of these pieces becomes: its parts, and the whole."""
    writer = ChoiceWriter(0, may_call=may_call, is_legacy=is_legacy, num_top=num_top)
    chunks = [CompletionChunk(text, tuple(logprobs)) for text in texts]
    chunks.append(CompletionChunk("", (), completed(finish_reason)))
    parts = [part for chunk in chunks for part in writer.feed(chunk)]
    for part in parts:
        check_schema("CreateChatCompletionStreamResponse", ANSWER.chunk([part]))
    check_schema("CreateChatCompletionResponse", ANSWER.whole([writer]))
    return parts, writer.whole()


def test_text_is_told_as_it_comes():
    parts, whole = write("Hel", "lo")
    assert [part["delta"] for part in parts] == [
        {"role": "assistant", "content": "Hel", "refusal": None},
        {"content": "lo"},
        {},
    ]
    assert [part["finish_reason"] for part in parts] == [None, None, "stop"]
    assert whole == {
        "index": 0,
        "message": {"role": "assistant", "content": "Hello", "refusal": None, "annotations": []},
        "logprobs": None,
        "finish_reason": "stop",
    }


def test_calls_are_told_one_by_one_with_their_ids():
    parts, whole = write(CALL[:20], CALL[20:], f"\n{CALL}")
    calls = whole["message"]["tool_calls"]
    assert whole["message"]["content"] is None
    assert whole["finish_reason"] == "tool_calls"
    assert [call["function"] for call in calls] == [{"name": "f", "arguments": '{"a": 1}'}] * 2
    told = [call for part in parts for call in part["delta"].get("tool_calls", [])]
    assert told == [{"index": index} | call for index, call in enumerate(calls)]
    assert calls[0]["id"] != calls[1]["id"]
    assert parts[0]["delta"]["content"] is None


def test_text_before_a_call_is_kept():
    parts, whole = write(f"Let me see.\n{CALL}")
    assert whole["message"]["content"] == "Let me see."
    assert len(whole["message"]["tool_calls"]) == 1
    assert "content" not in parts[1]["delta"]


def test_a_legacy_call_is_a_function_call():
    parts, whole = write(CALL, is_legacy=True)
    assert whole["message"]["function_call"] == {"name": "f", "arguments": '{"a": 1}'}
    assert "tool_calls" not in whole["message"]
    assert whole["finish_reason"] == "function_call"
    assert parts[0]["delta"]["function_call"] == whole["message"]["function_call"]


def test_what_is_no_call_is_text():
    broken = "<tool_call>\n{broken"
    assert write(broken)[1]["message"]["content"] == broken
    assert write(broken)[1]["finish_reason"] == "stop"
    assert write(CALL, may_call=False)[1]["message"]["content"] == CALL


def test_an_answer_cut_off_says_so_even_with_a_call():
    assert write("Hel", finish_reason="length")[1]["finish_reason"] == "length"
    assert write(f"{CALL}\n<tool_call>\n", finish_reason="length")[1]["finish_reason"] == "length"


def test_an_answer_of_nothing_is_an_answer():
    parts, whole = write()
    assert whole["message"]["content"] == ""
    assert [part["delta"]["role"] for part in parts] == ["assistant"]


@pytest.mark.parametrize("num_top", [0, 1])
def test_log_probabilities_are_told_once_and_as_many_as_asked_for(num_top):
    token = TokenLogprob(TokenChance("é", (195, 169), -0.5), (TokenChance("x", (120,), float("-inf")),) * 2)
    parts, whole = write("é", "é", num_top=num_top, logprobs=[token])
    top = [{"token": "x", "logprob": -9999.0, "bytes": [120]}]
    expected = {"token": "é", "logprob": -0.5, "bytes": [195, 169], "top_logprobs": top[:num_top]}
    assert whole["logprobs"] == {"content": [expected, expected], "refusal": None}
    assert [part["logprobs"] for part in parts] == [{"content": [expected], "refusal": None}] * 2 + [None]


def test_usage_counts_the_prompt_once_and_every_choice():
    usage = ANSWER.usage([completed(num_tokens=3), completed(num_tokens=5), None])
    check_schema("CompletionUsage", usage)
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (9, 8, 17)
    assert usage["prompt_tokens_details"]["cached_tokens"] == 4
