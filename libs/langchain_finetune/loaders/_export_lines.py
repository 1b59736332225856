"""The lines of a JSON Lines file, plain or compressed; what is damaged says how far it was read.

A file is read in blocks of whole lines: to ask a stream for one line after the other takes longer than to
look for its end.
"""

import gzip
import io
from collections.abc import Iterator
from importlib import import_module
from typing import Any, BinaryIO, Final, NamedTuple, cast

from langchain_finetune._parsing import loads
from langchain_finetune.errors import FineTuneError, SourceError
from langchain_finetune.loaders._export_files import ExportFile
from langchain_finetune.runs import Reason, Rejection

GZIP_MAGIC: Final = b"\x1f\x8b"
ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"

_MAX_LINE_BYTES: Final = 1 << 28
_CHUNK_BYTES: Final = 1 << 18
_BLOCK_BYTES: Final = 1 << 16


class Block(NamedTuple):
    """Some lines of a file."""

    first_line: int
    """The number of its first line, from 1."""
    text: bytes
    """The lines; each is ended, but for the last of a file."""


class BadLine(NamedTuple):
    """A line that is no run."""

    number: int
    reason: Reason
    problem: str
    """What is wrong with it, as the end of a sentence."""

    def place(self, name: str) -> str:
        """Say in which file what is wrong with which line."""
        return f"{name}, line {self.number}, {self.problem}"


def read_objects(file: ExportFile) -> Iterator[dict[str, Any] | Rejection]:
    """Yield the objects of a JSON Lines file; a line that is none is a rejection named `file:line`.

    Raises:
        SourceError: The file is cut off or damaged, or not one of its lines is an object.
    """
    has_objects, first_bad = False, None
    for block in read_blocks(file):
        for found in objects_in(block, file.name):
            if isinstance(found, BadLine):
                first_bad = first_bad or found
                yield Rejection(f"{file.name}:{found.number}", found.reason)
            else:
                has_objects = True
                yield found
    refuse_other_text(first_bad, file.name, has_objects=has_objects)


def refuse_other_text(first_bad: BadLine | None, name: str, *, has_objects: bool) -> None:
    """Refuse a file that is no JSON Lines at all.

    Raises:
        SourceError: It has lines, and not one of them is an object.
    """
    if first_bad is not None and not has_objects:
        msg = f"{first_bad.place(name)}, and so is every other line: expected JSON Lines, one run a line."
        raise SourceError(msg)


def objects_in(block: Block, name: str) -> Iterator[dict[str, Any] | BadLine]:
    """Yield the objects of a block's lines, and the lines that are none; blank lines are passed over.

    Raises:
        SourceError: The last line is cut off.
    """
    lines = block.text.split(b"\n")
    for number, line in enumerate(lines, start=block.first_line):
        try:
            value = loads(line)
        except RecursionError:
            yield BadLine(number, Reason.TOO_DEEP, "is nested too deeply")
            continue
        except ValueError:
            if not line or line.isspace():
                continue
            bad = BadLine(number, Reason.NOT_A_RUN, "is no JSON")
        else:
            if isinstance(value, dict):
                yield value
                continue
            bad = BadLine(number, Reason.NOT_A_RUN, "holds no JSON object")
        if line is lines[-1]:  # the text ends with it, and not with a newline
            msg = (
                f"{bad.place(name)} and is not ended: the file is cut off there, or is no JSON Lines. "
                f"{number - 1} lines were read. Copy or export it again."
            )
            raise SourceError(msg)
        yield bad


def read_lines(file: ExportFile) -> Iterator[bytes]:
    """Yield the lines of a file without their ends.

    Raises:
        SourceError: The file cannot be read, or only so far; a line is longer than 256 MB.
    """
    for block in read_blocks(file):
        yield from block.text.split(b"\n")


def read_blocks(file: ExportFile, num_bytes: int = _BLOCK_BYTES) -> Iterator[Block]:
    """Yield the lines of a file some at a time; gzip and Zstandard are known by their first bytes.

    Args:
        file: The file.
        num_bytes: How many bytes of lines are enough for a block.

    Raises:
        SourceError: The file cannot be read, or only so far; a line is longer than 256 MB.
    """
    lines = _Lines(file.name)
    try:
        with file.open() as raw, _unpacked(raw, file.name) as text:
            while piece := text.read1(num_bytes):
                lines.add(piece)
                if lines.num_bytes >= num_bytes:
                    yield lines.take()
        lines.end()
    except FineTuneError:
        raise
    except Exception as e:  # each store and each archive raises what its own library raises
        if lines.num_bytes:
            yield lines.take()
        raise unreadable(file, e, f"{lines.num_taken} lines") from e
    if lines.num_bytes:
        yield lines.take()


class _Lines:
    """Puts the pieces of a stream together to whole lines."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._whole: list[bytes] = []
        self._begun: list[bytes] = []
        self._num_begun = 0
        self.num_bytes = 0
        """Bytes of whole lines that were not taken yet."""
        self.num_taken = 0
        """Lines that were."""

    def add(self, piece: bytes) -> None:
        """Add what comes next.

        Raises:
            SourceError: A line is longer than 256 MB.
        """
        end = piece.rfind(b"\n") + 1
        if self._num_begun + (piece.find(b"\n") if end else len(piece)) >= _MAX_LINE_BYTES:
            number = 1 + self.num_taken + sum(whole.count(b"\n") for whole in self._whole)
            msg = (
                f"{self._name}, line {number} is longer than {_MAX_LINE_BYTES >> 20} MB: "
                "expected JSON Lines, one run a line."
            )
            raise SourceError(msg)
        if end:
            self._whole += (*self._begun, piece[:end])
            self.num_bytes += self._num_begun + end
            self._begun, self._num_begun = [], 0
        if end < len(piece):
            self._begun.append(piece[end:])
            self._num_begun += len(piece) - end

    def end(self) -> None:
        """Take the last line for whole that is not ended: nothing comes after it."""
        self._whole += self._begun
        self.num_bytes += self._num_begun

    def take(self) -> Block:
        """Return the whole lines."""
        block = Block(self.num_taken + 1, b"".join(self._whole))
        self._whole.clear()
        self.num_bytes = 0
        self.num_taken += block.text.count(b"\n")
        return block


def unreadable(file: ExportFile, cause: Exception, read_so_far: str) -> SourceError:
    """Return the error for a file that can be read no further; never tells what the cause quotes of it."""
    is_cut = isinstance(cause, EOFError)
    reason = "is cut off" if is_cut else f"is damaged or cannot be read ({_named(cause)})"
    return SourceError(f"{file.name} {reason}: {read_so_far} were read. Copy or export it again.")


def _named(cause: Exception) -> str:
    text = getattr(cause, "strerror", None)
    return text if isinstance(text, str) else f"{type(cause).__module__}.{type(cause).__qualname__}"


def _unpacked(raw: BinaryIO, name: str) -> io.BufferedReader | gzip.GzipFile:
    # A store's file buffers by itself, and cannot be looked into ahead.
    is_local = isinstance(raw, io.BufferedReader)
    buffered: Any = raw if is_local else io.BufferedReader(cast("Any", raw), _CHUNK_BYTES)
    magic = buffered.peek(len(ZSTD_MAGIC))[: len(ZSTD_MAGIC)]
    if not magic and name.endswith((".gz", ".zst")):
        raise EOFError  # an archive of nothing has some bytes
    if magic.startswith(GZIP_MAGIC):
        return gzip.GzipFile(fileobj=buffered, mode="rb")
    if magic == ZSTD_MAGIC:
        return io.BufferedReader(_ZstandardReader(buffered), _CHUNK_BYTES)
    return cast("io.BufferedReader", buffered)


class _ZstandardReader(io.RawIOBase):
    """Reads any number of Zstandard frames; zstandard's own reader takes a cut frame for the end."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._new_frame = import_module("zstandard").ZstdDecompressor().decompressobj
        self._frame: Any = None
        self._packed = self._text = b""
        self._at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while self._at == len(self._text):
            if not self._fill():
                return 0
        chunk = self._text[self._at : self._at + len(buffer)]
        buffer[: len(chunk)] = chunk
        self._at += len(chunk)
        return len(chunk)

    def _fill(self) -> bool:
        packed = self._packed or self._source.read(_CHUNK_BYTES)
        if not packed:
            if self._frame is not None:
                raise EOFError
            return False
        self._frame = self._frame or self._new_frame()
        self._text, self._at = self._frame.decompress(packed), 0
        self._packed = self._frame.unused_data if self._frame.eof else b""
        if self._frame.eof:
            self._frame = None
        return True
