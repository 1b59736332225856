"""How deep and how large a run may be: recorded runs are untrusted data.

A run beyond a bound is rejected. The bounds lie far above what models take, and below what would end in a
recursion error of this process or of the JSON writer.
"""

from typing import Any, Final

import orjson

from langchain_finetune.runs.rejections import Reason, Unreadable

MAX_DEPTH: Final = 100
"""Most levels of objects and lists in the arguments of a tool call."""

MAX_MESSAGES: Final = 10_000
"""Most messages, content parts or tool calls of one run, each counted for itself."""

MAX_CHARACTERS: Final = 64 * 1024 * 1024
"""Most characters of a run's content, images in it included."""

_NESTED: Final = (dict, list)


def refuse_deep(value: Any) -> None:
    """Refuse a JSON value that is nested more deeply than orjson writes: about 250 levels.

    Raises:
        Unreadable: It is nested too deeply.
    """
    try:
        orjson.dumps([[[[value]]]])  # the levels of a row around it; a loop in Python takes ten times as long
    except TypeError as e:
        if "ecursion" in str(e):
            raise Unreadable(Reason.TOO_DEEP) from e
        # What else cannot be written is rejected when the session is.


def refuse_deep_values(fields: dict[str, Any]) -> None:
    """Refuse fields of which one is nested too deeply; mostly none is nested at all.

    Raises:
        Unreadable: One is.
    """
    for value in fields.values():
        if isinstance(value, _NESTED):
            refuse_deep(fields)
            return


def refuse_many(items: list[Any]) -> None:
    """Refuse a list of messages, parts or calls that is too long.

    Raises:
        Unreadable: It has more than `MAX_MESSAGES` items.
    """
    if len(items) > MAX_MESSAGES:
        raise Unreadable(Reason.TOO_LARGE)


def refuse_large(messages: list[dict[str, Any]]) -> None:
    """Refuse messages whose contents and arguments are too large together.

    Raises:
        Unreadable: They have more than `MAX_CHARACTERS` characters.
    """
    size = 0
    for message in messages:
        content = message["content"]
        if isinstance(content, str):
            size += len(content)
        elif content:
            refuse_many(content)
            size += sum(map(_size, content))
        if "tool_calls" in message and (calls := message["tool_calls"]):
            refuse_many(calls)
            size += sum(len(call["function"]["arguments"]) for call in calls)
    if size > MAX_CHARACTERS:
        raise Unreadable(Reason.TOO_LARGE)


def _size(part: dict[str, Any]) -> int:
    # A part is its kind and what stands under it: a text, or an object of texts.
    value = part.get(part["type"])
    fields = value.values() if isinstance(value, dict) else (value,)
    return sum(len(field) for field in fields if isinstance(field, str))
