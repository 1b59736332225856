"""One LangChain message as an OpenAI chat message, read as plain data.

Messages are never revived with `langchain_core.load`: recorded text is untrusted, and what matters are the
class name and the keyword arguments. Keys always come in one order, and an assistant message that calls
something without saying anything has `"content": None`, as OpenAI's own answers do.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from langchain_finetune.runs.content import content_of, text_of, unescape
from langchain_finetune.runs.openai_messages import read_openai_message
from langchain_finetune.runs.rejections import Reason, Unreadable
from langchain_finetune.runs.tools import (
    ToolCall,
    answered,
    arguments_text,
    function_call,
    openai_tool_call,
    tool_call,
)

Message = dict[str, Any]

_ROLES: Final = {
    "human": "user",
    "HumanMessage": "user",
    "HumanMessageChunk": "user",
    "ai": "assistant",
    "AIMessage": "assistant",
    "AIMessageChunk": "assistant",
    "system": "system",
    "SystemMessage": "system",
    "SystemMessageChunk": "system",
    "tool": "tool",
    "ToolMessage": "tool",
    "ToolMessageChunk": "tool",
    "function": "function",
    "FunctionMessage": "function",
    "FunctionMessageChunk": "function",
    "chat": "chat",
    "ChatMessage": "chat",
    "ChatMessageChunk": "chat",
}


class _Recorded(NamedTuple):
    role: str
    fields: Mapping[str, Any]


def read_message(element: Any) -> Message:
    """Read one message of a prompt."""
    if isinstance(element, dict) and isinstance(element.get("role"), str) and "type" not in element:
        return read_openai_message(element)
    role, fields = _recorded(element)
    match role:
        case "assistant":
            return _assistant(fields)
        case "tool":
            return _tool(fields)
        case "chat":
            return _named(_required(fields, "role"), fields)
        case "system":
            openai_role = _extras(fields).get("__openai_role__")
            return _named(openai_role if isinstance(openai_role, str) else role, fields)
    return _named(role, fields)


def read_answer(element: Any) -> Message:
    """Read the message a model gave: its content as one text, its tool calls with their original text.

    Raises:
        Unreadable: It is no assistant message, is empty, or calls a tool with broken JSON.
    """
    role, fields = _recorded(element)
    if role != "assistant":
        raise Unreadable(Reason.NO_ANSWER)
    if fields.get("invalid_tool_calls"):
        raise Unreadable(Reason.INVALID_TOOL_ARGUMENTS)
    message = _assistant(fields, raw=_raw_arguments(fields))
    message["content"] = text_of(message["content"])
    _take_refusal(message, fields)
    for call in message.get("tool_calls", ()):
        answered(call)
    if call := message.get("function_call"):
        answered(call)
    if not message["content"] and not _calls(message):
        if _extras(fields).get("audio"):
            raise Unreadable(Reason.UNSUPPORTED_CONTENT)
        if not message.get("refusal"):
            raise Unreadable(Reason.EMPTY_ANSWER)
    return message


def _calls(message: Message) -> bool:
    return "tool_calls" in message or "function_call" in message


def _recorded(element: Any) -> _Recorded:
    """Tell the ways in which a LangChain message is written down apart."""
    if not isinstance(element, dict):
        raise Unreadable(Reason.UNKNOWN_MESSAGE)
    kind, fields = element.get("type"), element
    if kind == "constructor" and "lc" in element:
        path, fields = element.get("id"), element.get("kwargs", element)
        kind = path[-1] if isinstance(path, list) and path else None
    elif isinstance(element.get("data"), dict):
        fields = element["data"]
    role = _ROLES.get(kind) if isinstance(kind, str) else None
    if role is None or not isinstance(fields, dict):
        raise Unreadable(Reason.UNKNOWN_MESSAGE)
    return _Recorded(role, fields)


def _extras(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    extras = fields.get("additional_kwargs")
    return extras if isinstance(extras, dict) else {}


def _required(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    if not isinstance(value, str):
        raise Unreadable(Reason.UNKNOWN_MESSAGE)
    return value


def _named(role: str, fields: Mapping[str, Any]) -> Message:
    message: Message = {"role": role, "content": content_of(fields.get("content"))}
    name = fields.get("name") or _extras(fields).get("name")
    if isinstance(name, str):
        message["name"] = name
    return message


def _tool(fields: Mapping[str, Any]) -> Message:
    return {
        "role": "tool",
        "content": content_of(fields.get("content")),
        "tool_call_id": _required(fields, "tool_call_id"),
    }


def _assistant(fields: Mapping[str, Any], raw: Mapping[str, str] | None = None) -> Message:
    message = _named("assistant", fields)
    if calls := _tool_calls(fields, raw or {}):
        message["tool_calls"] = calls
    elif call := _extras(fields).get("function_call"):
        message["function_call"] = function_call(call)
    if _calls(message):
        message["content"] = message["content"] or None
    return message


def _tool_calls(fields: Mapping[str, Any], raw: Mapping[str, str]) -> list[ToolCall]:
    # The parsed calls are what LangChain sends again; clients before core 0.1.33 recorded none.
    parsed = [_parsed_call(call, raw) for call in _list(fields.get("tool_calls"))]
    parsed += [_invalid_call(call) for call in _list(fields.get("invalid_tool_calls"))]
    return parsed or [openai_tool_call(call) for call in _list(_extras(fields).get("tool_calls"))]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _parsed_call(call: Any, raw: Mapping[str, str]) -> ToolCall:
    if not isinstance(call, dict):
        raise Unreadable(Reason.UNKNOWN_MESSAGE)
    call_id = call.get("id")
    text = raw.get(call_id) if isinstance(call_id, str) else None
    return tool_call(call_id, call.get("name"), text or arguments_text(unescape(call.get("args"))))


def _invalid_call(call: Any) -> ToolCall:
    if not isinstance(call, dict):
        raise Unreadable(Reason.UNKNOWN_MESSAGE)
    return tool_call(call.get("id"), call.get("name"), call.get("args"))


def _raw_arguments(fields: Mapping[str, Any]) -> dict[str, str]:
    """Collect the argument texts as the model wrote them, by call id, where the recorder kept them."""
    raw: dict[str, str] = {}
    for call in _list(_extras(fields).get("tool_calls")):
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            _keep(raw, call.get("id"), function.get("arguments"))
    for chunk in _list(fields.get("tool_call_chunks")):
        if isinstance(chunk, dict):
            _keep(raw, chunk.get("id"), chunk.get("args"))
    for block in _list(fields.get("content")):
        if isinstance(block, dict) and block.get("type") == "function_call":
            _keep(raw, block.get("call_id"), block.get("arguments"))
    return raw


def _keep(raw: dict[str, str], call_id: Any, arguments: Any) -> None:
    if isinstance(call_id, str) and isinstance(arguments, str):
        raw.setdefault(call_id, arguments)


def _take_refusal(message: Message, fields: Mapping[str, Any]) -> None:
    refusal = _extras(fields).get("refusal")
    content = message["content"]
    if isinstance(content, list) and all(part["type"] == "refusal" for part in content):
        refusal = "".join(part["refusal"] for part in content)
        message["content"] = None
    if isinstance(refusal, str) and refusal:
        message["content"] = message["content"] or None
        message["refusal"] = refusal
