"""One SQLite file: connections, transactions, and the schema's versions."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from finetune_server.storage.schema import MIGRATIONS

_READER_SETTINGS = ("PRAGMA query_only = ON",)
_WRITER_SETTINGS = (
    "PRAGMA journal_mode = WAL",
    # A committed row survives a power cut: what the server has acknowledged it keeps.
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
)
_DAMAGED = (
    "{path} is damaged ({reason}). It was not touched. Put a copy of it in its place; or move it away, with "
    "its -wal and -shm files, to begin with an empty store."
)
_SHUT = (
    "{path} cannot be opened ({reason}). See that this user may read and write it, and that there is room."
)


class StoreUnusableError(RuntimeError):
    """The file is damaged, or cannot be opened; it has been left as it is."""


class StoreVersionError(StoreUnusableError):
    """The file was written by a newer version of this package."""


class Database:
    """The server's SQLite file: one connection that writes, one that only reads.

    Both may be used from any thread; each has a lock. The second is there so that a read does not wait
    for the disk while a commit is flushed.
    """

    def __init__(self, writer: sqlite3.Connection, reader: sqlite3.Connection) -> None:
        self._writer = writer
        self._reader = reader
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Opens the file, makes it if it is missing, and brings its schema up to date.

        Raises:
            StoreUnusableError: It is no sound SQLite file, or not to be had.
            StoreVersionError: A newer version wrote it.
        """
        try:
            writer = _connect(path, _WRITER_SETTINGS)
        except sqlite3.Error as error:
            raise _unusable(path, error) from error
        try:
            _check(writer, path)
            _migrate(writer, path)
            return cls(writer, _connect(path, _READER_SETTINGS))
        except BaseException:
            writer.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of the block is committed, or none of it."""
        with self._write_lock:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees all that is committed and cannot write."""
        with self._read_lock:
            yield self._reader

    def close(self) -> None:
        """Folds the write-ahead log into the file and closes it."""
        with self._write_lock, self._read_lock:
            self._reader.close()
            self._writer.close()


def _connect(path: Path, settings: tuple[str, ...]) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    try:
        for statement in settings:
            connection.execute(statement)
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Reads the whole file once, about a second per gigabyte: damage must not show in the middle of a job."""
    try:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise _unusable(path, error) from error
    if found != "ok":
        raise StoreUnusableError(_DAMAGED.format(path=path, reason=" ".join(found.split())))


def _unusable(path: Path, error: sqlite3.Error) -> StoreUnusableError:
    # The low byte is the kind of the error, the rest its variety.
    kind = error.sqlite_errorcode & 0xFF
    is_damaged = kind in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
    return StoreUnusableError((_DAMAGED if is_damaged else _SHUT).format(path=path, reason=error))


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        msg = (
            f"{path} has version {version}, this package knows {len(MIGRATIONS)}: "
            "install the newer langchain-finetune that wrote it, or use another state directory"
        )
        raise StoreVersionError(msg)
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        # The version is set inside the transaction, so a kill in the middle leaves the one before.
        connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
