"""Whether an answer is the recorded one: the same tool calls, or the same text where there is none. Pure."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage


class ToolCall(NamedTuple):
    """A call as far as it matters."""

    name: str
    arguments: Any
    """The JSON value; the text itself where it is no JSON."""


class Answer(NamedTuple):
    """An assistant's message as far as it matters."""

    text: str
    calls: tuple[ToolCall, ...]


def recorded_answer(message: Mapping[str, Any]) -> Answer:
    """Read an assistant message in OpenAI's form, with tools or legacy functions."""
    functions = [
        call.get("function") for call in _list(message.get("tool_calls")) if isinstance(call, Mapping)
    ]
    functions.append(message.get("function_call"))
    calls = [
        ToolCall(str(function.get("name") or ""), _parsed(function.get("arguments")))
        for function in functions
        if isinstance(function, Mapping)
    ]
    return Answer(_text(message.get("content")), tuple(calls))


def given_answer(message: AIMessage) -> Answer:
    """Read a chat model's answer, calls that could not be parsed included."""
    calls = [ToolCall(call["name"], call["args"]) for call in message.tool_calls]
    calls += [ToolCall(call.get("name") or "", call.get("args")) for call in message.invalid_tool_calls]
    if isinstance(function := message.additional_kwargs.get("function_call"), Mapping):
        calls.append(ToolCall(str(function.get("name") or ""), _parsed(function.get("arguments"))))
    return Answer(str(message.text), tuple(calls))


def is_exact(expected: Answer, given: Answer) -> bool:
    """Tell whether an answer is the expected one.

    Calls have to agree in name and JSON-equal arguments; their order does not matter, since parallel calls
    have none. Beside calls the text is free; without calls it has to agree but for space around it.
    """
    if not expected.calls:
        return not given.calls and expected.text.strip() == given.text.strip()
    left = list(given.calls)
    for call in expected.calls:
        match = next((index for index, other in enumerate(left) if _is_same(call, other)), None)
        if match is None:
            return False
        del left[match]
    return not left


def is_json_equal(left: Any, right: Any) -> bool:
    """Tell whether two JSON values are equal: 7 and 7.0 are, true and 1 are not."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(is_json_equal(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(is_json_equal, left, right))
    return bool(left == right)


def _is_same(left: ToolCall, right: ToolCall) -> bool:
    return left.name == right.name and is_json_equal(left.arguments, right.arguments)


def most_tokens(message: Mapping[str, Any]) -> int:
    """Return a bound of the tokens of an answer, for models that write calls as text.

    No tokenizer makes more tokens than there are bytes; to the text and the arguments comes what a model
    writes around each call.
    """
    answer = recorded_answer(message)
    written = [answer.text, *(json.dumps(call._asdict(), ensure_ascii=False) for call in answer.calls)]
    return sum(len(text.encode(errors="replace")) + _AROUND_A_CALL for text in written)


_AROUND_A_CALL = 32


def _parsed(arguments: Any) -> Any:
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = [part.get("text") for part in _list(content) if isinstance(part, Mapping)]
    return "".join(part for part in parts if isinstance(part, str))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
