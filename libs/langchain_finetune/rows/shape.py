"""Whether a row that anybody wrote has the shape of OpenAI's supervised chat format.

A row without a misshape can be read by `rows.rules` and `rows.tokens`. A key is named only where it looks
like one: what stands in a row is never told.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from langchain_finetune.rows.rules import Problem
from langchain_finetune.runs import Reason

_ROW_KEYS: Final = frozenset({"messages", "tools", "functions", "parallel_tool_calls"})
_MESSAGE_KEYS: Final = frozenset(
    {
        *("role", "content", "name", "tool_calls", "tool_call_id"),
        *("function_call", "refusal", "weight", "audio"),
    }
)
_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")


def find_misshapes(row: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what keeps a row from being read as a chat: keys, types, missing parts."""
    yield from find_unknown_keys(row, _ROW_KEYS)
    yield from find_chat_misshapes(row)
    yield from _learning(row.get("messages"))


def find_chat_misshapes(chat: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong with the messages and tools of a chat, whatever other keys it has."""
    yield from _schemas(chat)
    messages = chat.get("messages")
    if not isinstance(messages, list) or not messages:
        yield Problem(Reason.NO_MESSAGES, "messages")
        return
    for index, message in enumerate(messages):
        yield from find_message_misshapes(message, f"messages[{index}]")


def find_unknown_keys(value: Mapping[str, Any], known: frozenset[str], place: str = "") -> Iterator[Problem]:
    """Yield the keys that the format does not have."""
    for key in value:
        if key not in known:
            shown = key if _KEY.fullmatch(key) else "(a key)"
            yield Problem(Reason.UNKNOWN_KEY, f"{place}.{shown}" if place else shown)


def _schemas(row: Mapping[str, Any]) -> Iterator[Problem]:
    for key in ("tools", "functions"):
        given = row.get(key)
        if given is None:
            continue
        # Of `functions`, unlike `tools`, the format wants one at least.
        if not isinstance(given, list) or (key == "functions" and not given):
            yield Problem(Reason.INVALID_TOOL, key)
            continue
        for index, item in enumerate(given):
            function = _wrapped(item) if key == "tools" else item
            if not isinstance(function, dict) or not _is_described(function):
                yield Problem(Reason.INVALID_TOOL, f"{key}[{index}]")
    if not isinstance(row.get("parallel_tool_calls"), bool | None):
        yield Problem(Reason.INVALID_TOOL, "parallel_tool_calls")


def _is_described(function: Mapping[str, Any]) -> bool:
    return (
        isinstance(function.get("parameters"), dict | None)
        and isinstance(function.get("description"), str | None)
        and isinstance(function.get("strict"), bool | None)
    )


def _wrapped(tool: Any) -> Any:
    is_function = isinstance(tool, dict) and tool.get("type") == "function"
    return tool.get("function") if is_function else None


def find_message_misshapes(message: Any, place: str) -> Iterator[Problem]:
    """Yield what is wrong with the parts of a message that stands at a place."""
    if not isinstance(message, dict):
        yield Problem(Reason.UNKNOWN_MESSAGE, place)
        return
    if not isinstance(message.get("role"), str):
        yield Problem(Reason.UNKNOWN_ROLE, f"{place}.role")
        return
    yield from find_unknown_keys(message, _MESSAGE_KEYS, place)
    # Only the answers of functions have to say whose they are.
    may_be_nameless = message["role"] != "function"
    if not isinstance(message.get("name"), (str | None) if may_be_nameless else str):
        yield Problem(Reason.UNKNOWN_MESSAGE, f"{place}.name")
    if not isinstance(message.get("refusal"), str | None):
        yield Problem(Reason.UNKNOWN_MESSAGE, f"{place}.refusal")
    if not isinstance(message.get("tool_call_id"), str | None):
        yield Problem(Reason.ORPHAN_TOOL_MESSAGE, f"{place}.tool_call_id")
    weight = message.get("weight")
    if isinstance(weight, bool) or weight not in (None, 0, 1):
        yield Problem(Reason.INVALID_WEIGHT, f"{place}.weight")
    if message.get("audio") is not None:
        yield Problem(Reason.UNSUPPORTED_CONTENT, f"{place}.audio")
    yield from _content(message, f"{place}.content")
    yield from _calls(message, place)


def _content(message: Mapping[str, Any], place: str) -> Iterator[Problem]:
    content = message.get("content")
    is_function = message["role"] == "function"
    may_be_none = message["role"] == "assistant" or (is_function and "content" in message)
    if isinstance(content, str) or (content is None and may_be_none):
        return
    parts = content if isinstance(content, list) and not is_function else []
    if not parts or not all(map(_is_part, parts)):
        yield Problem(Reason.UNSUPPORTED_CONTENT, place)


def _is_part(part: Any) -> bool:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str):
        return False
    if kind == "image_url":
        return isinstance(part.get("image_url"), dict)
    return kind not in ("text", "refusal") or isinstance(part.get(kind), str)


def _calls(message: Mapping[str, Any], place: str) -> Iterator[Problem]:
    calls = message.get("tool_calls")
    if calls is not None and (not isinstance(calls, list) or not calls or not all(map(_is_call, calls))):
        yield Problem(Reason.INVALID_TOOL_CALL, f"{place}.tool_calls")
    legacy = message.get("function_call")
    if legacy is not None and not _is_called(legacy):
        yield Problem(Reason.INVALID_TOOL_CALL, f"{place}.function_call")


def _is_call(call: Any) -> bool:
    if not isinstance(call, dict) or not isinstance(call.get("id"), str) or not call["id"]:
        return False
    return call.get("type") == "function" and _is_called(call.get("function"))


def _is_called(function: Any) -> bool:
    return (
        isinstance(function, dict)
        and isinstance(function.get("name"), str)
        and isinstance(function.get("arguments"), str)
    )


def _learning(messages: Any) -> Iterator[Problem]:
    weights = [
        message.get("weight", 1)
        for message in (messages if isinstance(messages, list) else ())
        if isinstance(message, dict) and message.get("role") == "assistant"
    ]
    if weights and all(weight == 0 and not isinstance(weight, bool) for weight in weights):
        yield Problem(Reason.NOTHING_TO_LEARN, "messages")
