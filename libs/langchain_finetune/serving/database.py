"""The file of what is served: one SQLite database in the state directory, for several processes."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from langchain_finetune._spool import state_directory
from langchain_finetune.errors import StorageError

FILE_NAME: Final = "serving.sqlite"

_VERSION: Final = 1
_BUSY_SECONDS: Final = 30.0

_SCHEMA: Final = (
    """
    CREATE TABLE moves (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        alias TEXT NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('promotion', 'rollback', 'removal')),
        model TEXT,
        note TEXT NOT NULL,
        moved_at REAL NOT NULL
    )
    """,
    "CREATE INDEX moves_by_alias ON moves (alias, number)",
    """
    CREATE TABLE orders (
        id TEXT PRIMARY KEY,
        route TEXT NOT NULL,
        status TEXT NOT NULL,
        job_id TEXT,
        is_reused INTEGER NOT NULL DEFAULT 0,
        is_handed_on INTEGER,
        error_code TEXT,
        error TEXT,
        owner TEXT NOT NULL,
        created_at REAL NOT NULL
    ) WITHOUT ROWID
    """,
)


def default_path() -> Path:
    """Return where the file lies unless somebody says otherwise; the state directory is made."""
    return state_directory() / FILE_NAME


@contextmanager
def database(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the file, make it where it is missing, and close it again.

    A connection costs a tenth of a millisecond, and one that is nobody's for long survives forks, threads and
    a file that was moved away.

    Args:
        path: The file.

    Raises:
        StorageError: It cannot be used, or a newer version wrote it.
    """
    try:
        if not path.exists():
            # For its owner's eyes before there is anything in it.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            _set_up(db, path)
            yield db
        finally:
            db.close()
    except (sqlite3.Error, OSError) as e:
        if isinstance(e, StorageError):
            raise
        msg = f"cannot use {path}: {e}. Free some space, make it writable, or move it away to start anew."
        raise StorageError(msg) from e


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Do several statements at once or not at all; other processes wait."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.rollback()
        raise
    db.execute("COMMIT")


def _set_up(db: sqlite3.Connection, path: Path) -> None:
    if _version(db) == _VERSION:
        return
    db.execute("PRAGMA journal_mode = WAL")
    with transaction(db):
        found = _version(db)
        if found > _VERSION:
            msg = f"{path} has layout {found}, this version reads {_VERSION}: upgrade langchain-finetune."
            raise StorageError(msg)
        if found == 0:
            for statement in _SCHEMA:
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {_VERSION}")


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])
