"""The one place where stages touch files: the state directory, atomic JSON Lines, content addresses.

Rows are written into a hidden directory that is renamed to its content address when it is complete, so a
reader never meets half a file and a crash leaves nothing but a hidden directory for `clean` to remove.
Every failure of the disk is a `StorageError` that says what to do.
"""

import errno
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

import orjson
import platformdirs

from langchain_finetune._parsing import loads
from langchain_finetune.errors import SourceError, SourceNotFoundError, StorageError, TrainingDataError
from langchain_finetune.handles import Split, TrainingData

LAYOUT_VERSION: Final = 1
"""Version of the state directory's layout, as in its `layout.json`."""

SPLITS: Final[tuple[Split, ...]] = ("train", "validation", "test")

BOM: Final = b"\xef\xbb\xbf"
"""The byte order mark of UTF-8."""

_HOME_VARIABLE: Final = "LANGCHAIN_FINETUNE_HOME"
_UNFINISHED: Final = ".unfinished-"
_NAME_LENGTH: Final = 16
_READ_SIZE: Final = 1 << 20

_ADVICE: Final = {
    errno.ENOSPC: "The disk is full: free some space, or run `langchain-finetune clean`",
    errno.EDQUOT: "The disk quota is used up: free some space, or run `langchain-finetune clean`",
    errno.EACCES: "There is no permission to write there",
    errno.EPERM: "There is no permission to write there",
    errno.EROFS: "The file system is read-only",
}


def state_directory() -> Path:
    """Return the directory where sessions, rows and the embedded server's state lie; made on first use.

    `$LANGCHAIN_FINETUNE_HOME`, else `$XDG_DATA_HOME/langchain-finetune`, else the system's place for a
    user's data. It holds customers' prompts: only its owner may read it.
    """
    path = state_path()
    layout = path / "layout.json"
    with _storage(path):
        if not layout.exists():
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o700)
            write_json(layout, {"version": LAYOUT_VERSION})
        _check_layout(layout, layout.read_bytes())
    return path


def _check_layout(layout: Path, text: bytes) -> None:
    try:
        version = loads(text)["version"]
    except (ValueError, KeyError, TypeError) as e:
        msg = f"{layout} is damaged: remove it, or set {_HOME_VARIABLE} to another directory."
        raise StorageError(msg) from e
    if version != LAYOUT_VERSION:
        msg = (
            f"{layout.parent} has layout {version}, this version reads {LAYOUT_VERSION}. "
            f"Upgrade langchain-finetune, or set {_HOME_VARIABLE} to another directory."
        )
        raise StorageError(msg)


def state_path() -> Path:
    """Return where the state directory lies, or would lie; nothing is made or read."""
    if home := os.environ.get(_HOME_VARIABLE):
        return Path(home).expanduser().absolute()
    if data_home := os.environ.get("XDG_DATA_HOME"):
        return Path(data_home).expanduser().absolute() / "langchain-finetune"
    return Path(platformdirs.user_data_dir("langchain-finetune", appauthor=False))


@contextmanager
def _storage(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into one clear sentence."""
    try:
        yield
    except StorageError:
        raise
    except OSError as e:
        raise _storage_error(path, e) from e


def _storage_error(path: Path, cause: OSError) -> StorageError:
    reason, advice = cause.strerror or cause, _ADVICE.get(cause.errno or 0, "Look at that path")
    error = StorageError(
        f"cannot use {path}: {reason}. {advice}, or set {_HOME_VARIABLE} to another directory."
    )
    error.errno = cause.errno
    return error


def read_jsonl(path: Path, *, having: bytes = b"") -> Iterator[dict[str, Any]]:
    """Read the objects of a JSON Lines file, one at a time; blank lines are passed over.

    Args:
        path: The file.
        having: Only lines that hold these bytes are parsed and read.

    Raises:
        SourceNotFoundError: There is no such file.
        SourceError: A line is no JSON object; names path and line.
    """
    for number, line in read_lines(path):
        if having in line:
            yield parse_object(line, path, number)


def line_offsets(path: Path) -> Iterator[int]:
    """Yield where each object of a JSON Lines file begins, in bytes, in the order of `read_jsonl`."""
    offset = 0
    with _source(path), path.open("rb") as file:
        for line in file:
            text = line if offset else line.removeprefix(BOM)
            if text and not text.isspace():
                yield offset
            offset += len(line)


@contextmanager
def open_jsonl(path: Path) -> Iterator[Callable[[int], dict[str, Any]]]:
    """Open a JSON Lines file to read single objects, by the offsets that `line_offsets` gave."""
    with _source(path):
        opened = path.open("rb")
    with opened as file:

        def read_at(offset: int) -> dict[str, Any]:
            file.seek(offset)
            value: dict[str, Any] = loads(file.readline().removeprefix(BOM))
            return value

        yield read_at


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file that hold something, each with its number, from 1.

    A byte order mark, which some editors write, is no part of the first line.

    Raises:
        SourceError: The file is missing (`SourceNotFoundError`), or cannot be read.
    """
    with _source(path), path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            text = line.removeprefix(BOM) if number == 1 else line
            if text and not text.isspace():
                yield number, text


@contextmanager
def _source(path: Path) -> Iterator[None]:
    """Turn what keeps a file from being read into one clear sentence."""
    try:
        yield
    except FileNotFoundError as e:
        msg = f"there is no file {path}: check the path (the working directory is {Path.cwd()})."
        raise SourceNotFoundError(msg) from e
    except OSError as e:
        msg = f"cannot read {path}: {e.strerror or e}. Give the path of a readable JSON Lines file."
        raise SourceError(msg) from e


def ended(line: bytes) -> bytes:
    """Return a line of anybody's file ended by one newline."""
    return line.rstrip(b"\r\n") + b"\n"


def parse_object(line: bytes, path: Path, number: int) -> dict[str, Any]:
    """Parse one line of JSON Lines into its object.

    Raises:
        SourceError: The line is no JSON object; names path and line, never the content.
    """
    try:
        value = loads(line)
    except (ValueError, RecursionError) as e:
        reason = "is nested too deeply" if isinstance(e, RecursionError) else "is no JSON"
        msg = f"{path}, line {number} {reason}: expected JSON Lines, one object a line."
        raise SourceError(msg) from e
    if not isinstance(value, dict):
        msg = f"{path}, line {number} holds no JSON object: expected JSON Lines, one object a line."
        raise SourceError(msg)
    return value


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write one JSON document, whole or not at all."""
    with _storage(path):
        handle, name = tempfile.mkstemp(prefix=_UNFINISHED, dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(orjson.dumps(value, default=_to_json, option=orjson.OPT_INDENT_2))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _to_json(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(type(value).__name__)


class RowWriter:
    """Writes JSON Lines and counts and hashes them on the way."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.num_rows = 0
        self._digest = hashlib.sha256()
        with _storage(path):
            self._file = path.open("wb", buffering=_READ_SIZE)

    @property
    def sha256(self) -> str:
        """SHA-256 of what was written so far."""
        return self._digest.hexdigest()

    def write(self, row: Any) -> None:
        """Append one row: a mapping or a dataclass of JSON values.

        Raises:
            TypeError: The row holds something that JSON does not have; nothing was written.
        """
        self.write_line(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))

    def write_line(self, line: bytes) -> None:
        """Append one line as it is, its newline included."""
        self.write_lines(line, 1)

    def write_lines(self, lines: bytes, num_rows: int) -> None:
        """Append some lines as they are, the newline of each included."""
        self._digest.update(lines)
        self.num_rows += num_rows
        try:
            self._file.write(lines)
        except OSError as e:
            raise _storage_error(self.path, e) from e

    def close(self, *, durable: bool) -> None:
        """Close the file; durable means that its bytes reach the disk first."""
        try:
            if durable:
                self._file.flush()
                os.fsync(self._file.fileno())
        finally:
            self._file.close()


class Scratch:
    """Lines that are written once and then read, in a file without a name: nothing of it is left behind."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with _storage(directory):
            self._file = tempfile.TemporaryFile(dir=directory, buffering=_READ_SIZE)  # noqa: SIM115  # closed below

    def write(self, lines: bytes) -> None:
        """Append lines, each with its newline."""
        try:
            self._file.write(lines)
        except OSError as e:
            raise _storage_error(self._directory, e) from e

    def __iter__(self) -> Iterator[bytes]:
        with _storage(self._directory):
            self._file.seek(0)
        return iter(self._file)

    def close(self) -> None:
        """Give the space back."""
        with suppress(OSError):  # what could not be flushed is not missed
            self._file.close()


Room = Literal["sessions", "data", "comparisons"]


class Spool:
    """A directory in the making, renamed to its content address by `publish`, removed when left before.

    ```python
    with Spool("sessions") as spool:
        rows = spool.writer("sessions.jsonl")
        rows.write({"run_id": "a"})
        directory = spool.publish(rows.sha256)
    ```
    """

    def __init__(self, room: Room) -> None:
        self._room = state_directory() / room
        self._writers: list[RowWriter] = []
        self._scratches: list[Scratch] = []
        with _storage(self._room):
            self._room.mkdir(exist_ok=True)
            self._directory = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self._room))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for writer in self._writers:
            try:
                writer.close(durable=False)
            except OSError:  # the files are removed next: what could not be flushed is not missed
                continue
        for scratch in self._scratches:
            scratch.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def writer(self, name: str) -> RowWriter:
        """Open a file of this directory for writing."""
        writer = RowWriter(self._directory / name)
        self._writers.append(writer)
        return writer

    def scratch(self) -> Scratch:
        """Open a file for what is not published."""
        scratch = Scratch(self._directory)
        self._scratches.append(scratch)
        return scratch

    def publish(self, address: str) -> Path:
        """Move the directory to its address and return it there.

        Where it lies already, its files are replaced one by one: same address, same bytes, and a file
        that was damaged is whole again.
        """
        target = self._room / address[:_NAME_LENGTH]
        with _storage(target):
            for writer in self._writers:
                writer.close(durable=True)
            try:
                self._directory.rename(target)
            except OSError as e:
                if e.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                for file in self._directory.iterdir():
                    file.replace(target / file.name)
        return target


def address_of(parts: Mapping[str, str]) -> str:
    """Return the content address of files, given the SHA-256 of each by its name."""
    digest = hashlib.sha256()
    for name in sorted(parts):
        digest.update(f"{name} {parts[name]}\n".encode())
    return digest.hexdigest()


def publish_training_data(
    spool: Spool,
    writers: Mapping[Split, RowWriter],
    report: RowWriter | None = None,
    card: str | None = None,
    **fields: Any,
) -> TrainingData:
    """Publish the split files of a spool, write `training_data.json` beside them and return the handle.

    A split without a row has no file in the handle. The fingerprint is over the splits alone: the
    account of rejected runs changes nothing about what is trained on.
    """
    filled = {split: writer for split, writer in writers.items() if writer.num_rows}
    fingerprint = address_of({split: writer.sha256 for split, writer in filled.items()})
    directory = spool.publish(fingerprint)
    paths = {split: directory / writers[split].path.name for split in filled}
    data = TrainingData(
        train=directory / writers["train"].path.name,
        validation=paths.get("validation"),
        test=paths.get("test"),
        report=directory / report.path.name if report else None,
        card=directory / card if card else None,
        fingerprint=fingerprint,
        **{f"num_{split}": writer.num_rows for split, writer in writers.items()},
        **fields,
    )
    write_json(directory / "training_data.json", data.model_dump())
    return data


def load_training_data(fingerprint: str) -> TrainingData | None:
    """Return the training data of a fingerprint, or None where it was never here or is cleaned away."""
    path = state_directory() / "data" / fingerprint[:_NAME_LENGTH] / "training_data.json"
    if not path.exists():
        return None
    data = TrainingData.model_validate(loads(path.read_bytes()))
    return data if data.fingerprint == fingerprint else None


def training_data_from(source: str | os.PathLike[str] | Iterable[Mapping[str, Any]]) -> TrainingData:
    """Spool rows, or the lines of a JSON Lines file just as they are, as training data without a split.

    Raises:
        SourceNotFoundError: There is no such file.
        SourceError: A line is no JSON object.
        TrainingDataError: There is no row at all, or a row is no mapping of JSON values.
    """
    with Spool("data") as spool:
        train = spool.writer("train.jsonl")
        if isinstance(source, str | os.PathLike):
            _copy_lines(Path(source), train)
            origin = str(source)
        else:
            _write_rows(source, train)
            origin = "the rows given"
        if not train.num_rows:
            msg = f"{origin}: there is no training row. Give at least 10 rows in OpenAI chat form."
            raise TrainingDataError(msg)
        return publish_training_data(spool, {"train": train}, num_runs=train.num_rows)


def _copy_lines(path: Path, writer: RowWriter) -> None:
    for number, line in read_lines(path):
        parse_object(line, path, number)
        writer.write_line(ended(line))


def _write_rows(rows: Iterable[Any], writer: RowWriter) -> None:
    for number, row in enumerate(rows, start=1):
        try:
            writer.write(dict(row))
        except (TypeError, ValueError) as e:
            msg = f"row {number} is no dict of JSON values: give rows in OpenAI chat form as plain dicts."
            raise TrainingDataError(msg) from e


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaned:
    """What `clean` removed."""

    num_sessions: int
    """Directories of recorded sessions, and of queries that were broken off."""
    num_data: int
    """Directories of training rows, and of the details of comparisons."""
    num_bytes: int


def clean(older_than_days: float) -> Cleaned:
    """Remove sessions, training rows and details of comparisons last written more than so many days ago.

    The embedded server's own state, snapshots, and the answers given in comparisons stay.
    """
    limit = time.time() - older_than_days * 86_400
    counts: dict[str, int] = {}
    num_bytes = 0
    for room in ("sessions", "queries", "data", "comparisons"):
        stale = [path for path in _directories(state_directory() / room) if path.stat().st_mtime <= limit]
        for path in stale:
            num_bytes += sum(file.stat().st_size for file in path.iterdir())
            with _storage(path):
                shutil.rmtree(path)
        counts[room] = len(stale)
    return Cleaned(
        num_sessions=counts["sessions"] + counts["queries"],
        num_data=counts["data"] + counts["comparisons"],
        num_bytes=num_bytes,
    )


def _directories(room: Path) -> list[Path]:
    return [path for path in room.iterdir() if path.is_dir()] if room.exists() else []
