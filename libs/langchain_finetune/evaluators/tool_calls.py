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

    @property
    def arguments_text(self) -> str:
        """The arguments as text: canonical JSON, or what it was where it is none."""
        if isinstance(self.arguments, str):
            return self.arguments
        return json.dumps(self.arguments, sort_keys=True, ensure_ascii=False)


class Answer(NamedTuple):
    """An assistant's message as far as it matters."""

    text: str
    calls: tuple[ToolCall, ...]
    refusal: str = ""
    """What the host's `refusal` field says, empty where there is none."""
    input_tokens: int | None = None
    """As the host counted them, None where it did not; the same of `output_tokens`."""
    output_tokens: int | None = None
    seconds: float | None = None
    """From the question to the whole answer; questions asked at the same time wait for each other."""

    @property
    def said(self) -> tuple[str, tuple[ToolCall, ...], str]:
        """All that the model itself wrote."""
        return self.text, self.calls, self.refusal

    def as_message(self) -> dict[str, Any]:
        """Return an assistant message in OpenAI's form; the same for the same answer, so without call ids."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text}
        if self.calls:
            message["tool_calls"] = [
                {"type": "function", "function": {"name": call.name, "arguments": call.arguments_text}}
                for call in self.calls
            ]
        return {**message, "refusal": self.refusal} if self.refusal else message


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
    return Answer(_text(message.get("content")), tuple(calls), _string(message.get("refusal")))


def given_answer(message: AIMessage, seconds: float | None = None) -> Answer:
    """Read a chat model's answer, calls that could not be parsed included.

    Args:
        message: The answer.
        seconds: How long it took.
    """
    calls = [ToolCall(call["name"], call["args"]) for call in message.tool_calls]
    calls += [ToolCall(call.get("name") or "", call.get("args")) for call in message.invalid_tool_calls]
    if isinstance(function := message.additional_kwargs.get("function_call"), Mapping):
        calls.append(ToolCall(str(function.get("name") or ""), _parsed(function.get("arguments"))))
    usage: Mapping[str, Any] = message.usage_metadata or {}
    return Answer(
        str(message.text),
        tuple(calls),
        _string(message.additional_kwargs.get("refusal")),
        usage.get("input_tokens"),
        usage.get("output_tokens"),
        seconds,
    )


def is_exact(expected: Answer, given: Answer) -> bool:
    """Tell whether an answer is the expected one.

    Calls have to agree in name and JSON-equal arguments; their order does not matter, since parallel calls
    have none. Beside calls the text is free; without calls it has to agree but for space around it.
    """
    if not expected.calls:
        return not given.calls and expected.text.strip() == given.text.strip()
    left = list(given.calls)
    for call in expected.calls:
        match = next((index for index, other in enumerate(left) if is_same_call(call, other)), None)
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


def is_same_call(left: ToolCall, right: ToolCall) -> bool:
    """Tell whether two calls agree in name and JSON-equal arguments."""
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


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
