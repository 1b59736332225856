"""Examples of a LangSmith dataset that hold training rows: what a row has besides a call's own parts."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from langchain_finetune.handles import RecordedSession
from langchain_finetune.runs import Rejection, read_example

Message = dict[str, Any]


def read_row_example(example: Mapping[str, Any]) -> RecordedSession | Rejection:
    """Read an example; never raises, whatever JSON value it is given.

    Beyond a call's prompt, answer and tools, the `weight`s of assistant messages are kept, and `tool_choice`
    in the session's metadata. An example without outputs is a whole row: its last message is the answer. One
    with a preferred and another output is a row of preferences: the other is the answer, the preferred one
    its correction.
    """
    inputs, outputs = _mapping(example.get("inputs")), _mapping(example.get("outputs"))
    prompt = inputs.get("messages")
    if isinstance(prompt, list) and prompt and not outputs:
        *prompt, answer = prompt
        outputs = {"message": answer}
        example = {**example, "inputs": {**inputs, "messages": prompt}, "outputs": outputs}
    if (pair := _pair(outputs)) is not None:
        return _read_pair(example, *pair)
    read = read_example(example)
    if isinstance(read, Rejection):
        return read
    choice = inputs.get("tool_choice")
    return replace(
        read,
        messages=_weighted(read.messages, prompt if isinstance(prompt, list) else []),
        answer=_weighted([read.answer], [_answer(outputs)])[0],
        metadata=read.metadata if choice is None else {**read.metadata, "tool_choice": choice},
    )


def _pair(outputs: Mapping[str, Any]) -> tuple[Message, Message] | None:
    """Return the preferred and the other answer of a row of preferences."""
    match outputs:
        case {"preferred_output": [dict(preferred)], "non_preferred_output": [dict(other)]}:
            return preferred, other
    return None


def _read_pair(example: Mapping[str, Any], preferred: Message, other: Message) -> RecordedSession | Rejection:
    better, worse = (
        read_row_example({**example, "outputs": {"messages": [answer]}}) for answer in (preferred, other)
    )
    if isinstance(better, Rejection) or isinstance(worse, Rejection):
        return better if isinstance(better, Rejection) else worse
    return replace(worse, correction=better.answer)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _answer(outputs: Mapping[str, Any]) -> Any:
    messages = outputs.get("messages")
    if isinstance(messages, list) and messages:
        return messages[-1]
    return outputs.get("message") or outputs.get("output") or outputs


def _weighted(read: list[Message], given: Sequence[Any]) -> list[Message]:
    if len(read) != len(given):  # the dialect parts messages in another way: it is none that has weights
        return read
    return [_with_weight(message, _weight(origin)) for message, origin in zip(read, given, strict=True)]


def _with_weight(message: Message, weight: int | None) -> Message:
    is_weighted = weight is not None and message["role"] == "assistant"
    return {**message, "weight": weight} if is_weighted else message


def _weight(given: Any) -> int | None:
    weight = _mapping(given).get("weight")
    return weight if weight in (0, 1) and not isinstance(weight, bool) else None
