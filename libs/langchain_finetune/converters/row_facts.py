"""What the steps ask of a row, found in one look: its bytes, and hashes of what it holds.

Recorded runs repeat each other: a system prompt and its tools stand in every run of an application, and each
call of an agent repeats the messages of the call before. So a row is looked at part by part, and what was
found of a part is kept for the next row that has it.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from langchain_finetune._parsing import loads

DIGEST_SIZE: Final = 16

SLOT: Final = b"\x1e"
"""Stands in a line where an assistant message may get its weight; JSON holds no such byte."""

_MAX_KEPT_BYTES: Final = 1 << 24
"""Of parts that are kept; then all of them are forgotten, and what still repeats is soon there again."""
_MAX_PART_BYTES: Final = 1 << 16

Row = Mapping[str, Any]


class RowFacts(NamedTuple):
    """What was found of a row."""

    line: bytes
    """The row as JSON, a `SLOT` in each assistant message; none where the row has weights of its own,
    as datasets and chats do: it says itself what is trained on."""
    prompt: bytes
    """Digest of the messages that are asked, whatever the order of their keys."""
    content: bytes
    """Digest of the whole row, whatever the order of its keys."""
    schemas: bytes
    """Digest of all that stands beside the messages."""
    answer: bytes
    """Digest of what is answered, in a form that applications do not change when they send it back."""
    ends: Sequence[bytes]
    """Digest of the row up to each of its assistant messages: equal in rows that begin alike."""
    is_suspect: bool
    """Whether some part may hold what the row has to be searched for."""


class _Part(NamedTuple):
    written: bytes
    slotted: bytes
    sorted: bytes
    link: bytes
    is_suspect: bool


class Looker:
    """Looks at rows, and remembers their parts.

    Args:
        is_suspect: Says of the JSON of a part whether the whole row has to be searched; False is certain.
    """

    def __init__(self, is_suspect: Callable[[bytes], bool]) -> None:
        self._is_suspect = is_suspect
        self._parts: dict[bytes, _Part] = {}
        self._num_kept_bytes = 0

    def look(self, row: Row, scope: str) -> RowFacts:
        """Return the facts of a row.

        Args:
            row: A row of any method.
            scope: Rows of different scopes do not begin alike: a thread's id, or nothing.

        Raises:
            TypeError: The row holds a value that JSON does not have.
        """
        return self._chat(row, scope) if "messages" in row else self._other(row)

    def _chat(self, row: Row, scope: str) -> RowFacts:
        parts = [self._part(message, self._message) for message in row["messages"]]
        beside = [(key, self._part(value, self._value)) for key, value in row.items() if key != "messages"]
        is_weighted = any("weight" in message for message in row["messages"])
        shown = [part.written for part in parts] if is_weighted else [part.slotted for part in parts]
        line = b'{"messages":[' + b",".join(shown) + b"]"
        for key, part in beside:
            line += b',"' + key.encode() + b'":' + part.written
        schemas = _digest(b",".join([key.encode() + part.link for key, part in beside]))
        asked = parts[:-1] if row["messages"][-1]["role"] == "assistant" else parts
        prompt = _digest(b"[" + b",".join([part.sorted for part in asked]) + b"]")
        return RowFacts(
            line + b"}",
            prompt,
            _digest(prompt + parts[-1].sorted + schemas),
            schemas,
            parts[-1].link,
            _ends(row["messages"], parts, scope.encode(errors="replace") + schemas),
            any(part.is_suspect for part in parts) or any(part.is_suspect for _, part in beside),
        )

    def _other(self, row: Row) -> RowFacts:
        part = self._value(orjson.dumps(row), row)
        asked, answered = row["input"], row["preferred_output"]
        schemas = _digest(_sorted({key: value for key, value in asked.items() if key != "messages"}))
        prompt = _digest(_sorted(asked["messages"]))
        content, answer = _digest(part.sorted), _digest(_sorted(answered))
        return RowFacts(part.written, prompt, content, schemas, answer, (), part.is_suspect)

    def _part(self, value: Any, look: Callable[[bytes, Any], _Part]) -> _Part:
        written = orjson.dumps(value)
        part = self._parts.get(written)
        if part is None:
            part = look(written, value)
            if len(written) <= _MAX_PART_BYTES:
                if self._num_kept_bytes > _MAX_KEPT_BYTES:
                    self._parts.clear()
                    self._num_kept_bytes = 0
                self._parts[written] = part
                self._num_kept_bytes += 2 * len(written)
        return part

    def _message(self, written: bytes, message: Any) -> _Part:
        ordered = _sorted(message)
        slotted, compared = written, ordered
        if message["role"] == "assistant":
            slotted, compared = written[:-1] + SLOT + b"}", _sorted(_canonical(message))
        return _Part(written, slotted, ordered, _digest(compared), self._is_suspect(written))

    def _value(self, written: bytes, value: Any) -> _Part:
        ordered = _sorted(value)
        return _Part(written, written, ordered, _digest(ordered), self._is_suspect(written))


def _ends(messages: Sequence[Mapping[str, Any]], parts: Sequence[_Part], beginning: bytes) -> list[bytes]:
    hashed = hashlib.blake2b(beginning, digest_size=DIGEST_SIZE)
    ends = []
    for message, part in zip(messages, parts, strict=True):
        hashed.update(part.link)
        if message["role"] == "assistant":
            ends.append(hashed.digest())
    return ends


def _canonical(answer: Mapping[str, Any]) -> Any:
    """Return an answer in one form: an application sends it back without nulls, its arguments rewritten."""
    content = answer.get("content") or ""
    if isinstance(content, list) and len(content) == 1 and content[0]["type"] == "text":
        content = content[0]["text"]
    calls = [
        (call["id"], call["function"]["name"], _arguments(call["function"]["arguments"]))
        for call in answer.get("tool_calls") or ()
    ]
    function = answer.get("function_call")
    return content, calls, function and (function["name"], _arguments(function["arguments"]))


def _arguments(text: str) -> Any:
    try:
        return loads(text)
    except (ValueError, RecursionError):
        return text


def _sorted(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _digest(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=DIGEST_SIZE).digest()
