"""Content of messages, in OpenAI chat form, from the blocks of every wire.

Text, images, files and audio become the parts that OpenAI's chat completions take. Reasoning and tool calls
that stand between them are handed aside. A trace of a tool that ran at the model's host makes the run
unreadable: it cannot be replayed.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from langchain_finetune.runs.bounds import MAX_DEPTH
from langchain_finetune.runs.reasoning import KINDS, reasoning_text
from langchain_finetune.runs.rejections import Reason, Unreadable

Part = dict[str, Any]
Content = str | list[Part] | None
Block = Mapping[str, Any]

_CALLS: Final = frozenset(
    {
        "tool_call",
        "tool_call_chunk",
        "invalid_tool_call",
        "tool_use",
        "input_json_delta",
        "function_call",
    }
)
_AT_THE_HOST: Final = (
    "server_tool_",
    "mcp_",
    "web_search_",
    "web_fetch_",
    "file_search_",
    "computer_",
    "code_interpreter_",
    "code_execution_",
    "executable_code",
    "image_generation_",
    "local_shell_",
    "shell_call",
    "apply_patch_",
    "tool_search_",
    "custom_tool_",
)
_ESCAPED: Final = "__lc_escaped__"
_UNRECORDED: Final = ("secret", "not_implemented")


class Aside:
    """What stands in an assistant's content and is no part of it."""

    __slots__ = ("calls", "reasoning")

    def __init__(self) -> None:
        self.calls: list[Block] = []
        self.reasoning: list[str] = []


def content_of(value: Any, aside: Aside | None = None) -> str | list[Part]:
    """Return a message's content as text or as OpenAI parts; no content at all is an empty text.

    Args:
        value: The content as it was recorded.
        aside: Takes the tool calls and the reasoning among the blocks.

    Raises:
        Unreadable: A block has no such form.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if not isinstance(value, list):
        raise Unreadable(Reason.UNKNOWN_MESSAGE)
    return [part for block in value if (part := _part(unescape(block), aside)) is not None]


def text_of(content: Content) -> Content:
    """Return parts that are all text as one text, as an answer's content always was."""
    if not isinstance(content, list):
        return content
    if all(part["type"] == "text" for part in content):
        return "".join(part["text"] for part in content)
    return content


def unescape(value: Any, depth: int = 0) -> Any:
    """Unwrap what langchain-core's `dumpd` wraps: user data with a key `lc`; the value itself otherwise.

    Raises:
        Unreadable: It is nested too deeply, or a value in it was not written down but only named.
    """
    if isinstance(value, dict):
        if len(value) == 1 and _ESCAPED in value:
            return value[_ESCAPED]
        if is_unrecorded(value):
            raise Unreadable(Reason.INVALID_TOOL_ARGUMENTS)
        children: Any = value.items()
    elif isinstance(value, list):
        children = enumerate(value)
    else:
        return value
    if depth > MAX_DEPTH:
        raise Unreadable(Reason.TOO_DEEP)
    copy: Any = None
    for key, child in children:
        if isinstance(child, dict | list) and (plain := unescape(child, depth + 1)) is not child:
            copy = value.copy() if copy is None else copy
            copy[key] = plain
    return value if copy is None else copy


def is_unrecorded(value: Any) -> bool:
    """Say whether `dumpd` wrote only a name: of a secret, or of an object without a JSON form."""
    return isinstance(value, dict) and "lc" in value and value.get("type") in _UNRECORDED


def _part(block: Any, aside: Aside | None) -> Part | None:
    if isinstance(block, str):
        return {"type": "text", "text": block}
    kind = block.get("type") if isinstance(block, dict) else None
    if kind in ("text", "input_text", "output_text") and isinstance(text := block.get("text"), str):
        return {"type": "text", "text": text}
    if not isinstance(kind, str):
        raise Unreadable(Reason.UNSUPPORTED_CONTENT)
    if kind in KINDS or kind in _CALLS:
        if aside is None:  # only a model reasons and calls
            raise Unreadable(Reason.UNSUPPORTED_CONTENT)
        _put_aside(kind, block, aside)
        return None
    if kind.startswith(_AT_THE_HOST):
        raise Unreadable(Reason.BUILTIN_TOOL)
    reader = _READERS.get(kind)
    part = reader(block) if reader else None
    if part is None:
        raise Unreadable(Reason.UNSUPPORTED_CONTENT)
    return part


def _put_aside(kind: str, block: Block, aside: Aside) -> None:
    if kind in _CALLS:
        aside.calls.append(block)
    elif text := reasoning_text(block):
        aside.reasoning.append(text)


def _image_url(block: Block) -> Part | None:
    image = block.get("image_url")
    if isinstance(image, str):
        return {"type": "image_url", "image_url": {"url": image}}
    if isinstance(image, dict) and isinstance(image.get("url"), str):
        return {"type": "image_url", "image_url": image}
    return None


def _image(block: Block) -> Part | None:
    url = _data_url(block)
    return {"type": "image_url", "image_url": {"url": url}} if url is not None else None


def _input_image(block: Block) -> Part | None:
    # The Responses API's form: the URL is bare, the detail stands beside it.
    url, detail = block.get("image_url"), block.get("detail")
    if not isinstance(url, str):
        return None
    return {
        "type": "image_url",
        "image_url": {"url": url, **({"detail": detail} if isinstance(detail, str) else {})},
    }


def _data_url(block: Block) -> str | None:
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


def _media(block: Block) -> Part | None:
    # Gemini's form of an image.
    mime_type = block.get("mime_type")
    return _image(block) if isinstance(mime_type, str) and mime_type.startswith("image/") else None


def _audio(block: Block) -> Part | None:
    data = block.get("base64") or block.get("data")
    mime_type = block.get("mime_type")
    if not (isinstance(data, str) and isinstance(mime_type, str)):
        return None
    return {"type": "input_audio", "input_audio": {"data": data, "format": mime_type.rpartition("/")[2]}}


def _input_audio(block: Block) -> Part | None:
    audio = block.get("input_audio")
    return {"type": "input_audio", "input_audio": audio} if isinstance(audio, dict) else None


def _refusal(block: Block) -> Part | None:
    refusal = block.get("refusal")
    return {"type": "refusal", "refusal": refusal} if isinstance(refusal, str) else None


def _file(block: Block) -> Part | None:
    if isinstance(file := block.get("file"), dict):
        return {"type": "file", "file": file}
    if isinstance(file_id := block.get("file_id"), str):
        return {"type": "file", "file": {"file_id": file_id}}
    url = block.get("file_data") or _data_url(block)
    if not isinstance(url, str):
        return None
    name = block.get("filename")
    return {"type": "file", "file": {"file_data": url, **({"filename": name} if name else {})}}


def _document(block: Block) -> Part | None:
    # Anthropic's form of a file, or of a text that is quoted.
    source = block.get("source")
    if not isinstance(source, dict):
        return None
    if source.get("type") == "text" and isinstance(text := source.get("data"), str):
        return {"type": "text", "text": text}
    return _file({"filename": block.get("title"), "source": source, "file_id": source.get("file_id")})


def _non_standard(block: Block) -> Part | None:
    # LangChain's v1 wrapper around a block that it has no kind for.
    value = block.get("value")
    is_wrapped_twice = isinstance(value, dict) and value.get("type") == "non_standard"
    return None if is_wrapped_twice else _part(value, None)


_READERS: Final[Mapping[str, Callable[[Block], Part | None]]] = {
    "image_url": _image_url,
    "image": _image,
    "input_image": _input_image,
    "media": _media,
    "audio": _audio,
    "input_audio": _input_audio,
    "file": _file,
    "input_file": _file,
    "document": _document,
    "refusal": _refusal,
    "non_standard": _non_standard,
}
