"""The rules for tools, legacy functions, calls of them and their answers in a training row."""

import re
from typing import Any, NoReturn

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_MAX_FUNCTIONS = 128


class RowFault(ValueError):
    """A rule that a row breaks.

    Args:
        text: What is wrong, so that `Example N` can stand before it.
        code: `invalid_file_format` for a fault of form; None for `invalid_training_file` or its twin.
    """

    def __init__(self, text: str, code: str | None = None) -> None:
        super().__init__(text)
        self.code = code


def reject(text: str, code: str | None = None) -> NoReturn:
    """Ends the checking of a row."""
    raise RowFault(text, code)


def check_tools(row: dict[str, Any]) -> set[str]:
    """Checks the row's offered tools and functions, and gives their names."""
    names: set[str] = set()
    tools = row.get("tools")
    if tools is not None:
        for number, tool in enumerate(_listed(tools, "tools"), start=1):
            place = f", tool {number}"
            if not isinstance(tool, dict) or tool.get("type") != "function":
                reject(f"{place} must be an object of type 'function'")
            names.add(_checked_function(tool.get("function"), place))
    functions = row.get("functions")
    if functions is not None:
        for number, function in enumerate(_listed(functions, "functions"), start=1):
            names.add(_checked_function(function, f", function {number}"))
    if not isinstance(row.get("parallel_tool_calls"), bool | None):
        reject(", key 'parallel_tool_calls' must be true or false")
    return names


def check_tool_calls(message: dict[str, Any], place: str, names: set[str]) -> None:
    """Checks the calls of an assistant message against the names that the row offers, if it offers any."""
    calls = message.get("tool_calls")
    if calls is not None:
        if not isinstance(calls, list) or not calls:
            reject(f"{place}, key 'tool_calls' must be a list with at least one call")
        for number, call in enumerate(calls, start=1):
            _check_tool_call(call, f"{place}, tool call {number}", names)
        if len({call["id"] for call in calls}) < len(calls):
            reject(f"{place} has two tool calls with the same 'id'")
    if message.get("function_call") is not None:
        _check_called(message["function_call"], f"{place}, function call", names)


def check_tool_answers(messages: list[dict[str, Any]]) -> None:
    """Checks that tool messages answer calls, and that all calls but the last message's are answered."""
    open_ids: set[str] = set()
    for number, message in enumerate(messages, start=1):
        place = f", message {number}"
        if message["role"] == "tool":
            called = message.get("tool_call_id")
            if not isinstance(called, str) or called not in open_ids:
                reject(f"{place} 'tool_call_id' does not answer a preceding, unanswered tool call")
            open_ids.remove(called)
        elif open_ids:
            reject(f"{place} comes before every 'tool_call_id' of the message before is answered")
        elif message["role"] == "assistant":
            open_ids = {call["id"] for call in message.get("tool_calls") or ()}


def _listed(value: Any, key: str) -> list[Any]:
    if not isinstance(value, list) or len(value) > _MAX_FUNCTIONS:
        reject(f", key '{key}' must be a list of at most {_MAX_FUNCTIONS}")
    return value


def _checked_function(function: Any, place: str) -> str:
    if not isinstance(function, dict):
        reject(f"{place}, key 'function' must be an object")
    if not isinstance(function.get("parameters"), dict | None):
        reject(f"{place}, key 'parameters' must be a JSON schema object")
    return _checked_name(function, place)


def _check_tool_call(call: Any, place: str, names: set[str]) -> None:
    if not isinstance(call, dict) or call.get("type", "function") != "function":
        reject(f"{place} must be an object of type 'function'")
    if not isinstance(call.get("id"), str) or not call["id"]:
        reject(f"{place} is missing key 'id'")
    _check_called(call.get("function"), place, names)


def _check_called(function: Any, place: str, names: set[str]) -> None:
    if not isinstance(function, dict):
        reject(f"{place}, key 'function' must be an object")
    name = _checked_name(function, place)
    if names and name not in names:
        reject(f"{place} calls a function that the example's tools do not have")
    if not isinstance(function.get("arguments"), str):
        reject(f"{place}, key 'arguments' must be a string of JSON")


def _checked_name(function: dict[str, Any], place: str) -> str:
    name = function.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        reject(f"{place}, key 'name' must match [a-zA-Z0-9_-]{{1,64}}")
    return name
