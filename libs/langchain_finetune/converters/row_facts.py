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

_ASKED: Final = ("messages", "tools", "functions", "parallel_tool_calls")
"""What the model is given; all else in a row is what it should answer."""

_MAX_KEPT_BYTES: Final = 1 << 22
"""Of parts that are kept; then all of them are forgotten, and what still repeats is soon there again."""
_LONG: Final = 512
"""From here on a link is hashed by itself, once: it may be a system prompt."""
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
    """What stands beside the messages, in a form to compare."""
    answer: bytes
    """What is answered, in a form that applications do not change when they send it back."""
    ends: Sequence[bytes]
    """Digest of the row up to each of its assistant messages: equal in rows that begin alike."""
    is_suspect: bool
    """Whether some part may hold what the row has to be searched for."""


class _Part(NamedTuple):
    """A message, or what stands beside the messages."""

    slotted: bytes
    sorted: bytes
    link: bytes
    """What histories are compared by."""
    ends: bool
    """Whether it is an answer."""
    is_suspect: bool
    is_weighted: bool = False


_NOTHING: Final = _Part(b"}", b"", b"", ends=False, is_suspect=False)
"""Beside the messages of a row that has no tools."""


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
        if "input" in row:
            asked = row["input"]
            return self._other(row, asked, {key: row[key] for key in row if key != "input"})
        if row["messages"][-1]["role"] == "assistant":
            return self._chat(row, scope)
        return self._other(row, row, {key: row[key] for key in row if key not in _ASKED})

    def _chat(self, row: Row, scope: str) -> RowFacts:
        # Once a row: written out in one piece, as each call costs as much as what it would do.
        known, parts = self._parts.get, []
        is_suspect = is_weighted = False
        for message in row["messages"]:
            written = orjson.dumps(message)
            parts.append(part := known(written) or self._message(written, message))
            is_suspect |= part.is_suspect
            is_weighted |= part.is_weighted
        beside = self._beside(row)
        hashed = hashlib.blake2b(beside.link + scope.encode(errors="replace"), digest_size=DIGEST_SIZE)
        ends = []
        for part in parts:
            hashed.update(part.link)
            if part.ends:
                ends.append(hashed.digest())
        line = b'{"messages":[%b]%b' % (b",".join([part.slotted for part in parts]), beside.slotted)
        answer = parts.pop()
        prompt = _digest(b"[%b]" % b",".join([part.sorted for part in parts]))
        return RowFacts(
            line.replace(SLOT, b"") if is_weighted else line,
            prompt,
            _digest(prompt + beside.link + answer.sorted),
            beside.link,
            answer.link,
            ends,
            is_suspect or beside.is_suspect,
        )

    def _beside(self, row: Row) -> _Part:
        if len(row) == 1:
            return _NOTHING
        beside = {key: value for key, value in row.items() if key != "messages"}
        written = orjson.dumps(beside)
        if part := self._parts.get(written):
            return part
        ordered = _sorted(beside)
        part = _Part(
            b"," + written[1:], ordered, _digest(ordered), ends=False, is_suspect=self._is_suspect(written)
        )
        return self._remember(written, part)

    def _other(self, row: Row, asked: Row, answered: Row) -> RowFacts:
        """Look at a row whose messages do not end with the answer."""
        written = orjson.dumps(row)
        schemas = {key: asked[key] for key in _ASKED if key in asked and key != "messages"}
        return RowFacts(
            line=written,
            prompt=_digest(_sorted(asked["messages"])),
            content=_digest(_sorted(row)),
            schemas=_sorted(schemas),
            answer=_sorted(answered),
            ends=(),
            is_suspect=self._is_suspect(written),
        )

    def _message(self, written: bytes, message: Any) -> _Part:
        written = _compact(written)
        is_answer = message["role"] == "assistant"
        link = _sorted(_canonical(message)) if is_answer else written
        part = _Part(
            slotted=written[:-1] + SLOT + b"}" if is_answer else written,
            sorted=_compact(_sorted(message)),
            link=link if len(link) < _LONG else _digest(link),
            ends=is_answer,
            is_suspect=self._is_suspect(written),
            is_weighted="weight" in message,
        )
        return self._remember(written, part)

    def _remember(self, written: bytes, part: _Part) -> _Part:
        if len(written) <= _MAX_PART_BYTES:
            if self._num_kept_bytes > _MAX_KEPT_BYTES:
                self._parts.clear()
                self._num_kept_bytes = 0
            self._parts[written] = part
            self._num_kept_bytes += 3 * len(written)
        return part


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


def _compact(text: bytes) -> bytes:
    # What orjson returns lies in some four kilobytes, however short it is: too much to be kept.
    return memoryview(text).tobytes()


def _sorted(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _digest(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=DIGEST_SIZE).digest()
