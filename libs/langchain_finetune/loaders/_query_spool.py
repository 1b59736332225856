"""What a query has brought so far, on disk, so that a query that was broken off goes on where it stood.

One SQLite file for one query in the state directory. A page, what hangs on its runs and the place where the
next page begins are entered in one transaction: after a crash at any instruction a page is there whole, with
its successor known, or will be asked for again. The file belongs to one process while it is open (SQLite's
exclusive lock, which ends with the process), and is removed when the sessions are published.
"""

import json
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import orjson

from langchain_finetune._parsing import loads
from langchain_finetune._spool import state_directory
from langchain_finetune.errors import StorageError
from langchain_finetune.loaders._run_source import Run
from langchain_finetune.loaders._selection import instant
from langchain_finetune.runs import run_id_of, trace_id_of

VERSION: Final = 1
"""Version of the file; one of another version is begun anew."""

_NAME: Final = "query.sqlite"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS parts
    (number INTEGER PRIMARY KEY, query BLOB NOT NULL, cursor TEXT, done INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS runs (id TEXT PRIMARY KEY, start REAL, trace_id TEXT, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS newest ON runs (start DESC, id);
CREATE INDEX IF NOT EXISTS traces ON runs (trace_id, start);
CREATE TABLE IF NOT EXISTS units (unit TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS roots (trace_id TEXT PRIMARY KEY, feedback BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS corrections (run_id TEXT PRIMARY KEY, correction BLOB NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class OpenPart:
    """A question that is not answered to its end."""

    number: int
    query: Any
    cursor: str | None


class QuerySpool:
    """The pages of one query.

    Args:
        key: Names the query: the same key goes on with what is there.
        longest_age_seconds: A query that was begun longer ago is begun anew.
    """

    def __init__(self, key: str, longest_age_seconds: float) -> None:
        room = state_directory() / "queries"
        try:
            room.mkdir(exist_ok=True)
        except OSError as e:
            raise _refused(room, e) from e
        self.directory = room / key
        self._db = _opened(self.directory)
        if self._db is None:  # another process is at the same query: this one keeps its own pages
            self.directory = Path(tempfile.mkdtemp(prefix=f"{key}-", dir=room))
            self._db = _opened(self.directory)
        if self.meta("version") != VERSION or time.time() - float(self.meta("begun")) > longest_age_seconds:
            self._begin_anew()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and leave it for the next time."""
        self._connection.close()

    def remove(self) -> None:
        """Close the file and remove it: its runs lie elsewhere now."""
        self.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            msg = f"cannot use {self.directory}: another process holds its file. Run the load again."
            raise StorageError(msg)
        return self._db

    def _begin_anew(self) -> None:
        with self._writing() as db:
            for table in ("meta", "parts", "runs", "units", "roots", "corrections"):
                db.execute(f"DELETE FROM {table}")  # noqa: S608  the names above
            self._set(db, "version", VERSION)
            self._set(db, "begun", time.time())

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._connection as db:
                yield db
        except sqlite3.Error as e:
            raise _refused(self.directory, e) from e

    def _set(self, db: sqlite3.Connection, name: str, value: Any) -> None:
        db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, orjson.dumps(value)))

    def meta(self, name: str) -> Any:
        """Return a value kept beside the pages, None where there is none."""
        row = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else loads(row[0])

    def keep(self, **values: Any) -> None:
        """Keep values beside the pages."""
        with self._writing() as db:
            for name, value in values.items():
                self._set(db, name, value)

    @property
    def num_pages(self) -> int:
        """Pages entered so far."""
        return self.meta("num_pages") or 0

    @property
    def num_runs(self) -> int:
        """Runs entered so far."""
        return int(self._connection.execute("SELECT count(*) FROM runs").fetchone()[0])

    def add_parts(self, queries: Iterable[Any], **meta: Any) -> None:
        """Enter questions to be asked."""
        with self._writing() as db:
            rows = [(orjson.dumps(query),) for query in queries]
            db.executemany("INSERT INTO parts (query, cursor, done) VALUES (?, NULL, 0)", rows)
            for name, value in meta.items():
                self._set(db, name, value)

    def open_parts(self) -> list[OpenPart]:
        """Return the questions that are not answered to their end."""
        rows = self._connection.execute(
            "SELECT number, query, cursor FROM parts WHERE NOT done ORDER BY number"
        )
        return [OpenPart(number, loads(query), cursor) for number, query, cursor in rows]

    def enter(  # noqa: PLR0913  the parts of a page, in one transaction
        self,
        number: int,
        cursor: str | None,
        *,
        runs: Iterable[Run] = (),
        units: Iterable[str] = (),
        roots: dict[str, dict[str, float]] | None = None,
        corrections: dict[str, Any] | None = None,
    ) -> None:
        """Enter a page of a question, and where its next page begins; without a cursor it was the last."""
        num_pages = self.num_pages + 1
        with self._writing() as db:
            db.executemany(
                "INSERT OR IGNORE INTO runs VALUES (?, ?, ?, ?)",
                [
                    (run_id_of(run), instant(run.get("start_time")), trace_id_of(run), _dump(run))
                    for run in runs
                ],
            )
            db.executemany("INSERT OR IGNORE INTO units VALUES (?)", [(unit,) for unit in units])
            rows = [(key, orjson.dumps(value)) for key, value in (roots or {}).items()]
            db.executemany("INSERT OR REPLACE INTO roots VALUES (?, ?)", rows)
            rows = [(key, _dump(value)) for key, value in (corrections or {}).items()]
            db.executemany("INSERT OR REPLACE INTO corrections VALUES (?, ?)", rows)
            db.execute(
                "UPDATE parts SET cursor = ?, done = ? WHERE number = ?", (cursor, cursor is None, number)
            )
            self._set(db, "num_pages", num_pages)

    def units(self) -> list[str]:
        """Return what the roots that match bring, in a fixed order."""
        return [unit for (unit,) in self._connection.execute("SELECT unit FROM units ORDER BY unit")]

    def runs(self) -> Iterator[tuple[str, Run | None, dict[str, float], Any]]:
        """Yield the runs, newest first: its id, itself, the scores on its root, and its correction.

        A run that is nested too deeply to be kept is None. The order is the runs' own: the same runs come in
        the same order, however they were asked for. A correction of the root is one of its last answer.
        """
        rows = self._connection.execute(
            "SELECT runs.id, runs.body, roots.feedback, own.correction, of_root.correction, "
            "of_root.run_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM runs AS later "
            "WHERE later.trace_id = runs.trace_id AND (later.start > runs.start "
            "OR (later.start = runs.start AND later.id < runs.id))) FROM runs "
            "LEFT JOIN roots ON roots.trace_id = runs.trace_id "
            "LEFT JOIN corrections AS own ON own.run_id = runs.id "
            "LEFT JOIN corrections AS of_root "
            "ON of_root.run_id = runs.trace_id AND of_root.run_id != runs.id "
            "ORDER BY runs.start DESC, runs.id"
        )
        for run_id, body, feedback, own, of_root, is_last in rows:
            correction = own or (of_root if is_last else None)
            run = loads(body) if body else None
            yield run_id, run, loads(feedback) if feedback else {}, loads(correction) if correction else None


def _opened(directory: Path) -> sqlite3.Connection | None:
    """Open a query's file for this process alone; None where another has it."""
    try:
        directory.mkdir(exist_ok=True)
        # Steps of one load may run in one thread after the other, never in two at once.
        db = sqlite3.connect(directory / _NAME, timeout=0.0, check_same_thread=False)
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("BEGIN EXCLUSIVE")
        db.execute("COMMIT")
        db.executescript(_SCHEMA)
    except (sqlite3.Error, OSError) as e:
        if isinstance(e, sqlite3.OperationalError) and "locked" in str(e):
            return None
        if isinstance(e, sqlite3.DatabaseError) and not isinstance(e, sqlite3.OperationalError):
            shutil.rmtree(directory, ignore_errors=True)  # damaged: what it held is asked for again
            return _opened(directory)
        raise _refused(directory, e) from e
    return db


def _refused(directory: Path, cause: Exception) -> StorageError:
    msg = (
        f"cannot keep the pages of a query in {directory}: {cause}. Free some space, or set "
        "LANGCHAIN_FINETUNE_HOME to another directory."
    )
    return StorageError(msg)


def _dump(value: Any) -> bytes:
    """Write JSON; empty where it is nested too deeply for it."""
    try:
        return orjson.dumps(value)
    except TypeError:  # half a surrogate pair, or deep: it is rejected later, with a reason
        try:
            return json.dumps(value, default=str).encode()
        except RecursionError:
            return b""
