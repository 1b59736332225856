"""The old name, for code that comes from langchain-community."""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from langchain_core.chat_sessions import ChatSession

from langchain_finetune.runs import openai_messages


def convert_messages_for_finetuning(sessions: Iterable[ChatSession]) -> list[list[dict[str, Any]]]:
    """Convert chat sessions into lists of OpenAI messages, one list a session.

    Takes the place of the function of this name in `langchain_community.adapters.openai`, and keeps every
    field of a message: tool calls, names, ids. Sessions without an assistant message are left out, as
    there. This shape has no place for tool schemas: `TrainingDataConverter` writes them.

    Args:
        sessions: Sessions as a chat loader gives them.

    Returns:
        One list of messages in OpenAI chat form for each session with an assistant message.

    Raises:
        TypeError: A message has no such form.
    """
    rows: list[list[dict[str, Any]]] = []
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


def _messages(session: Mapping[str, Any], number: int) -> list[dict[str, Any]]:
    messages = openai_messages(session)
    if messages is None:
        msg = f"session {number} holds a message that has no OpenAI chat form: leave that session out."
        raise TypeError(msg)
    return messages
