"""What this machine has ordered, where, and how far it got: written before the host is asked.

A process that is killed between a post and its answer leaves a row that says so, and the next start looks
the job up before it posts again. The ledger is an aid and never the truth: what it names is asked of the
host, and without it everything is found by look-up, as long as the host keeps what it is told.

Its public methods are exchanges only because another process may be writing: then they pause, so that
nothing blocks an event loop.
"""

import hashlib
import logging
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from langchain_finetune._spool import state_directory
from langchain_finetune.errors import StorageError
from langchain_finetune.trainers.exchange import Exchange, Sleep
from langchain_finetune.trainers.jobs.job_state import JobState
from langchain_finetune.trainers.ledger import rows as ledger_rows
from langchain_finetune.trainers.ledger.key_lock import KeyLock, acquire
from langchain_finetune.trainers.ledger.rows import Attempt, Damage, Role, Upload
from langchain_finetune.trainers.ledger.schema import NewerLedger, set_up

logger = logging.getLogger(__name__)

T = TypeVar("T")

_FILE_NAME: Final = "ledger.sqlite"
_BUSY_SECONDS: Final = 0.05
_MOST_BUSY_PAUSES: Final = 600
_MOST_PENDING: Final = 20

_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_DISK: Final = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_TOOBIG,
    }
)
"""Codes of a disk or a permission; what is left is a file that is no ledger."""


class Ledger:
    """The orders of one account at one host.

    Args:
        identity: The account, as `site.identity_of` names it.
        clock: Seconds since 1970.
        path: The SQLite file; None is the one in the state directory.
    """

    def __init__(
        self, identity: str, *, clock: Callable[[], float] = time.time, path: Path | None = None
    ) -> None:
        self.identity = identity
        self._clock = clock
        self._path = path or state_directory() / _FILE_NAME

    # --- the attempts at an order ---

    def attempts(self, key: str) -> Exchange[list[Attempt]]:
        """Return the attempts at an order that were not refused, newest first."""
        return self._do(lambda db: ledger_rows.attempts_of(db, self.identity, key))

    def begin(self, key: str, *, is_forced: bool, clears_uploads: bool) -> Exchange[Attempt]:
        """Open an attempt, before its first upload.

        Args:
            key: The order's.
            is_forced: Whether a new job is wanted whatever there is.
            clears_uploads: Whether the uploads are to be deleted when the job has ended.
        """
        values = {"is_forced": is_forced, "clears_uploads": clears_uploads, "created_at": self._clock()}
        return self._do(lambda db: ledger_rows.insert_attempt(db, self.identity, key, **values))

    def resume(self, attempt: Attempt, *, is_forced: bool, clears_uploads: bool) -> Exchange[Attempt]:
        """Record that an attempt that was broken off goes on; what it was to do once, it is to do still."""
        return self._change(
            attempt,
            is_forced=attempt.is_forced or is_forced,
            clears_uploads=attempt.clears_uploads or clears_uploads,
        )

    def posting(self, attempt: Attempt, seen: Iterable[str]) -> Exchange[Attempt]:
        """Record that the job is about to be posted.

        Args:
            attempt: The attempt.
            seen: Ids of the jobs that this order has had before: the new one is none of them.
        """
        return self._change(attempt, phase="creating", seen=frozenset(seen), posted_at=self._clock())

    def created(self, attempt: Attempt, job_id: str) -> Exchange[Attempt]:
        """Record the job of an attempt."""
        return self._change(attempt, phase="created", job_id=job_id)

    def refused(self, attempt: Attempt) -> Exchange[Attempt]:
        """Record that the host refused: there is no job, and the next attempt is another one."""
        return self._change(attempt, phase="refused", ended_at=self._clock())

    def adopt(self, key: str, job: JobState, *, clears_uploads: bool) -> Exchange[None]:
        """Record a job that was found at the host.

        Args:
            key: The order's.
            job: The job.
            clears_uploads: Whether the uploads are to be deleted when it has ended. Once wanted, it stays so.
        """
        found = Attempt(
            key=key,
            generation=0,
            phase="created",
            clears_uploads=clears_uploads,
            training_file=job.training_file,
            validation_file=job.validation_file,
            job_id=job.id,
            created_at=self._clock(),
        )
        return self._do(lambda db: ledger_rows.adopt(db, self.identity, job.id, found))

    def attempt_with_job(self, job_id: str) -> Exchange[Attempt | None]:
        """Return the attempt that made a job."""
        return self._do(lambda db: ledger_rows.attempt_with_job(db, self.identity, job_id))

    def ended(self, attempt: Attempt, *, clears_uploads: bool, is_clear: bool) -> Exchange[Attempt]:
        """Record that the job's end was seen.

        Args:
            attempt: The attempt that made the job.
            clears_uploads: Whether its uploads are to go.
            is_clear: Whether they are gone.
        """
        now = self._clock()
        return self._change(
            attempt,
            ended_at=attempt.ended_at or now,
            clears_uploads=clears_uploads,
            cleared_at=(attempt.cleared_at or now) if is_clear else None,
        )

    def cleared(self, attempt: Attempt) -> Exchange[Attempt]:
        """Record that the uploads of an attempt are gone."""
        return self._change(attempt, cleared_at=self._clock())

    def of_all_accounts(self, limit: int) -> Exchange[list[tuple[str, Attempt]]]:
        """Return the attempts with a job of every account, newest first, each with its account's identity."""
        return self._do(lambda db: ledger_rows.jobs_of_all(db, limit))

    def to_clear(self) -> Exchange[list[Attempt]]:
        """Return the attempts whose uploads are to go when their job has ended, oldest first, a few."""
        return self._do(lambda db: ledger_rows.attempts_to_clear(db, self.identity, _MOST_PENDING))

    # --- the uploads ---

    def upload_named(self, name: str) -> Exchange[Upload | None]:
        """Return what is recorded of an upload, unless it was deleted."""
        return self._do(lambda db: ledger_rows.upload_named(db, self.identity, name))

    def claim(self, attempt: Attempt, role: Role, upload: Upload) -> Exchange[bool]:
        """Record an upload and that an attempt uses it; False where it is being deleted.

        Either this comes first and the deletion sees it, or the deletion and this sees that.
        """
        return self._do(lambda db: ledger_rows.claim(db, self.identity, attempt, role, upload))

    def claims_on(self, file_id: str) -> Exchange[list[Attempt]]:
        """Return the attempts that use an upload and whose end was not seen."""
        return self._do(lambda db: ledger_rows.claims_on(db, self.identity, file_id))

    def condemn(self, file_id: str, but: Collection[tuple[str, int]]) -> Exchange[bool]:
        """Take an upload out of use before it is deleted.

        Args:
            file_id: The upload.
            but: Names of the attempts that may have used it and need it no more.

        Returns:
            False where another attempt has come to use it.
        """
        return self._do(lambda db: ledger_rows.condemn(db, self.identity, file_id, but, self._clock()))

    def condemn_own(self, attempt: Attempt) -> Exchange[list[str]]:
        """Take those uploads out of use that were made for a refused attempt and serve no other."""
        return self._do(lambda db: ledger_rows.condemn_own(db, self.identity, attempt, self._clock()))

    # --- the file ---

    def _change(self, attempt: Attempt, **values: Any) -> Exchange[Attempt]:
        return self._do(lambda db: ledger_rows.change_attempt(db, self.identity, attempt, **values))

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> Exchange[T]:
        try:
            return (yield from self._when_free(work))
        except Damage:
            yield from self._set_aside()
        try:
            return (yield from self._when_free(work))
        except Damage as e:
            raise self._unusable(e) from e

    def _when_free(self, work: Callable[[sqlite3.Connection], T]) -> Exchange[T]:
        for _ in range(_MOST_BUSY_PAUSES):
            try:
                with self._transaction() as db:
                    return work(db)
            except UnicodeDecodeError as e:
                # A message of SQLite's that quotes the damage.
                raise Damage from e
            except sqlite3.Error as e:
                if not _is(e, _BUSY):
                    raise self._meaning(e) from e
            except NewerLedger as e:
                msg = (
                    f"{self._path} was written by a newer version (layout {e}): upgrade langchain-finetune, "
                    "or set LANGCHAIN_FINETUNE_HOME to another directory."
                )
                raise StorageError(msg) from e
            yield Sleep(_BUSY_SECONDS)
        seconds = _MOST_BUSY_PAUSES * _BUSY_SECONDS
        msg = f"{self._path} has been locked by another process for {seconds:g} s: end that, and run again."
        raise StorageError(msg)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        # A connection for each piece of work: a file that was deleted meanwhile is simply a new one, and no
        # thread meets another's connection. What a job costs makes the millisecond not worth saving.
        self._touch()
        with closing(sqlite3.connect(self._path, timeout=0, isolation_level=None)) as db:
            set_up(db)
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.rollback()
                raise
            db.execute("COMMIT")

    def _touch(self) -> None:
        try:
            self._path.touch(mode=0o600)
        except OSError as e:
            raise self._unusable(e) from e

    def _meaning(self, error: sqlite3.Error) -> Exception:
        return self._unusable(error) if _is(error, _DISK) else Damage(str(error))

    def _unusable(self, cause: Exception) -> StorageError:
        return StorageError(
            f"cannot use {self._path}: {cause}. Free some space or make it writable, or move it away: jobs "
            "are then found at their host alone."
        )

    def _set_aside(self) -> Exchange[None]:
        """Move a damaged ledger out of the way, unless another process has done so already."""
        with KeyLock(hashlib.sha256(b"ledger").hexdigest()) as lock:
            yield from acquire(lock, "is setting a damaged ledger aside")
            try:
                yield from self._when_free(ledger_rows.check)
            except Damage:
                self._rename()

    def _rename(self) -> None:
        aside = self._path.with_name(f"{self._path.name}.damaged")
        logger.warning(
            "%s is damaged and set aside as %s: the jobs that it named are found at their host",
            self._path,
            aside.name,
        )
        try:
            for tail in ("-wal", "-shm"):
                self._path.with_name(self._path.name + tail).unlink(missing_ok=True)
            self._path.replace(aside)
        except OSError as e:
            raise self._unusable(e) from e


def _is(error: sqlite3.Error, codes: frozenset[int]) -> bool:
    # Extended codes keep the plain one in their lowest byte; what Python itself raises has none.
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in codes
