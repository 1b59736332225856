"""The old name, for code that comes from langchain-community."""

import json
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from langchain_core.chat_sessions import ChatSession

from langchain_finetune.runs import openai_messages

Message = dict[str, Any]


def convert_messages_for_finetuning(sessions: Iterable[ChatSession]) -> list[list[Message]]:
    """Convert chat sessions into lists of OpenAI messages, one list a session.

    Takes the place of the function of this name in `langchain_community.adapters.openai`, and keeps every
    field of a message: tool calls, names, ids, refusals. A developer's message is the system's, which hosts
    train on. Sessions without an assistant message are left out, as there. This shape has no place for tool
    schemas: `TrainingDataConverter` writes them.

    Args:
        sessions: Sessions as a chat loader gives them.

    Returns:
        One list of messages in OpenAI chat form for each session with an assistant message.

    Raises:
        TypeError: A message has no such form.
    """
    rows: list[list[Message]] = []
    num_with_tools = 0
    for number, session in enumerate(sessions, start=1):
        messages = _messages(session, number)
        if any(message["role"] == "assistant" for message in messages):
            rows.append(messages)
            num_with_tools += bool(session.get("functions") or session.get("tools"))
    if num_with_tools:
        warnings.warn(
            f"{num_with_tools} sessions carry tool schemas, which lists of messages have no place for: "
            "a model trained on them does not see its tools. Use TrainingDataConverter instead.",
            UserWarning,
            stacklevel=2,
        )
    return rows


def _messages(session: Mapping[str, Any], number: int) -> list[Message]:
    messages = openai_messages(session)
    if messages is None:
        msg = f"session {number} holds a message that has no OpenAI chat form: leave that session out."
        raise TypeError(msg)
    return [
        _restored(message, origin)
        for message, origin in zip(messages, session.get("messages") or (), strict=True)
    ]


def _restored(message: Message, origin: Any) -> Message:
    if message["role"] == "developer":
        return {**message, "role": "system"}
    return _as_written(message, origin) if message["role"] == "assistant" else message


def _as_written(message: Message, origin: Any) -> Message:
    """Give an assistant message back what LangChain keeps beside it: a refusal, the text of its calls.

    LangChain parses the arguments of calls, and writes them anew where it sends them; what stands there is
    the text that the model wrote, which is what the old function gave.
    """
    extras = getattr(origin, "additional_kwargs", None)
    if not isinstance(extras, dict) or not extras:
        return message
    if isinstance(refusal := extras.get("refusal"), str):
        message = {**message, "refusal": refusal}
    if not (calls := message.get("tool_calls")) or not isinstance(written := extras.get("tool_calls"), list):
        return message
    texts = {call["id"]: call["function"] for call in filter(_is_call, written)}
    return {**message, "tool_calls": [_with_text(call, texts.get(call["id"])) for call in calls]}


def _is_call(call: Any) -> bool:
    return (
        isinstance(call, dict) and isinstance(call.get("id"), str) and isinstance(call.get("function"), dict)
    )


def _with_text(call: Message, written: Mapping[str, Any] | None) -> Message:
    text = None if written is None else written.get("arguments")
    if not isinstance(text, str) or not _is_same(text, call["function"]["arguments"]):
        return call  # a person has changed the call, and left what stands beside it
    return {**call, "function": {**call["function"], "arguments": text}}


def _is_same(text: str, other: str) -> bool:
    try:
        return text == other or bool(json.loads(text) == json.loads(other))
    except (ValueError, RecursionError):
        return False
