"""What the model wrote, taken apart again: text and tool calls.

One parser for whole answers and for streams: a whole answer is a stream of one piece, so both always agree.
A call appears when its last character is there. What looks like a call and is none stays text, to the letter.
"""

import json
import re
import secrets
import string
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from finetune_server.rendering.messages import is_encodable

OPENING = "<tool_call>"
CLOSING = "</tool_call>"

_ALPHABET = string.ascii_letters + string.digits
_TAG = re.compile(f"{OPENING}|{CLOSING}")
_STRUCTURE = re.compile(rf'\\.|["{{}}\[\]]|{CLOSING}', re.DOTALL)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call as the model made it."""

    name: str
    arguments: str
    """JSON, to the letter as the model wrote it."""


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """An answer taken apart."""

    content: str | None
    calls: tuple[ToolCall, ...]


def new_call_id() -> str:
    """A fresh id for a call, such as `call_` and 24 letters and digits."""
    return "call_" + "".join(secrets.choice(_ALPHABET) for _ in range(24))


def parse_answer(text: str) -> ParsedAnswer:
    """Take a complete answer apart."""
    parser = ToolCallParser()
    pieces = [*parser.feed(text), *parser.finish()]
    content = "".join(piece for piece in pieces if isinstance(piece, str))
    return ParsedAnswer(content or None, tuple(piece for piece in pieces if isinstance(piece, ToolCall)))


class ToolCallParser:
    """Takes an answer apart while it is written: `feed` it piece by piece, then `finish` it.

    White space before a call at the start, between calls and after the last one is layout and left out.
    """

    def __init__(self) -> None:
        self._pending = ""
        self._end = _ObjectEnd()
        self._num_calls = 0
        self._is_after_layout = True

    def feed(self, text: str) -> Iterator[str | ToolCall]:
        """Take the next piece, and give the text and the calls that are certain by now."""
        self._pending += text
        yield from self._drain(is_finished=False)

    def finish(self) -> Iterator[str | ToolCall]:
        """Say that nothing follows, and give what was held back."""
        yield from self._drain(is_finished=True)
        if not (self._num_calls and self._is_after_layout and not self._pending.strip()):
            yield from self._text(len(self._pending))

    def _drain(self, *, is_finished: bool) -> Iterator[str | ToolCall]:
        while (start := self._pending.find(OPENING)) >= 0:
            layout = self._layout_before(start)
            yield from self._text(layout)
            start -= layout
            end, call = self._call(start, is_finished=is_finished)
            if end is None:
                return
            self._end = _ObjectEnd()
            if call is None:
                yield from self._text(end)
            else:
                self._pending = self._pending[end:]
                self._num_calls += 1
                self._is_after_layout = True
                yield call
        yield from self._text(len(self._pending) - self._num_undecided())

    def _layout_before(self, start: int) -> int:
        """Where the layout before a call begins: a line break, or all white space before any text."""
        before = self._pending[:start]
        if self._is_after_layout and not before.strip():
            return 0
        return start - before.endswith("\n")

    def _num_undecided(self) -> int:
        """How many characters at the end may yet turn out to be the layout before a call, or a call's tag."""
        text = self._pending
        if self._is_after_layout and not text.strip():
            return len(text)
        num = max((n for n in range(1, len(OPENING)) if text.endswith(OPENING[:n])), default=0)
        rest = text[: len(text) - num]
        if self._is_after_layout and not rest.strip():
            return len(text)
        return num + rest.endswith("\n")

    def _text(self, length: int) -> Iterator[str]:
        if length > 0:
            text, self._pending = self._pending[:length], self._pending[length:]
            self._is_after_layout = False
            yield text

    def _call(self, start: int, *, is_finished: bool) -> tuple[int | None, ToolCall | None]:
        """Return where the call that is pending ends, and the call; no end while more must come."""
        body = start + len(OPENING)
        end = self._end.find(self._pending, body)
        if end is None:
            return (self._end_of_broken(body, len(self._pending)) if is_finished else None), None
        call = _read_call(self._pending[body:end])
        if call is None:
            return self._end_of_broken(body, end), None
        rest = self._pending[end:].lstrip()
        if rest.startswith(CLOSING):
            return len(self._pending) - len(rest) + len(CLOSING), call
        if CLOSING.startswith(rest):
            # Without its tag, or cut off in it by the end of the answer, the call itself is whole.
            return (len(self._pending), call) if is_finished else (None, None)
        return end, call

    def _end_of_broken(self, body: int, end: int) -> int:
        """Where the text ends that is no call, so that a call behind it is still found."""
        found = _TAG.search(self._pending, body, end)
        if found is None:
            return end
        return found.end() if found.group() == CLOSING else found.start()


class _ObjectEnd:
    """Finds the end of a JSON object, over as many pieces as it takes, reading each character once."""

    def __init__(self) -> None:
        self._end: int | None = None
        self._place: int | None = None
        self._depth = 0
        self._is_in_string = False

    def find(self, text: str, body: int) -> int | None:
        """Return where the object ends that starts in `text` behind `body`, as far as `text` goes by now."""
        if self._place is None:
            self._place = _skip(text, body)
            if self._place == len(text):
                self._place = None
                return None
            if text[self._place] != "{":
                self._end = body
        while self._end is None and (found := _STRUCTURE.search(text, self._place)):
            self._place = found.end()
            self._read(found.group())
        return self._end

    def _read(self, mark: str) -> None:
        if mark == '"':
            self._is_in_string = not self._is_in_string
        elif not self._is_in_string and mark in ("{", "["):
            self._depth += 1
        elif not self._is_in_string and mark in ("}", "]", CLOSING):
            self._depth -= 1
            if self._depth == 0 or mark == CLOSING:
                self._end = self._place


def _read_call(text: str) -> ToolCall | None:
    try:
        members = _members(text.strip())
        name, arguments = members["name"][0], members.get("arguments", ({}, "{}"))
    except (ValueError, KeyError, IndexError, RecursionError):
        return None
    written = arguments[0] if isinstance(arguments[0], str) else arguments[1]
    if not isinstance(name, str) or not is_encodable(name + written):
        return None
    return ToolCall(name, written)


def _refuse_constant(name: str) -> Any:
    msg = f"{name} is no JSON"
    raise ValueError(msg)


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
_SPACE = re.compile(r"[ \t\n\r]*")


def _members(text: str) -> dict[str, tuple[Any, str]]:
    """Return the members of a JSON object, each with its value and the text of its value.

    Raises:
        ValueError: The text is no JSON object.
    """
    if not isinstance(_DECODER.decode(text), dict):
        msg = "no JSON object"
        raise ValueError(msg)  # noqa: TRY004 - the text is wrong, not an argument's type
    members: dict[str, tuple[Any, str]] = {}
    place = 1
    while text[place := _skip(text, place)] != "}":
        key, place = _DECODER.raw_decode(text, _skip(text, place + 1) if text[place] == "," else place)
        start = _skip(text, _skip(text, place) + 1)
        value, place = _DECODER.raw_decode(text, start)
        members[key] = (value, text[start:place])
    return members


def _skip(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place
