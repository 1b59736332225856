"""How many tokens a row has: by a tokenizer as OpenAI's cookbook counts, or by the length of its text.

The constants are those of [How to count tokens with tiktoken](
https://developers.openai.com/cookbook/examples/how_to_count_tokens_with_tiktoken), sections 6 and 7, for
models of the encoding `o200k_base`. The row has to have the right shape, see `rows.shape`.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

CountText = Callable[[str], int]
"""Tokens of a text."""

BYTES_PER_TOKEN: Final = 3.5
"""Of text in UTF-8. For `o200k_base` there are 3.6 in chats with tool calls, 3.8 to 4.1 in English and
Python, more in other languages, 2.0 in bare figures; measured on this package's own texts, 2026-11-23."""

_PER_ROW: Final = 3
_PER_MESSAGE: Final = 3
_PER_NAME: Final = 1
_PER_CALL: Final = 3
_FUNCTION: Final = 7
_PROPERTIES: Final = 3
_PROPERTY: Final = 3
_ENUM: Final = -3
_ENUM_ITEM: Final = 3
_TOOLS_END: Final = 12

_MAX_DEPTH: Final = 32
"""Levels of a tool's schema that are counted."""

_LOW_DETAIL_IMAGE: Final = 85
_IMAGE: Final = 765
"""Of 1024 by 1024 pixels at high detail; a row does not tell the size of an image behind a URL."""


def count_tokens(row: Mapping[str, Any], count_text: CountText) -> int:
    """Return the tokens of a row, tools included."""
    return (
        _PER_ROW
        + sum(_message(message, count_text) for message in row["messages"])
        + _tools(list(_functions(row)), count_text)
    )


def estimate_tokens(row: Mapping[str, Any]) -> int:
    """Return about how many tokens a row has, by the length of its text."""
    return count_tokens(row, lambda text: math.ceil(len(text.encode(errors="replace")) / BYTES_PER_TOKEN))


def _message(message: Mapping[str, Any], count_text: CountText) -> int:
    texts = [message["role"], message.get("refusal") or "", message.get("tool_call_id") or ""]
    num = _PER_MESSAGE + sum(map(count_text, texts)) + _content(message.get("content"), count_text)
    if name := message.get("name"):
        num += _PER_NAME + count_text(name)
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    calls += [message["function_call"]] if message.get("function_call") else []
    return num + sum(_PER_CALL + count_text(call["name"]) + count_text(call["arguments"]) for call in calls)


def _content(content: Any, count_text: CountText) -> int:
    if isinstance(content, str):
        return count_text(content)
    return sum(_part(part, count_text) for part in content or ())


def _part(part: Mapping[str, Any], count_text: CountText) -> int:
    if part["type"] == "image_url":
        return _LOW_DETAIL_IMAGE if part["image_url"].get("detail") == "low" else _IMAGE
    text = part.get(part["type"])
    return count_text(text) if isinstance(text, str) else 0


def _functions(row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for tool in row.get("tools") or ():
        yield tool["function"]
    yield from row.get("functions") or ()


def _tools(functions: list[Mapping[str, Any]], count_text: CountText) -> int:
    if not functions:
        return 0
    return _TOOLS_END + sum(_function(function, count_text) for function in functions)


def _function(function: Mapping[str, Any], count_text: CountText) -> int:
    num = _FUNCTION + count_text(f"{function.get('name')}:{_sentence(function)}")
    properties = _properties(function.get("parameters"))
    if properties:
        num += _PROPERTIES + sum(_property(name, value, count_text) for name, value in properties.items())
    return num


def _property(name: str, schema: Any, count_text: CountText, depth: int = 1) -> int:
    known = schema if isinstance(schema, Mapping) else {}
    num = _PROPERTY + count_text(f"{name}:{known.get('type')}:{_sentence(known)}")
    if isinstance(choices := known.get("enum"), list):
        num += _ENUM + sum(_ENUM_ITEM + count_text(str(choice)) for choice in choices)
    # The cookbook stops at the first level; what lies deeper is sent to the model all the same.
    deeper = (_properties(known) or _properties(known.get("items"))) if depth < _MAX_DEPTH else {}
    return num + sum(_property(key, value, count_text, depth + 1) for key, value in deeper.items())


def _properties(schema: Any) -> Mapping[str, Any]:
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    return properties if isinstance(properties, Mapping) else {}


def _sentence(schema: Mapping[str, Any]) -> str:
    description = schema.get("description")
    return description.removesuffix(".") if isinstance(description, str) else ""
