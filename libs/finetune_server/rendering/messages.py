"""OpenAI chat messages brought to the one form the template reads.

Four roles remain (system, user, assistant, tool), content is a string, a call's arguments are the JSON value
they stand for, and legacy functions are tools. Nothing is dropped silently: what the template cannot show
raises `UnreadableMessageError`, which names the message.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

Message = Mapping[str, Any]
"""A chat message as it is on the wire."""

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_TEXT_PARTS = {"text": "text", "refusal": "refusal"}


class UnreadableMessageError(ValueError):
    """A message or tool that a text model cannot be shown.

    Args:
        message: What is wrong, and what to do.
        param: The place in the request, in OpenAI's notation.
    """

    def __init__(self, message: str, param: str = "messages") -> None:
        super().__init__(message)
        self.param = param

    def __reduce__(self) -> tuple[type["UnreadableMessageError"], tuple[str, str]]:
        """Keep `param` when pickled."""
        return type(self), (str(self), self.param)


def dump_json(value: Any) -> str:
    """Write JSON as template, training rows and grammars all write it: `", "` and `": "`, nothing escaped.

    Half of a surrogate pair has no UTF-8, so a value that holds one is escaped.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return text if is_encodable(text) else json.dumps(value, allow_nan=False)


def is_encodable(text: str) -> bool:
    """Whether UTF-8 can carry the text: half of a surrogate pair cannot be."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def normalize_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return the messages as the template reads them."""
    if not messages:
        msg = "'messages' is empty: give at least one message."
        raise UnreadableMessageError(msg)
    return [_normalize(message, f"messages[{index}]") for index, message in enumerate(messages)]


def _normalize(message: Message, place: str) -> dict[str, Any]:
    given = message.get("role")
    role = _ROLES.get(given) if isinstance(given, str) else None
    if role is None:
        msg = f"{place}.role must be one of {', '.join(_ROLES)}."
        raise UnreadableMessageError(msg, f"{place}.role")
    content = _text(message.get("content"), f"{place}.content")
    if role == "assistant":
        content = content or _text(message.get("refusal"), f"{place}.refusal")
        return {"role": role, "content": content, "tool_calls": _calls(message, place)}
    name = _text(message.get("name"), f"{place}.name") if role != "tool" else ""
    return {"role": role, "content": content, "name": name}


def _text(content: Any, place: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        text = content
    elif isinstance(content, list):
        text = "\n".join(_part(part, f"{place}[{index}]") for index, part in enumerate(content))
    else:
        msg = f"{place} is of type {type(content).__name__}: give a string or a list of text parts."
        raise UnreadableMessageError(msg, place)
    if not is_encodable(text):
        msg = f"{place} holds half of a surrogate pair, which is no Unicode text: send the whole character."
        raise UnreadableMessageError(msg, place)
    return text


def _part(part: Any, place: str) -> str:
    if isinstance(part, str):
        return part
    kind = str(part.get("type")) if isinstance(part, dict) else type(part).__name__
    text = part.get(_TEXT_PARTS[kind]) if kind in _TEXT_PARTS else None
    if not isinstance(text, str):
        msg = f"{place} is of type {kind!r}: this base model reads text only; send text parts."
        raise UnreadableMessageError(msg, place)
    return text


def _calls(message: Message, place: str) -> list[dict[str, Any]]:
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        msg = f"{place}.tool_calls is of type {type(calls).__name__}: give a list of calls."
        raise UnreadableMessageError(msg, f"{place}.tool_calls")
    functions = [
        (_function_of(call, f"{place}.tool_calls[{index}]"), f"{place}.tool_calls[{index}].function")
        for index, call in enumerate(calls)
    ]
    if not functions and message.get("function_call"):
        functions = [(message["function_call"], f"{place}.function_call")]
    return [{"function": _named(function, where)} for function, where in functions]


def _function_of(call: Any, place: str) -> Any:
    if not isinstance(call, dict) or call.get("type", "function") != "function":
        msg = f"{place} is no function call: this server renders calls of type 'function' only."
        raise UnreadableMessageError(msg, place)
    return call.get("function")


def _named(function: Any, place: str) -> dict[str, Any]:
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        msg = f"{place} has no name: give the name and the arguments of the function."
        raise UnreadableMessageError(msg, place)
    return {"name": function["name"], "arguments": _arguments(function.get("arguments"))}


def _arguments(arguments: Any) -> Any:
    """Return the value that the arguments' JSON stands for; a string that is no JSON stays one.

    A string that is the JSON of a string stays as it is too, so that the parser gives back what went in.
    """
    if not isinstance(arguments, str):
        return {} if arguments is None else arguments
    if not arguments.strip():
        return {}
    try:
        value = json.loads(arguments, parse_constant=_refuse_constant)
        dump_json(value)
    except (ValueError, RecursionError):
        return arguments
    return arguments if isinstance(value, str) else value


def _refuse_constant(name: str) -> Any:
    msg = f"{name} is no JSON"
    raise ValueError(msg)


def normalize_tools(
    tools: Sequence[Mapping[str, Any]] | None, functions: Sequence[Mapping[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """Return tools and legacy functions as one list of tools, each function's own keys in one order.

    `strict` is left out: it tells the decoder what to enforce, and is nothing the model reads.
    """
    named = [
        (_tool_function(tool, f"tools[{index}]"), f"tools[{index}].function")
        for index, tool in enumerate(tools or [])
    ]
    named += [(function, f"functions[{index}]") for index, function in enumerate(functions or [])]
    return [{"type": "function", "function": _ordered(function, place)} for function, place in named]


def _tool_function(tool: Any, place: str) -> Any:
    if not isinstance(tool, Mapping) or tool.get("type", "function") != "function":
        msg = f"{place} is no function: this server offers tools of type 'function' only."
        raise UnreadableMessageError(msg, place)
    return tool.get("function")


def _ordered(function: Any, place: str) -> dict[str, Any]:
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        msg = f"{place} has no name: give the function's name, description and parameters."
        raise UnreadableMessageError(msg, place)
    if not isinstance(function.get("parameters"), Mapping | None):
        msg = f"{place}.parameters is no JSON Schema: give an object."
        raise UnreadableMessageError(msg, f"{place}.parameters")
    first = {key: function[key] for key in ("name", "description", "parameters") if key in function}
    return first | {key: value for key, value in function.items() if key not in first and key != "strict"}
