"""Corrections from feedback: what a person wrote in place of an answer, as an assistant message."""

import uuid
from typing import Any, Final

from langchain_finetune.runs.bounds import refuse_large
from langchain_finetune.runs.messages import is_langchain_message, read_answer
from langchain_finetune.runs.reasoning import REASONING
from langchain_finetune.runs.rejections import Reason, Unreadable
from langchain_finetune.runs.role_messages import read_role_answer

_NAMES: Final = ("message", "output", "answer", "text", "value", "completion", "expected", "correction")
"""Under which an annotation form may put the answer."""


def read_correction(correction: Any) -> dict[str, Any] | None:
    """Read the correction of a feedback as the assistant message that should have been given.

    Args:
        correction: A text, a message of OpenAI's or LangChain's form, an object with one of them under a
            name such as `message`, `output` or `answer`, or as the last of `messages`.

    Returns:
        The message, without reasoning; None where the correction is none that can be trained on.
    """
    try:
        message = _answer(correction)
        refuse_large([message])
    except (Unreadable, RecursionError):
        return None
    message.pop(REASONING, None)
    content = message["content"]
    if isinstance(content, str) and not content.strip() and not message.get("tool_calls"):
        return None
    return _with_ids(message)


def _answer(correction: Any) -> dict[str, Any]:
    if isinstance(correction, str):
        return read_role_answer({"content": correction})
    if not isinstance(correction, dict):
        raise Unreadable(Reason.UNKNOWN_MESSAGE)
    if is_langchain_message(correction):
        return read_answer(correction)
    if correction.keys() & {"role", "content", "tool_calls"}:
        return read_role_answer(correction)
    messages = correction.get("messages")
    if isinstance(messages, list) and messages:
        return _answer(messages[-1])
    found = next((value for key in _NAMES if (value := correction.get(key)) is not None), None)
    if found is None and len(correction) == 1:
        (found,) = correction.values()
    if isinstance(found, str):
        return read_role_answer({"content": found})
    if isinstance(found, dict) and (is_langchain_message(found) or found.keys() & {"content", "tool_calls"}):
        return _answer(found)
    raise Unreadable(Reason.UNKNOWN_MESSAGE)


def _with_ids(message: dict[str, Any]) -> dict[str, Any] | None:
    """Give each call an id: what a person writes has none. None where a call has no name either."""
    calls = message.get("tool_calls") or []
    if not all(call["function"]["name"] for call in calls):
        return None
    for number, call in enumerate(calls):
        if not call["id"]:
            # Derived, not drawn: the same correction has to give the same row every time.
            what = f"{number} {call['function']['name']} {call['function']['arguments']}"
            call["id"] = f"call_{uuid.uuid5(uuid.NAMESPACE_OID, what).hex[:24]}"
    return message
