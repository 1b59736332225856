"""One message in OpenAI chat form: the keys that mean something, in one order.

Keys that the client fills in beside the message (`annotations`, `parsed`, null fields) are left out; so is
the `index` of streamed tool calls.
"""

from collections.abc import Mapping
from typing import Any, Final

from langchain_finetune.runs.rejections import Reason, Unreadable
from langchain_finetune.runs.tools import function_call, openai_tool_call

Message = dict[str, Any]

_PARTS: Final = {"text": str, "refusal": str, "image_url": Mapping, "input_audio": Mapping, "file": Mapping}
"""The kinds of content parts, each with the type of what stands under its own name."""


def read_openai_message(message: Any) -> Message:
    """Read one message.

    Raises:
        Unreadable: It is no message of a kind that OpenAI's chat completions take.
    """
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise Unreadable(Reason.UNKNOWN_MESSAGE)
    read: Message = {"role": message["role"], "content": _content(message.get("content"))}
    if isinstance(name := message.get("name"), str):
        read["name"] = name
    if isinstance(call_id := message.get("tool_call_id"), str):
        read["tool_call_id"] = call_id
    if isinstance(calls := message.get("tool_calls"), list) and calls:
        read["tool_calls"] = [openai_tool_call(call) for call in calls]
    elif call := message.get("function_call"):
        read["function_call"] = function_call(call)
    if isinstance(refusal := message.get("refusal"), str) and refusal:
        read["refusal"] = refusal
    if "tool_calls" in read or "function_call" in read or "refusal" in read:
        read["content"] = read["content"] or None
    return read


def _content(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value or ""
    if not isinstance(value, list):
        raise Unreadable(Reason.UNKNOWN_MESSAGE)
    if not all(map(_is_part, value)):
        raise Unreadable(Reason.UNSUPPORTED_CONTENT)
    return value


def _is_part(part: Any) -> bool:
    kind = part.get("type") if isinstance(part, dict) else None
    payload = _PARTS.get(kind) if isinstance(kind, str) else None
    return payload is not None and isinstance(part.get(kind), payload)
