"""The SQLite file of recorded runs: its tables, how an older file comes to have them, how it is opened."""

import os
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from langchain_finetune.errors import StorageError
from langchain_finetune.loaders._run_json import dumps
from langchain_finetune.loaders._selection import instant
from langchain_finetune.runs import run_id_of, trace_id_of
from langchain_finetune.runs.envelope import metadata_of, thread_id_of

_APPLICATION: Final = 0x4C434654
"""`LCFT`: tells a store of runs from any other SQLite file."""

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
        CREATE TABLE runs (
            id TEXT PRIMARY KEY,
            trace_id TEXT NOT NULL,
            thread_id TEXT,
            project TEXT NOT NULL,
            run_type TEXT NOT NULL,
            name TEXT NOT NULL,
            start_time REAL NOT NULL,
            body BLOB NOT NULL
        )
        """,
        "CREATE INDEX runs_by_time ON runs (start_time, id)",
        "CREATE INDEX runs_by_type ON runs (run_type, start_time, id)",
        "CREATE INDEX runs_by_trace ON runs (trace_id)",
        "CREATE INDEX runs_by_thread ON runs (thread_id) WHERE thread_id IS NOT NULL",
        "CREATE INDEX runs_by_project ON runs (project)",
        """
        CREATE TABLE feedback (
            id TEXT PRIMARY KEY,
            run_id TEXT NOT NULL,
            key TEXT NOT NULL,
            score REAL,
            created_at REAL NOT NULL,
            body BLOB NOT NULL
        )
        """,
        "CREATE INDEX feedback_by_run ON feedback (run_id, key)",
    ),
)
"""What makes each version out of the one before; the last one's number is the file's `user_version`."""

BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_PAUSE_SECONDS: Final = 0.02


class RunRow(NamedTuple):
    """A run as the table holds it: what is asked for in columns, and the whole of it as JSON."""

    id: str
    trace_id: str
    thread_id: str | None
    project: str
    run_type: str
    name: str
    start_time: float
    body: bytes


class FeedbackRow(NamedTuple):
    """One person's, or one evaluator's, word on a run."""

    id: str
    run_id: str
    key: str
    score: float | None
    created_at: float
    body: bytes
    """`value`, `correction` and `comment` as JSON."""


def run_row(run: Mapping[str, Any]) -> RunRow:
    """Return the row of a run."""
    run_id = run_id_of(run)
    return RunRow(
        run_id,
        trace_id_of(run) or run_id,
        thread_id_of(run, metadata_of(run)),
        str(run.get("session_name") or "default"),
        str(run.get("run_type") or ""),
        str(run.get("name") or ""),
        instant(run.get("start_time")) or 0.0,
        dumps(run),
    )


def open_file(path: Path, *, is_new: bool, busy_seconds: float) -> sqlite3.Connection:
    """Open a file of runs, brought to the newest version.

    Args:
        path: The file.
        is_new: Whether to make it, for its owner's eyes only, where there is none.
        busy_seconds: How long each statement waits for another process.

    Raises:
        StorageError: It is no store of runs, or one of a newer version.
        sqlite3.Error: The disk, or another process, refuses.
        OSError: The file cannot be made.
    """
    if is_new:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=busy_seconds)
    try:
        _patiently(db, path, until=time.monotonic() + busy_seconds)
    except BaseException:
        db.close()
        raise
    return db


def _patiently(db: sqlite3.Connection, path: Path, until: float) -> None:
    while True:
        try:
            return _set_up(db, path)
        except sqlite3.OperationalError as e:
            # SQLite does not wait by itself while another process turns a new file to WAL.
            if e.sqlite_errorcode not in BUSY or time.monotonic() >= until:
                raise
        time.sleep(_PAUSE_SECONDS)


def _set_up(db: sqlite3.Connection, path: Path) -> None:
    if (found := _version(db)) > len(MIGRATIONS):
        msg = (
            f"{path} was written by a newer version (layout {found}, this one reads {len(MIGRATIONS)}): "
            "upgrade langchain-finetune, or record into another file."
        )
        raise StorageError(msg)
    if found < len(MIGRATIONS):
        _migrate(db, path)
    elif _pragma(db, "application_id") != _APPLICATION:
        raise _foreign(path)
    # A commit is safe from the death of the process; a power cut may take the last ones, never the file.
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA journal_size_limit = 67108864")


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    if _version(db) == 0:
        if db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            if _version(db) == 0:
                raise _foreign(path)
            return
        # Deleted runs give their pages back; this can only be chosen while the file is empty.
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
    db.execute("BEGIN IMMEDIATE")
    try:
        for statements in MIGRATIONS[_version(db) :]:
            for statement in statements:
                db.execute(statement)
        db.execute(f"PRAGMA application_id = {_APPLICATION}")
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    except BaseException:
        db.rollback()
        raise
    db.execute("COMMIT")


def _version(db: sqlite3.Connection) -> int:
    return _pragma(db, "user_version")


def _pragma(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])


def _foreign(path: Path) -> StorageError:
    return StorageError(
        f"{path} is a SQLite file of something else: give another path for the recorded runs."
    )


def reason_of(path: Path, error: BaseException) -> StorageError:
    """Return what the disk refused as one clear sentence."""
    if isinstance(error, StorageError):
        return error
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None and code & 0xFF in BUSY:
        advice = "another process holds it locked: end that one, or record into another file"
    elif code == sqlite3.SQLITE_FULL:
        advice = "the disk is full: free some space, or remove old runs with RunStore(...).delete_before(...)"
    elif code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        advice = "it is damaged or no SQLite file: move it away to start anew"
    else:
        advice = "look at the disk and at the permissions of that path"
    return StorageError(f"cannot use {path}: {getattr(error, 'strerror', None) or error}; {advice}.")


def write_run(db: sqlite3.Connection, row: RunRow) -> None:
    """Write a run; what has the same id is replaced."""
    db.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)


def write_feedback(db: sqlite3.Connection, row: FeedbackRow) -> None:
    """Write feedback; what has the same id is replaced."""
    db.execute("INSERT OR REPLACE INTO feedback VALUES (?, ?, ?, ?, ?, ?)", row)


def body_of(db: sqlite3.Connection, run_id: str) -> bytes | None:
    """Return a run's JSON; None where the file has no such run."""
    found = db.execute("SELECT body FROM runs WHERE id = ?", (run_id,)).fetchone()
    return None if found is None else found[0]
