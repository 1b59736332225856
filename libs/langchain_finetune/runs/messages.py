"""One LangChain message as an OpenAI chat message, read as plain data.

Messages are never revived with `langchain_core.load`: recorded text is untrusted, and what matters are the
class name and the keyword arguments. Keys always come in one order, and an assistant message that calls
something without saying anything has `"content": None`, as OpenAI's own answers do.
"""

from collections.abc import Mapping
from typing import Any, Final

from langchain_finetune.runs.answers import as_answer
from langchain_finetune.runs.content import Aside, Content, content_of, is_unrecorded, unescape
from langchain_finetune.runs.reasoning import REASONING, beside
from langchain_finetune.runs.rejections import Reason, Unreadable
from langchain_finetune.runs.tools import (
    ToolCall,
    arguments_text,
    call_of_block,
    function_call,
    openai_tool_call,
    parsed_call,
    tool_call,
)

Message = dict[str, Any]
Fields = Mapping[str, Any]

ROLES: Final = {
    "human": "user",
    "HumanMessage": "user",
    "HumanMessageChunk": "user",
    "ai": "assistant",
    "AIMessage": "assistant",
    "AIMessageChunk": "assistant",
    "system": "system",
    "SystemMessage": "system",
    "SystemMessageChunk": "system",
    "developer": "developer",
    "tool": "tool",
    "ToolMessage": "tool",
    "ToolMessageChunk": "tool",
    "function": "function",
    "FunctionMessage": "function",
    "FunctionMessageChunk": "function",
    "chat": "chat",
    "generic": "chat",
    "ChatMessage": "chat",
    "ChatMessageChunk": "chat",
}
"""OpenAI's role by the class or the `type` of a LangChain message; `chat` has its own."""

_SPEAKERS: Final = {kind: role for kind, role in ROLES.items() if role in ("user", "assistant", "system")}
_NOTHING_REFUSED: Final = {"refusal": None}
"""What langchain-openai puts into `additional_kwargs` of every answer."""


def read_message(element: Any) -> Message:
    """Read one message of a prompt."""
    return message_of(*recorded(element))


def read_plain(element: Any) -> Message | None:
    """Read a constructor of a message that is a text and nothing else, as most are; None for any other.

    It gives what `read_message` gives, without looking for what is not there: in half the time.
    """
    try:
        if element["type"] != "constructor" or "lc" not in element:
            return None
        role = _SPEAKERS[element["id"][-1]]
        fields = element["kwargs"]
        content = fields["content"]
    except (KeyError, IndexError, TypeError):
        return None
    extras = fields.get("additional_kwargs")
    is_plain = (
        type(content) is str
        and (not extras or extras == _NOTHING_REFUSED)
        and not (fields.get("tool_calls") or fields.get("invalid_tool_calls") or fields.get("name"))
    )
    return {"role": role, "content": content} if is_plain else None


def message_of(role: str, fields: Fields) -> Message:
    """Return the message of a role, `chat` for one with a role of its own, and of LangChain's fields."""
    extras = _extras(fields)
    if role == "assistant":
        return _assistant(fields, extras, _arguments_as_sent(fields))
    if role == "tool":
        return _tool(fields)
    if role == "chat":
        role = _required(fields, "role")
    elif role == "system" and isinstance(openai_role := extras.get("__openai_role__"), str):
        role = openai_role
    return _named(role, fields, extras)


def read_answer(element: Any) -> Message:
    """Read the message a model gave: its content as one text, its tool calls with their original text.

    Raises:
        Unreadable: It is no assistant message, is empty, or calls a tool with broken JSON.
    """
    plain = read_plain(element)
    if plain is not None and plain["role"] == "assistant" and plain["content"]:
        return plain
    role, fields = recorded(element)
    if role == "chat":
        role = _required(fields, "role")
    if role != "assistant":
        raise Unreadable(Reason.NO_ANSWER)
    if fields.get("invalid_tool_calls"):
        raise Unreadable(Reason.INVALID_TOOL_ARGUMENTS)
    extras = _extras(fields)
    raw = _arguments_as_written(fields, extras) if fields.get("tool_calls") else None
    message = _assistant(fields, extras, raw)
    if extras.get("audio") and not (message["content"] or "tool_calls" in message):
        raise Unreadable(Reason.UNSUPPORTED_CONTENT)
    return as_answer(message, refusal=extras.get("refusal"))


def is_langchain_message(element: Fields) -> bool:
    """Say whether an object is a LangChain message, in any way in which one is written down."""
    return "lc" in element or (isinstance(kind := element.get("type"), str) and kind in ROLES)


def recorded(element: Any) -> tuple[str, Fields]:
    """Tell the ways in which a LangChain message is written down apart: its role and its fields."""
    if not isinstance(element, dict):
        raise Unreadable(Reason.UNKNOWN_MESSAGE)
    kind, fields = element.get("type"), element
    if "lc" in element:
        if kind != "constructor":
            raise Unreadable(Reason.UNKNOWN_MESSAGE)
        path, fields = element.get("id"), element.get("kwargs", element)
        kind = path[-1] if isinstance(path, list) and path else None
    elif isinstance(element.get("data"), dict):
        fields = element["data"]
    role = ROLES.get(kind) if isinstance(kind, str) else None
    if role is None or not isinstance(fields, dict):
        raise Unreadable(Reason.UNKNOWN_MESSAGE)
    return role, fields


def _extras(fields: Fields) -> Fields:
    extras = fields.get("additional_kwargs")
    return extras if isinstance(extras, dict) else {}


def _required(fields: Fields, key: str) -> str:
    value = fields.get(key)
    if not isinstance(value, str):
        raise Unreadable(Reason.UNKNOWN_MESSAGE)
    return value


def _named(role: str, fields: Fields, extras: Fields, aside: Aside | None = None) -> Message:
    message: Message = {"role": role, "content": _content(fields, aside)}
    if aside is None and (fields.get("tool_calls") or extras.get("tool_calls")):
        raise Unreadable(Reason.UNKNOWN_MESSAGE)  # only a model calls
    name = fields.get("name") or extras.get("name")
    if name and isinstance(name, str):
        message["name"] = name
    return message


def _content(fields: Fields, aside: Aside | None = None) -> Content:
    content = fields.get("content")
    if isinstance(content, str):
        return content
    if content is None and aside is None and "content" not in fields:
        raise Unreadable(Reason.UNKNOWN_MESSAGE)
    return content_of(content, aside)


def _tool(fields: Fields) -> Message:
    return {
        "role": "tool",
        "content": _content(fields),
        "tool_call_id": _required(fields, "tool_call_id"),
    }


def _assistant(fields: Fields, extras: Fields, raw: Mapping[str, str] | None) -> Message:
    aside = Aside()
    message = _named("assistant", fields, extras, aside)
    if calls := _tool_calls(fields, extras, raw, aside):
        message["tool_calls"] = calls
        message["content"] = message["content"] or None
    elif call := extras.get("function_call"):
        message["function_call"] = function_call(call)
        message["content"] = message["content"] or None
    elif "content" not in fields:
        raise Unreadable(Reason.UNKNOWN_MESSAGE)
    if reasoning := "\n\n".join(aside.reasoning) or (beside(extras) if extras else ""):
        message[REASONING] = reasoning
    return message


def _tool_calls(
    fields: Fields, extras: Fields, raw: Mapping[str, str] | None, aside: Aside
) -> list[ToolCall]:
    # The parsed calls are what LangChain sends again; clients before core 0.1.33 recorded none.
    calls = [parsed_call(call, raw) for call in _list(fields, "tool_calls")]
    calls += [_invalid_call(call) for call in _list(fields, "invalid_tool_calls")]
    if calls:
        return calls
    if written := _list(extras, "tool_calls"):
        return [openai_tool_call(call) for call in written]
    return [call_of_block(block) for block in aside.calls]


def _list(fields: Fields, key: str) -> list[Any]:
    """Return the calls under a key; nothing is the same as none."""
    value = fields.get(key)
    if not value:
        return []
    if not isinstance(value, list):
        raise Unreadable(Reason.UNKNOWN_MESSAGE)
    return value


def _invalid_call(call: Any) -> ToolCall:
    if not isinstance(call, dict):
        raise Unreadable(Reason.UNKNOWN_MESSAGE)
    return tool_call(call.get("id"), call.get("name"), call.get("args"))


# --- arguments as text ----------------------------------------------------------------------------------


def _arguments_as_written(fields: Fields, extras: Fields) -> dict[str, str]:
    """Collect the argument texts as the model wrote them, by call id, where the recorder kept them."""
    raw: dict[str, str] = {}
    for call in _list(extras, "tool_calls"):
        if is_unrecorded(call):
            continue  # an object of another SDK: LangChain's own list has the call
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            _keep(raw, call.get("id"), function.get("arguments"))
    chunks = fields.get("tool_call_chunks")
    for chunk in chunks if isinstance(chunks, list) else ():
        if isinstance(chunk, dict):
            _keep(raw, chunk.get("id"), chunk.get("args"))
    for block in _blocks(fields):
        if block.get("type") == "function_call":
            _keep(raw, block.get("call_id"), block.get("arguments"))
    return raw


def _arguments_as_sent(fields: Fields) -> dict[str, str] | None:
    """Collect the texts that langchain-openai sends to the Responses API; to others it sends parsed calls.

    That API's own blocks are sent as they are, v1 blocks without spaces (`_convert_from_v1_to_responses`).
    """
    if not isinstance(fields.get("content"), list):
        return None
    raw: dict[str, str] = {}
    for block in _blocks(fields):
        kind = block.get("type")
        if kind == "function_call":
            _keep(raw, block.get("call_id"), block.get("arguments"))
        elif kind == "tool_call" and isinstance(extras := block.get("extras"), dict) and "item_id" in extras:
            _keep(raw, block.get("id"), arguments_text(unescape(block.get("args")), is_compact=True))
    return raw


def _blocks(fields: Fields) -> list[Fields]:
    content = fields.get("content")
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _keep(raw: dict[str, str], call_id: Any, arguments: Any) -> None:
    if isinstance(call_id, str) and isinstance(arguments, str):
        raw.setdefault(call_id, arguments)
