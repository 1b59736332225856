"""The rules that OpenAI puts on one row of its supervised chat format.

A file with one bad row fails as a whole. The converter leaves such a row out and reports it; the trainer
names it before anything is uploaded. The rules are for rows of the right shape: `rows.shape` has that.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import orjson

from langchain_finetune.runs import Reason

ROLES: Final = frozenset({"system", "user", "assistant", "tool", "function"})
"""Of the messages of a supervised row."""

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_SPECIAL_TOKEN: Final = re.compile(r"<\|(im_start|im_end|im_sep|endoftext|endofprompt|fim_\w+)\|>")
_IMAGE_URL: Final = re.compile(r"https?://|data:image/(jpeg|jpg|png|webp);base64,", re.IGNORECASE)
_MAX_IMAGES: Final = 10
_MAX_IMAGE_LENGTH: Final = 10 * 1024 * 1024 * 4 // 3
_MAX_SCHEMAS: Final = 128

Message = Mapping[str, Any]


class Problem(NamedTuple):
    """A rule that a row breaks, and where."""

    reason: Reason
    field: str


def find_problem(row: Mapping[str, Any]) -> Problem | None:
    """Return the first rule that a row breaks."""
    return next(find_problems(row), None)


def find_problems(row: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield every rule that a row breaks."""
    messages = row["messages"]
    yield from find_chat_problems(row)
    yield from _answer_problems(messages[-1], f"messages[{len(messages) - 1}]")


def find_chat_problems(chat: Mapping[str, Any], roles: frozenset[str] = ROLES) -> Iterator[Problem]:
    """Yield every rule that a chat breaks, wherever it ends.

    Args:
        chat: Messages, and the tools that they have.
        roles: The roles that there are.
    """
    messages = chat["messages"]
    declared = _declared(chat)
    for schemas in ("tools", "functions"):
        if len(chat.get(schemas) or ()) > _MAX_SCHEMAS:
            yield Problem(Reason.TOO_MANY_TOOLS, schemas)
    for name in declared:
        if not _NAME.fullmatch(name):
            yield Problem(Reason.INVALID_NAME, "tools")
    for index, message in enumerate(messages):
        if message["role"] not in roles:
            yield Problem(Reason.UNKNOWN_ROLE, f"messages[{index}].role")
        yield from _message_problems(message, f"messages[{index}]", declared)
    yield from _pairing_problems(messages)
    if _num_images(messages) > _MAX_IMAGES:
        yield Problem(Reason.TOO_MANY_IMAGES, "messages")


def _declared(row: Mapping[str, Any]) -> set[str]:
    names = [tool["function"].get("name") for tool in row.get("tools") or ()]
    names += [function.get("name") for function in row.get("functions") or ()]
    return {name if isinstance(name, str) else "" for name in names}


def _message_problems(message: Message, field: str, declared: set[str]) -> Iterator[Problem]:
    yield from _content_problems(message, f"{field}.content")
    for call in _calls(message):
        if not _NAME.fullmatch(call["name"]):
            yield Problem(Reason.INVALID_NAME, f"{field}.tool_calls")
        if declared and call["name"] not in declared:
            yield Problem(Reason.UNDECLARED_TOOL, f"{field}.tool_calls")
        if not _is_object(call["arguments"]):
            yield Problem(Reason.INVALID_TOOL_ARGUMENTS, f"{field}.tool_calls")
        if _has_special_token(call["arguments"]):
            yield Problem(Reason.SPECIAL_TOKEN, f"{field}.tool_calls")


def _calls(message: Message) -> list[Mapping[str, Any]]:
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    return [*calls, message["function_call"]] if message.get("function_call") else calls


def _is_object(arguments: str) -> bool:
    try:
        return isinstance(orjson.loads(arguments), dict)
    except orjson.JSONDecodeError:
        return False


def _content_problems(message: Message, field: str) -> Iterator[Problem]:
    content = message.get("content")
    if isinstance(content, str):
        if _has_special_token(content):
            yield Problem(Reason.SPECIAL_TOKEN, field)
        return
    for part in content or ():
        kind = part["type"]
        if kind == "text":
            if _has_special_token(part["text"]):
                yield Problem(Reason.SPECIAL_TOKEN, field)
        elif kind == "image_url":
            if message["role"] == "assistant" or not _is_image(part["image_url"]):
                yield Problem(Reason.INVALID_IMAGE, field)
        elif kind != "refusal" or message["role"] != "assistant":
            yield Problem(Reason.UNSUPPORTED_CONTENT, field)


def _has_special_token(text: str) -> bool:
    return "<|" in text and _SPECIAL_TOKEN.search(text) is not None


def _is_image(image: Mapping[str, Any]) -> bool:
    url = image.get("url")
    return isinstance(url, str) and bool(_IMAGE_URL.match(url)) and len(url) <= _MAX_IMAGE_LENGTH


def _num_images(messages: list[Message]) -> int:
    return sum(
        part["type"] == "image_url"
        for message in messages
        if isinstance(message.get("content"), list)
        for part in message["content"]
    )


def _pairing_problems(messages: list[Message]) -> Iterator[Problem]:
    """Every tool message answers a call of the turn before it, every call of the history is answered."""
    waiting: set[str] = set()
    for index, message in enumerate(messages):
        if message["role"] == "tool":
            if message.get("tool_call_id") not in waiting:
                yield Problem(Reason.ORPHAN_TOOL_MESSAGE, f"messages[{index}].tool_call_id")
            waiting.discard(message.get("tool_call_id", ""))
            continue
        if waiting:
            yield Problem(Reason.UNANSWERED_TOOL_CALL, f"messages[{index}]")
        waiting = {call["id"] for call in message.get("tool_calls") or ()}


def _answer_problems(answer: Message, field: str) -> Iterator[Problem]:
    if answer["role"] != "assistant":
        yield Problem(Reason.NO_ANSWER, field)
    elif not (answer.get("content") or answer.get("tool_calls") or answer.get("function_call")):
        yield Problem(Reason.REFUSAL if answer.get("refusal") else Reason.EMPTY_ANSWER, field)
