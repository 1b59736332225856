"""The `ChatSession` view of recorded sessions, for code that expects a `BaseChatLoader`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from langchain_core.chat_sessions import ChatSession
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    InvalidToolCall,
    SystemMessage,
    ToolCall,
    ToolMessage,
)

from langchain_finetune._spool import read_jsonl

_KINDS: Final[dict[str, type[BaseMessage]]] = {
    "user": HumanMessage,
    "system": SystemMessage,
    "tool": ToolMessage,
    "function": FunctionMessage,
}
_FIELDS: Final = ("name", "tool_call_id")
_EXTRAS: Final = ("tool_calls", "function_call", "refusal")


class RecordedChatSession(ChatSession, total=False):
    """A `ChatSession` with the tool schemas of its call, for which LangChain's own has no place."""

    tools: list[dict[str, Any]]


def chat_sessions(path: Path) -> Iterator[RecordedChatSession]:
    """Yield the sessions of a file as messages, the answer last."""
    for row in read_jsonl(path):
        answer = row["correction"] or row["answer"]
        session = RecordedChatSession(messages=[_message(it) for it in (*row["messages"], answer)])
        if row["functions"]:
            session["functions"] = row["functions"]
        if row["tools"]:
            session["tools"] = row["tools"]
        yield session


def _message(message: dict[str, Any]) -> BaseMessage:
    role = message["role"]
    if role == "assistant":
        return _assistant(message)
    fields: dict[str, Any] = {key: message[key] for key in _FIELDS if key in message}
    fields["content"] = message["content"] or ""
    if kind := _KINDS.get(role):
        return kind(**fields)
    if role == "developer":
        return SystemMessage(**fields, additional_kwargs={"__openai_role__": role})
    return ChatMessage(**fields, role=role)


def _assistant(message: dict[str, Any]) -> AIMessage:
    calls: list[ToolCall] = []
    broken: list[InvalidToolCall] = []
    for call in message.get("tool_calls", ()):
        name, arguments, call_id = call["function"]["name"], call["function"]["arguments"], call["id"]
        try:
            calls.append(ToolCall(name=name, args=json.loads(arguments), id=call_id))
        except ValueError:
            broken.append(
                InvalidToolCall(type="invalid_tool_call", name=name, args=arguments, id=call_id, error=None)
            )
    return AIMessage(
        content=message["content"] or "",
        name=message.get("name"),
        tool_calls=calls,
        invalid_tool_calls=broken,
        additional_kwargs={key: message[key] for key in _EXTRAS if key in message},
    )
