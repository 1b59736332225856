"""Content blocks of LangChain messages, in OpenAI chat form.

Text, images, files and audio become the parts that LangChain itself sends to OpenAI. Blocks that repeat the
message's tool calls and blocks of hidden reasoning are no part of what OpenAI chat messages carry: they
are left out. A trace of a tool that ran at the model's host makes the run unreadable: it cannot be replayed.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from langchain_finetune.runs.rejections import Reason, Unreadable

Part = dict[str, Any]
Content = str | list[Part] | None

_LEFT_OUT: Final = frozenset(
    {
        "tool_call",
        "tool_call_chunk",
        "invalid_tool_call",
        "tool_use",
        "input_json_delta",
        "function_call",
        "thinking",
        "redacted_thinking",
        "reasoning",
        "reasoning_content",
    }
)
_AT_THE_HOST: Final = (
    "server_tool_",
    "mcp_",
    "web_search_",
    "file_search_",
    "computer_",
    "code_interpreter_",
    "image_generation_",
)
_MAX_DEPTH: Final = 100
_ESCAPED: Final = "__lc_escaped__"


def content_of(value: Any) -> str | list[Part]:
    """Return a message's content as text or as OpenAI parts; no content at all is an empty text."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if not isinstance(value, list):
        raise Unreadable(Reason.UNKNOWN_MESSAGE)
    return [part for block in value if (part := _part(unescape(block))) is not None]


def text_of(content: Content) -> Content:
    """Return parts that are all text as one text, as an answer's content always was."""
    if not isinstance(content, list):
        return content
    if all(part["type"] == "text" for part in content):
        return "".join(part["text"] for part in content)
    return content


def unescape(value: Any, depth: int = 0) -> Any:
    """Unwrap what langchain-core's `dumpd` wraps: user data with a key `lc`; the value itself otherwise."""
    if isinstance(value, dict):
        if len(value) == 1 and _ESCAPED in value:
            return value[_ESCAPED]
        children: Any = value.items()
    elif isinstance(value, list):
        children = enumerate(value)
    else:
        return value
    if depth > _MAX_DEPTH:
        raise Unreadable(Reason.TOO_DEEP)
    copy: Any = None
    for key, child in children:
        if isinstance(child, dict | list) and (plain := unescape(child, depth + 1)) is not child:
            copy = value.copy() if copy is None else copy
            copy[key] = plain
    return value if copy is None else copy


def _part(block: Any) -> Part | None:
    if isinstance(block, str):
        return {"type": "text", "text": block}
    kind = block.get("type") if isinstance(block, dict) else None
    if kind == "text" and isinstance(text := block.get("text"), str):
        return {"type": "text", "text": text}
    if not isinstance(kind, str):
        raise Unreadable(Reason.UNSUPPORTED_CONTENT)
    if kind in _LEFT_OUT:
        return None
    if kind.startswith(_AT_THE_HOST):
        raise Unreadable(Reason.BUILTIN_TOOL)
    reader = _READERS.get(kind)
    part = reader(block) if reader else None
    if part is None:
        raise Unreadable(Reason.UNSUPPORTED_CONTENT)
    return part


def _image_url(block: Mapping[str, Any]) -> Part | None:
    image = block.get("image_url")
    if isinstance(image, str):
        return {"type": "image_url", "image_url": {"url": image}}
    if isinstance(image, dict) and isinstance(image.get("url"), str):
        return {"type": "image_url", "image_url": image}
    return None


def _image(block: Mapping[str, Any]) -> Part | None:
    url = _data_url(block)
    return {"type": "image_url", "image_url": {"url": url}} if url is not None else None


def _data_url(block: Mapping[str, Any]) -> str | None:
    # v1 blocks (`base64`), v0 blocks (`source_type`, `data`), Anthropic's (`source`).
    source = block.get("source")
    origin = source if isinstance(source, dict) else block
    if isinstance(url := origin.get("url"), str):
        return url
    data = origin.get("base64") or origin.get("data")
    mime_type = origin.get("mime_type") or origin.get("media_type")
    if isinstance(data, str) and isinstance(mime_type, str):
        return f"data:{mime_type};base64,{data}"
    return None


def _audio(block: Mapping[str, Any]) -> Part | None:
    data = block.get("base64") or block.get("data")
    mime_type = block.get("mime_type")
    if not (isinstance(data, str) and isinstance(mime_type, str)):
        return None
    return {"type": "input_audio", "input_audio": {"data": data, "format": mime_type.rpartition("/")[2]}}


def _input_audio(block: Mapping[str, Any]) -> Part | None:
    audio = block.get("input_audio")
    return {"type": "input_audio", "input_audio": audio} if isinstance(audio, dict) else None


def _refusal(block: Mapping[str, Any]) -> Part | None:
    refusal = block.get("refusal")
    return {"type": "refusal", "refusal": refusal} if isinstance(refusal, str) else None


def _file(block: Mapping[str, Any]) -> Part | None:
    if isinstance(file := block.get("file"), dict):
        return {"type": "file", "file": file}
    if isinstance(file_id := block.get("file_id"), str):
        return {"type": "file", "file": {"file_id": file_id}}
    if (url := _data_url(block)) is None:
        return None
    name = block.get("filename")
    return {"type": "file", "file": {"file_data": url, **({"filename": name} if name else {})}}


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Part | None]]] = {
    "image_url": _image_url,
    "image": _image,
    "audio": _audio,
    "input_audio": _input_audio,
    "file": _file,
    "refusal": _refusal,
}
