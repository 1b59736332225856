"""LangChain `ChatSession`s: what any `BaseChatLoader` yields, as OpenAI messages and as recorded sessions."""

from collections.abc import Mapping
from typing import Any

from langchain_finetune.handles import RecordedSession
from langchain_finetune.runs.bounds import refuse_large
from langchain_finetune.runs.messages import Message, read_answer, read_message
from langchain_finetune.runs.reasoning import REASONING, take_reasoning
from langchain_finetune.runs.rejections import Reason, Rejection, Unreadable
from langchain_finetune.runs.tools import schemas_of


def openai_messages(session: Mapping[str, Any]) -> list[Message] | None:
    """Return all messages of a session in OpenAI chat form; None where one has no such form."""
    try:
        messages = [read_message(_plain(message)) for message in session.get("messages") or ()]
    except (Unreadable, RecursionError):
        return None
    for message in messages:
        message.pop(REASONING, None)
    return messages


def read_chat_session(session: Mapping[str, Any], session_id: str) -> RecordedSession | Rejection:
    """Read a session whose last message is the model's answer; never raises."""
    try:
        return _read(session, session_id)
    except Unreadable as e:
        return Rejection(session_id, e.reason)
    except RecursionError:
        return Rejection(session_id, Reason.TOO_DEEP)


def _read(session: Mapping[str, Any], session_id: str) -> RecordedSession:
    messages = [_plain(message) for message in session.get("messages") or ()]
    if not messages:
        raise Unreadable(Reason.NO_ANSWER)
    answer = read_answer(messages.pop())
    if not messages:
        raise Unreadable(Reason.HIDDEN_INPUTS)
    prompt = [read_message(message) for message in messages]
    reasoning = take_reasoning(prompt, answer)
    refuse_large([*prompt, answer])
    return RecordedSession(
        run_id=session_id,
        messages=prompt,
        answer=answer,
        reasoning=reasoning,
        **schemas_of(session),
    )


def _plain(message: Any) -> Any:
    # A message object's own fields are the keyword arguments that a tracer would have written down.
    return message if isinstance(message, dict) else getattr(message, "__dict__", None)
