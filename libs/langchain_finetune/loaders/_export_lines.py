"""The lines of a JSON Lines file, plain or compressed; what is damaged says how far it was read."""

import gzip
import io
from collections.abc import Iterator
from importlib import import_module
from typing import Any, BinaryIO, Final, cast

from langchain_finetune._parsing import loads
from langchain_finetune.errors import FineTuneError, SourceError
from langchain_finetune.loaders._export_files import ExportFile
from langchain_finetune.runs import Reason, Rejection

GZIP_MAGIC: Final = b"\x1f\x8b"
ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"

_MAX_LINE_BYTES: Final = 1 << 28
_CHUNK_BYTES: Final = 1 << 18


def read_objects(file: ExportFile) -> Iterator[dict[str, Any] | Rejection]:
    """Yield the objects of a JSON Lines file; a line that is none is a rejection named `file:line`.

    Raises:
        SourceError: The file is cut off or damaged, or not one of its lines is an object.
    """
    num_objects, first_bad = 0, ""
    for number, line in read_lines(file):
        if line.isspace():
            continue
        value, problem = _parse(line)
        if problem is None:
            num_objects += 1
            yield value
            continue
        where = f"{file.name}, line {number}, {problem[1]}"
        if not line.endswith(b"\n") and problem[0] is Reason.NOT_A_RUN:
            msg = (
                f"{where} and is not ended: the file is cut off there, or is no JSON Lines. "
                f"{number - 1} lines were read. Copy or export it again."
            )
            raise SourceError(msg)
        first_bad = first_bad or where
        yield Rejection(f"{file.name}:{number}", problem[0])
    if first_bad and not num_objects:
        msg = f"{first_bad}, and so is every other line: expected JSON Lines, one run a line."
        raise SourceError(msg)


def _parse(line: bytes) -> tuple[Any, tuple[Reason, str] | None]:
    try:
        value = loads(line)
    except RecursionError:
        return None, (Reason.TOO_DEEP, "is nested too deeply")
    except ValueError:
        return None, (Reason.NOT_A_RUN, "is no JSON")
    if not isinstance(value, dict):
        return None, (Reason.NOT_A_RUN, "holds no JSON object")
    return value, None


def read_lines(file: ExportFile) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file with their numbers from 1; gzip and Zstandard are known by their first bytes.

    Raises:
        SourceError: The file cannot be read, or only so far; a line is longer than 256 MB.
    """
    number = 0
    try:
        with file.open() as raw, _unpacked(raw, file.name) as text:
            while line := text.readline(_MAX_LINE_BYTES):
                number += 1
                if len(line) == _MAX_LINE_BYTES:
                    msg = (
                        f"{file.name}, line {number} is longer than {_MAX_LINE_BYTES >> 20} MB: "
                        "expected JSON Lines, one run a line."
                    )
                    raise SourceError(msg)  # noqa: TRY301  # the way out is the same for every failure
                yield number, line
    except FineTuneError:
        raise
    except Exception as e:  # each store and each archive raises what its own library raises
        raise unreadable(file, e, f"{number} lines") from e


def unreadable(file: ExportFile, cause: Exception, read_so_far: str) -> SourceError:
    """Return the error for a file that can be read no further; never tells what the cause quotes of it."""
    is_cut = isinstance(cause, EOFError)
    reason = "is cut off" if is_cut else f"is damaged or cannot be read ({_named(cause)})"
    return SourceError(f"{file.name} {reason}: {read_so_far} were read. Copy or export it again.")


def _named(cause: Exception) -> str:
    text = getattr(cause, "strerror", None)
    return text if isinstance(text, str) else f"{type(cause).__module__}.{type(cause).__qualname__}"


def _unpacked(raw: BinaryIO, name: str) -> BinaryIO:
    # A store's file buffers by itself, and cannot be looked into ahead.
    is_local = isinstance(raw, io.BufferedReader)
    buffered: Any = raw if is_local else io.BufferedReader(cast("Any", raw), _CHUNK_BYTES)
    magic = buffered.peek(len(ZSTD_MAGIC))[: len(ZSTD_MAGIC)]
    if not magic and name.endswith((".gz", ".zst")):
        raise EOFError  # an archive of nothing has some bytes
    if magic.startswith(GZIP_MAGIC):
        return cast("BinaryIO", gzip.GzipFile(fileobj=buffered, mode="rb"))
    if magic == ZSTD_MAGIC:
        return io.BufferedReader(_ZstandardReader(buffered), _CHUNK_BYTES)
    return cast("BinaryIO", buffered)


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
