"""What every answer must have, whoever recorded it."""

from collections.abc import Callable, Iterable
from typing import Any

from langchain_finetune.runs.content import text_of
from langchain_finetune.runs.rejections import Reason, Unreadable
from langchain_finetune.runs.tools import answered

Message = dict[str, Any]


def as_answer(message: Message, *, refusal: Any = None) -> Message:
    """Return an assistant message as an answer: one text, arguments that are JSON, a refusal for itself.

    Args:
        message: A message that was read; it is changed.
        refusal: A refusal that was recorded beside the message.

    Raises:
        Unreadable: It is no assistant message, is empty, or calls a tool with broken JSON.
    """
    if message["role"] != "assistant":
        raise Unreadable(Reason.NO_ANSWER)
    message["content"] = text_of(message["content"])
    _take_refusal(message, refusal)
    calls = message.get("tool_calls") or ()
    for call in calls:
        answered(call)
    if legacy := message.get("function_call"):
        answered(legacy)
    if calls or legacy:
        message["content"] = message["content"] or None
    elif not message["content"] and "refusal" not in message:
        raise Unreadable(Reason.EMPTY_ANSWER)
    return message


def _take_refusal(message: Message, refusal: Any) -> None:
    content = message["content"]
    if isinstance(content, list) and any(part["type"] == "refusal" for part in content):
        refusal = "".join(part["refusal"] for part in content if part["type"] == "refusal")
        message["content"] = text_of([part for part in content if part["type"] != "refusal"])
    if isinstance(refusal, str) and refusal:
        message["refusal"] = refusal
    if "refusal" in message:
        message["content"] = message["content"] or None


def further_answers(records: Iterable[Any], read: Callable[[Any], Message]) -> list[Message]:
    """Read the further candidates; those that cannot be trained on are left out.

    Nothing is lost with them: the first answer is the run's.
    """
    answers: list[Message] = []
    for record in records:
        try:
            answers.append(read(record))
        except Unreadable:
            continue
    return answers
