"""Writing recorded runs, from inside of somebody else's application.

A run is one transaction when it ends, so that a killed process loses what was in flight and nothing else.
What the disk refuses waits in memory, a bounded amount of it, and is tried again with each run; the
application is held up once, for as long as SQLite waits for a lock, and is told once.
"""

import atexit
import logging
import os
import sqlite3
import threading
from collections import OrderedDict, deque
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from langchain_finetune.loaders import _run_tables as tables
from langchain_finetune.loaders._run_json import loads
from langchain_finetune.loaders._run_tables import FeedbackRow, RunRow
from langchain_finetune.runs import run_id_of

if TYPE_CHECKING:
    from langchain_finetune.errors import StorageError

logger = logging.getLogger(__name__)

Run = Mapping[str, Any]

BUSY_SECONDS: Final = 1.0
"""How long the application is held up when another process keeps the file locked: once, not for each run."""

_LAST_BUSY_SECONDS: Final = 10.0
_MOST_WAITING: Final = 1000
_MOST_WAITING_BYTES: Final = 32 << 20
_MOST_IN_FLIGHT: Final = 10_000
_CHUNK: Final = 100


class RunWriter:
    """Writes the runs of this process into one file.

    Args:
        path: The SQLite file; made with the first run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.num_recorded = 0
        """Runs and feedback written by this process."""
        self.num_lost = 0
        """Runs and feedback that could neither be written nor kept."""
        self.failure: StorageError | None = None
        """Why nothing can be written at present."""
        self._warned = False
        self._start_anew()

    def _start_anew(self) -> None:
        self._lock = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._busy_seconds = 0.0
        self._in_flight: OrderedDict[str, Run] = OrderedDict()
        self._waiting: deque[RunRow | FeedbackRow] = deque()
        self._waiting_bytes = 0

    def after_fork(self) -> None:
        """Forget the parent's connection, lock and runs; the parent goes on with them."""
        if self._db is not None:
            _OF_PARENTS.append(self._db)  # closing it here would be a use of the parent's connection
        self._start_anew()

    @property
    def num_waiting(self) -> int:
        """Runs and feedback that wait in memory for the disk."""
        return len(self._waiting)

    # --- what happens to a run ---

    def begin(self, run: Run) -> None:
        """Take in a run that has begun, or one that is there as a whole."""
        if run.get("end_time"):
            self._put(run)
            return
        with self._lock:
            self._in_flight[run_id_of(run)] = run
            forgotten = self._in_flight.popitem(last=False)[1] if self._is_crowded() else None
        if forgotten is not None:
            self._put(forgotten)

    def _is_crowded(self) -> bool:
        # Runs that never end, such as a stream that nobody reads on, do not pile up.
        return len(self._in_flight) > _MOST_IN_FLIGHT

    def end(self, update: Run) -> None:
        """Take in the end of a run, and write it."""
        with self._lock:
            begun = self._in_flight.pop(run_id_of(update), {})
        self._put(merge(begun, update))

    def feedback(self, row: FeedbackRow) -> None:
        """Write feedback."""
        with self._lock:
            self._wait(row)
            self._drain()

    def _put(self, run: Run) -> None:
        row = tables.run_row(run)
        with self._lock:
            self._wait(row)
            self._drain()

    # --- the disk ---

    def flush(self, *, busy_seconds: float = _LAST_BUSY_SECONDS) -> None:
        """Write what has not ended as pending, and what waits; give the disk one more chance."""
        with self._lock:
            while self._in_flight:
                self._wait(tables.run_row(self._in_flight.popitem(last=False)[1]))
            if self._waiting:
                self._drain(busy_seconds)

    def close(self) -> None:
        """Flush and let go of the file; the next run opens it again."""
        with self._lock:
            self.flush()
            if self._db is not None:
                self._db.close()
                self._db = None

    def _wait(self, row: RunRow | FeedbackRow) -> None:
        self._waiting.append(row)
        self._waiting_bytes += len(row.body)
        while len(self._waiting) > _MOST_WAITING or (
            self._waiting_bytes > _MOST_WAITING_BYTES and len(self._waiting) > 1
        ):
            self._forget(self._waiting.popleft())

    def _forget(self, row: RunRow | FeedbackRow) -> None:
        self._waiting_bytes -= len(row.body)
        self.num_lost += 1

    def _drain(self, busy_seconds: float | None = None) -> None:
        if busy_seconds is None:
            busy_seconds = 0.0 if self.failure else BUSY_SECONDS
        try:
            while self._waiting:
                # After a failure one row is enough to see whether the disk is back.
                self._write(1 if self.failure else _CHUNK, busy_seconds)
                self.failure = None
        except (sqlite3.Error, OSError) as e:
            self._fail(e)

    def _write(self, num_rows: int, busy_seconds: float) -> None:
        rows = [self._waiting[at] for at in range(min(num_rows, len(self._waiting)))]
        db = self._connection(busy_seconds)
        db.execute("BEGIN IMMEDIATE")
        try:
            num_refused = sum(not _written(db, row) for row in rows)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        for _ in rows:
            self._waiting_bytes -= len(self._waiting.popleft().body)
        self.num_recorded += len(rows) - num_refused
        self.num_lost += num_refused

    def _connection(self, busy_seconds: float) -> sqlite3.Connection:
        if self._db is None:
            self._db = tables.open_file(self.path, is_new=True, busy_seconds=busy_seconds)
            self._busy_seconds = busy_seconds
        elif self._busy_seconds != busy_seconds:
            self._db.execute(f"PRAGMA busy_timeout = {round(busy_seconds * 1000)}")
            self._busy_seconds = busy_seconds
        return self._db

    def _fail(self, error: sqlite3.Error | OSError) -> None:
        self.failure = tables.reason_of(self.path, error)
        if self._db is not None and getattr(error, "sqlite_errorcode", None) not in tables.BUSY:
            self._db.close()  # a disk that has come back, or another file of that name, is opened anew
            self._db = None
        if not self._warned:
            self._warned = True
            logger.warning(
                "Runs are not recorded at present: %s The application goes on; the last %d runs are kept in "
                "memory and tried again, `num_lost` of the recorder counts the others.",
                self.failure,
                _MOST_WAITING,
            )


def merge(begun: Run, update: Run) -> Run:
    """Return a run with what its end has told."""
    return {**begun, **{key: value for key, value in update.items() if value is not None or key not in begun}}


def _written(db: sqlite3.Connection, row: RunRow | FeedbackRow) -> bool:
    """Write a row; False where it is too large for SQLite, so that it holds up no other."""
    try:
        if isinstance(row, FeedbackRow):
            tables.write_feedback(db, row)
        elif (found := tables.body_of(db, row.id)) is not None:
            tables.write_run(db, tables.run_row(merge(loads(found), loads(row.body))))
        else:
            tables.write_run(db, row)
    except (sqlite3.DataError, OverflowError):
        return False
    return True


_OF_PARENTS: Final[list[sqlite3.Connection]] = []
_WRITERS: Final[dict[Path, RunWriter]] = {}
_LOCK = threading.Lock()


def writer_of(path: Path) -> RunWriter:
    """Return this process's one writer of a file."""
    path = path.absolute()
    with _LOCK:
        writer = _WRITERS.get(path)
        if writer is None:
            writer = _WRITERS[path] = RunWriter(path)
            atexit.register(writer.close)
        return writer


def _after_fork() -> None:
    global _LOCK  # noqa: PLW0603  # another thread of the parent may have held it
    _LOCK = threading.Lock()
    for writer in list(_WRITERS.values()):
        writer.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
