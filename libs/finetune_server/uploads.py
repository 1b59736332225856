"""A multipart upload on its way to the disk: in pieces, hashed as it comes, never in memory as a whole."""

import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import anyio.to_thread
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from finetune_server.errors import ApiError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_WRITE_BYTES = 1024 * 1024
_MAX_FIELD_BYTES = 64 * 1024
_MAX_FIELDS = 16


@dataclass(frozen=True, kw_only=True)
class Upload:
    """What came: a file under a temporary name, and the form's other fields."""

    path: Path
    filename: str
    bytes: int
    sha256: str
    fields: dict[str, str]


async def receive_upload(
    content_type: str, body: AsyncIterator[bytes], target: Path, *, max_bytes: int
) -> Upload:
    """Takes in a form with one part named `file` and writes that part to `target`.

    The target is the caller's to move or remove, whatever happens.

    Args:
        content_type: The request's header.
        body: The request's body.
        target: Where the file goes; must not exist.
        max_bytes: Of the file.

    Raises:
        ApiError: For what is no such form, and for a file that is too long.
    """
    with target.open("xb") as file:
        form = _Form(max_bytes)
        sink = _Sink(file)
        try:
            parser = MultipartParser(_boundary(content_type), form.callbacks())
            async for chunk in body:
                parser.write(chunk)
                await sink.take(form.pending)
            parser.finalize()
        except FormParserError as error:
            raise _bad_form() from error
        await sink.finish()
    if form.filename is None or not form.is_complete:
        raise _bad_form()
    return Upload(
        path=target,
        filename=form.filename,
        bytes=sink.num_bytes,
        sha256=sink.hash.hexdigest(),
        fields={name: value.decode("utf-8", "replace") for name, value in form.fields.items()},
    )


class _Sink:
    """Writes and hashes in a thread, a megabyte at a time, so that the event loop never waits for a disk."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._waiting = bytearray()
        self.hash = hashlib.sha256()
        self.num_bytes = 0

    async def take(self, pending: bytearray) -> None:
        self._waiting += pending
        pending.clear()
        if len(self._waiting) >= _WRITE_BYTES:
            await anyio.to_thread.run_sync(self._write)

    async def finish(self) -> None:
        await anyio.to_thread.run_sync(self._flush)

    def _write(self) -> None:
        self._file.write(self._waiting)
        self.hash.update(self._waiting)
        self.num_bytes += len(self._waiting)
        self._waiting.clear()

    def _flush(self) -> None:
        self._write()
        self._file.flush()
        os.fsync(self._file.fileno())


@dataclass
class _Form:
    """The parser's callbacks: bytes of the file into `pending`, all other parts into `fields`."""

    max_bytes: int
    pending: bytearray = field(default_factory=bytearray)
    fields: dict[str, bytearray] = field(default_factory=dict)
    filename: str | None = None
    is_complete: bool = False
    _num_bytes: int = 0
    _header: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)
    _disposition: bytes = b""
    _field: bytearray | None = None

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_end": self._on_end,
        }

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._disposition = b""
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name == "file":
            self._begin_file(options.get(b"filename", b"file"))
        else:
            self._field = self.fields.setdefault(name, bytearray())
            if len(self.fields) > _MAX_FIELDS:
                raise _bad_form()

    def _begin_file(self, filename: bytes) -> None:
        if self.filename is not None:
            raise ApiError(400, "Only one file can be uploaded at a time.", param="file", code="invalid_form")
        # A name to show, never a path.
        self.filename = filename.decode("utf-8", "replace").replace("\\", "/").rsplit("/", 1)[-1][:255]
        self._field = None

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            self._num_bytes += end - start
            if self._num_bytes > self.max_bytes:
                raise file_too_large(self.max_bytes)
            self.pending += memoryview(data)[start:end]
        elif len(self._field) + end - start > _MAX_FIELD_BYTES:
            raise _bad_form()
        else:
            self._field += data[start:end]

    def _on_end(self) -> None:
        self.is_complete = True


def file_too_large(max_bytes: int) -> ApiError:
    """The answer to a file over the cap."""
    message = (
        f"The file is larger than the {max_bytes} bytes that this server takes. Split it into several files."
    )
    return ApiError(413, message, param="file", code="file_too_large")


def _boundary(content_type: str) -> bytes:
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise _bad_form()
    return options[b"boundary"]


def _bad_form() -> ApiError:
    message = "The body must be multipart/form-data with the parts 'file' and 'purpose'."
    return ApiError(400, message, param="file", code="invalid_form")
