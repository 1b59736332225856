"""The rules that OpenAI puts on one row of its supervised chat format.

A file with one bad row fails as a whole. The converter leaves such a row out and reports it; the trainer
names it before anything is uploaded. The rules are for rows of the right shape: `rows.shape` has that.

Every row that is converted goes through here: one pass over its messages, and a place is written down only
where a rule is broken.
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
_DETAILS: Final = (None, "auto", "low", "high")
_MAX_IMAGES: Final = 10
_MAX_IMAGE_LENGTH: Final = 10 * 1024 * 1024 * 4 // 3
_MAX_SCHEMAS: Final = 128

_MOST_NAMES_KEPT: Final = 4096
_good_names: Final[set[str]] = set()
"""Names of functions that were looked at: the rows of one application have the same few."""

Message = Mapping[str, Any]


class Problem(NamedTuple):
    """A rule that a row breaks, and where."""

    reason: Reason
    field: str


def find_problem(row: Mapping[str, Any]) -> Problem | None:
    """Return the first rule that a row breaks."""
    problems = _row_problems(row)
    return problems[0] if problems else None


def find_problems(row: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield every rule that a row breaks."""
    return iter(_row_problems(row))


def find_chat_problems(chat: Mapping[str, Any], roles: frozenset[str] = ROLES) -> Iterator[Problem]:
    """Yield every rule that a chat breaks, wherever it ends.

    Args:
        chat: Messages, and the tools that they have.
        roles: The roles that there are.
    """
    return iter(_chat_problems(chat, roles))


def has_image(message: Message) -> bool:
    """Tell whether a message of the right shape holds an image."""
    content = message.get("content")
    return isinstance(content, list) and any(part["type"] == "image_url" for part in content)


def has_special_token(text: str) -> bool:
    """Tell whether a text holds a token that OpenAI's chat format reserves."""
    return "<|" in text and _SPECIAL_TOKEN.search(text) is not None


def _row_problems(row: Mapping[str, Any]) -> list[Problem]:
    problems = _chat_problems(row, ROLES)
    messages = row["messages"]
    answer = messages[-1]
    if answer["role"] != "assistant":
        problems.append(Problem(Reason.NO_ANSWER, f"messages[{len(messages) - 1}]"))
    elif not (answer.get("content") or answer.get("tool_calls") or answer.get("function_call")):
        reason = Reason.REFUSAL if answer.get("refusal") else Reason.EMPTY_ANSWER
        problems.append(Problem(reason, f"messages[{len(messages) - 1}]"))
    return problems


def _chat_problems(chat: Mapping[str, Any], roles: frozenset[str]) -> list[Problem]:
    problems: list[Problem] = []
    declared = _declared(chat, problems)
    messages = chat["messages"]
    num_images = 0
    is_calling = False
    for index, message in enumerate(messages):
        role, content = message["role"], message.get("content")
        if role not in roles:
            problems.append(Problem(Reason.UNKNOWN_ROLE, f"messages[{index}].role"))
        if isinstance(content, str):
            if "<|" in content and _SPECIAL_TOKEN.search(content):
                problems.append(Problem(Reason.SPECIAL_TOKEN, f"messages[{index}].content"))
        elif content:
            num_images += _check_parts(role, content, index, problems)
        if message.get("tool_calls") or message.get("function_call"):
            is_calling = True
            _check_calls(message, index, declared, problems)
        elif role == "tool":
            is_calling = True
    if is_calling:
        _check_pairs(messages, problems)
    if num_images > _MAX_IMAGES:
        problems.append(Problem(Reason.TOO_MANY_IMAGES, "messages"))
    return problems


def _check_pairs(messages: list[Message], problems: list[Problem]) -> None:
    """Every tool message answers a call of the turn before it, every call of the history is answered."""
    waiting: set[str] = set()
    for index, message in enumerate(messages):
        if message["role"] == "tool":
            answered = message.get("tool_call_id")
            if answered in waiting:
                waiting.remove(answered)
            else:
                problems.append(Problem(Reason.ORPHAN_TOOL_MESSAGE, f"messages[{index}].tool_call_id"))
            continue
        if waiting:
            problems.append(Problem(Reason.UNANSWERED_TOOL_CALL, f"messages[{index}]"))
            waiting = set()
        if calls := message.get("tool_calls"):
            waiting = {call["id"] for call in calls}


def _declared(chat: Mapping[str, Any], problems: list[Problem]) -> set[str]:
    """Return the names of the tools and functions that the chat has schemas of."""
    tools, functions = chat.get("tools"), chat.get("functions")
    if not tools and not functions:
        return set()
    for key, schemas in (("tools", tools), ("functions", functions)):
        if schemas and len(schemas) > _MAX_SCHEMAS:
            problems.append(Problem(Reason.TOO_MANY_TOOLS, key))
    names = [tool["function"].get("name") for tool in tools or ()]
    names += [function.get("name") for function in functions or ()]
    declared = {name if isinstance(name, str) else "" for name in names}
    if not declared <= _good_names:
        problems += [Problem(Reason.INVALID_NAME, "tools") for name in declared if not _is_name(name)]
    return declared


def _is_name(name: str) -> bool:
    if name in _good_names:
        return True
    is_good = _NAME.fullmatch(name) is not None
    if is_good:
        if len(_good_names) >= _MOST_NAMES_KEPT:
            _good_names.clear()
        _good_names.add(name)
    return is_good


def _check_calls(message: Message, index: int, declared: set[str], problems: list[Problem]) -> None:
    functions = [call["function"] for call in message.get("tool_calls") or ()]
    if legacy := message.get("function_call"):
        functions.append(legacy)
    for function in functions:
        name, arguments = function["name"], function["arguments"]
        if name not in _good_names and not _is_name(name):
            problems.append(Problem(Reason.INVALID_NAME, f"messages[{index}].tool_calls"))
        if declared and name not in declared:
            problems.append(Problem(Reason.UNDECLARED_TOOL, f"messages[{index}].tool_calls"))
        if not _is_object(arguments):
            problems.append(Problem(Reason.INVALID_TOOL_ARGUMENTS, f"messages[{index}].tool_calls"))
        if "<|" in arguments and _SPECIAL_TOKEN.search(arguments):
            problems.append(Problem(Reason.SPECIAL_TOKEN, f"messages[{index}].tool_calls"))


def _is_object(arguments: str) -> bool:
    try:
        return isinstance(orjson.loads(arguments), dict)
    except orjson.JSONDecodeError:
        return False


def _check_parts(role: str, content: list[Any], index: int, problems: list[Problem]) -> int:
    """Look at the parts of a message, and return how many images are among them."""
    num_images = 0
    field = f"messages[{index}].content"
    for part in content:
        kind = part["type"]
        if kind == "text":
            if has_special_token(part["text"]):
                problems.append(Problem(Reason.SPECIAL_TOKEN, field))
        elif kind == "image_url":
            num_images += 1
            if role != "user" or not _is_image(part["image_url"]):
                problems.append(Problem(Reason.INVALID_IMAGE, field))
        elif kind != "refusal" or role != "assistant":
            problems.append(Problem(Reason.UNSUPPORTED_CONTENT, field))
        elif has_special_token(part["refusal"]):
            problems.append(Problem(Reason.SPECIAL_TOKEN, field))
    return num_images


def _is_image(image: Mapping[str, Any]) -> bool:
    url = image.get("url")
    if image.get("detail") not in _DETAILS:
        return False
    return isinstance(url, str) and bool(_IMAGE_URL.match(url)) and len(url) <= _MAX_IMAGE_LENGTH
