"""One creator of a job at a time, among the threads and processes of this machine."""

import logging
import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from langchain_finetune._spool import state_directory
from langchain_finetune.errors import StorageError
from langchain_finetune.trainers.exchange import Exchange, Sleep

logger = logging.getLogger(__name__)

_PAUSE_SECONDS: Final = 0.1
_PAUSES_UNTIL_SAID: Final = 300


class KeyLock:
    """A lock with a name, in the state directory.

    SQLite's lock on a file is on every system the same, is held by one connection whether the other is
    in this process or not, and is let go of by a crash.
    """

    def __init__(self, key: str) -> None:
        self._path = _lock_path(key)
        try:
            self._connection = sqlite3.connect(
                self._path, timeout=0, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as e:
            raise self._unusable(e) from e

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()

    def is_acquired(self) -> bool:
        """Take the lock if it is free, and tell whether it was."""
        try:
            self._connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as e:
            if getattr(e, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
                return False
            raise self._unusable(e) from e
        return True

    def _unusable(self, cause: sqlite3.Error) -> StorageError:
        return StorageError(
            f"cannot use {self._path}: {cause}. Free some space, make it writable, or delete it."
        )


def acquire(lock: KeyLock, what: str) -> Exchange[None]:
    """Wait until a lock is free, and take it.

    Args:
        lock: The lock.
        what: What its holder does, for whoever waits long.
    """
    num_pauses = 0
    while not lock.is_acquired():
        if num_pauses == _PAUSES_UNTIL_SAID:
            logger.warning(
                "another process or thread %s: waiting until it is done. Where it hangs, end it: nothing is "
                "lost.",
                what,
            )
        yield Sleep(_PAUSE_SECONDS)
        num_pauses += 1


def _lock_path(key: str) -> Path:
    directory = state_directory() / "locks"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as e:
        msg = f"cannot make {directory}: {e.strerror}. Free some space or make it writable."
        raise StorageError(msg) from e
    return directory / f"{key[:16]}.lock"
