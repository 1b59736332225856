"""Chunks of a stream that a recorder kept one by one, put together."""

from collections.abc import Iterable
from typing import Any, Final

from langchain_finetune.runs.bounds import refuse_many
from langchain_finetune.runs.rejections import Reason, Unreadable

Choice = dict[str, Any]

_MAX_CALLS: Final = 1000
"""Most tool calls of one stream."""


def merged_choices(choices: list[Any]) -> list[Any]:
    """Return choices with whole messages; those with deltas are put together by their index.

    Raises:
        Unreadable: A delta is not one of OpenAI's.
    """
    if not any(
        isinstance(choice, dict) and "delta" in choice and "message" not in choice for choice in choices
    ):
        return choices
    refuse_many(choices)
    merged: dict[int, Choice] = {}
    for choice in choices:
        if not isinstance(choice, dict):
            raise Unreadable(Reason.UNKNOWN_SHAPE)
        index = choice.get("index")
        target = merged.setdefault(
            index if isinstance(index, int) else 0, {"message": {}, "finish_reason": None}
        )
        _add(target["message"], choice.get("delta") or {})
        target["finish_reason"] = choice.get("finish_reason") or target["finish_reason"]
    return [merged[index] for index in sorted(merged)]


def chunks_of(output: list[Any]) -> list[Any] | None:
    """Return the choices of chat completion chunks; None where it is no list of such chunks."""
    if not all(isinstance(chunk, dict) and isinstance(chunk.get("choices"), list) for chunk in output):
        return None
    return [choice for chunk in output for choice in chunk["choices"]]


def _add(message: dict[str, Any], delta: Any) -> None:
    if not isinstance(delta, dict):
        raise Unreadable(Reason.UNKNOWN_SHAPE)
    for key in ("content", "refusal", "reasoning_content", "reasoning"):
        if isinstance(text := delta.get(key), str):
            message[key] = (message.get(key) or "") + text
    if isinstance(role := delta.get("role"), str) and role:
        message["role"] = role
    if isinstance(call := delta.get("function_call"), dict):
        _add_texts(message.setdefault("function_call", {"name": "", "arguments": ""}), call)
    if calls := delta.get("tool_calls"):
        _add_calls(message.setdefault("tool_calls", []), calls)


def _add_calls(calls: list[dict[str, Any]], deltas: Any) -> None:
    for delta in deltas if isinstance(deltas, list) else [deltas]:
        if not isinstance(delta, dict) or not isinstance(delta.get("function"), dict):
            raise Unreadable(Reason.UNKNOWN_MESSAGE)
        index = delta.get("index")
        call = next((call for call in calls if call["index"] == index), None)
        if call is None:
            call = {"index": index, "id": None, "type": "function", "function": {"name": "", "arguments": ""}}
            calls.append(call)
            if len(calls) > _MAX_CALLS:
                raise Unreadable(Reason.TOO_LARGE)
        call["id"] = call["id"] or delta.get("id")
        _add_texts(call["function"], delta["function"])


def _add_texts(target: dict[str, Any], texts: dict[str, Any]) -> None:
    for key in ("name", "arguments"):
        if isinstance(text := texts.get(key), str):
            target[key] += text


def merged_messages(chunks: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Put the dumps of LangChain's message chunks together.

    Raises:
        Unreadable: Their contents are not all texts or all blocks, or a call comes in pieces.
    """
    message: dict[str, Any] = {"type": "ai", "content": "", "tool_calls": []}
    pieces: list[dict[str, Any]] = []
    for chunk in chunks:
        content = chunk.get("content") or ""
        is_other = bool(message["content"]) and type(content) is not type(message["content"])
        if content and (is_other or not isinstance(content, str | list)):
            raise Unreadable(Reason.UNKNOWN_MESSAGE)
        if content:
            message["content"] = message["content"] + content if message["content"] else content
        found = chunk.get("tool_call_chunks")
        pieces += found if isinstance(found, list) else []
        for key in ("additional_kwargs", "response_metadata"):
            if isinstance(values := chunk.get(key), dict):
                message[key] = {**message.get(key, {}), **values}
    calls: list[dict[str, Any]] = []
    _add_calls(calls, [_as_delta(piece) for piece in pieces])
    if calls:
        message["additional_kwargs"] = {**message.get("additional_kwargs", {}), "tool_calls": calls}
    return message


def _as_delta(piece: Any) -> dict[str, Any]:
    if not isinstance(piece, dict):
        raise Unreadable(Reason.UNKNOWN_MESSAGE)
    function = {"name": piece.get("name"), "arguments": piece.get("args")}
    return {"index": piece.get("index"), "id": piece.get("id"), "function": function}
