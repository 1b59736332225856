"""Ending the embedded server of a state directory."""

import fcntl
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from langchain_finetune.errors import HostError
from langchain_finetune.trainers.local.server import read_announcement

# A job that trains writes a checkpoint first, for which the server gives it half a minute.
_STOP_SECONDS: Final = 60.0
_PATIENCE_SECONDS: Final = 3.0
_EXIT_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.05


def stop_server(directory: Path, *, tell: Callable[[str], None] = lambda _: None) -> bool:
    """End the server of a state directory and wait until it is gone.

    Its lock is what proves that it lives: a process id that was left behind by a crash, and may be
    another program's by now, is never signaled.

    Args:
        directory: The server's own directory.
        tell: Called with a line that says what is waited for, when it takes long.

    Returns:
        Whether there was a server to end.

    Raises:
        HostError: It does not end.
    """
    signaled: int | None = None
    started = time.monotonic()
    has_told = False
    while _is_alive(directory):
        waited = time.monotonic() - started
        if waited > _STOP_SECONDS:
            msg = f"the embedded server of {directory} (process {signaled}) does not end: see its server.log."
            raise HostError(msg)
        pid = read_announcement(directory).get("pid")
        # One that is still starting has not announced itself yet.
        if signaled is None and isinstance(pid, int) and pid > 0:
            _ask_to_end(pid, directory)
            signaled = pid
        if waited > _PATIENCE_SECONDS and not has_told:
            has_told = True
            tell(
                f"waiting up to {_STOP_SECONDS:g} s for the embedded server of {directory} (process "
                f"{signaled or 'unknown'}): a job that trains writes a checkpoint first"
            )
        time.sleep(_LOOK_SECONDS)
    if signaled is not None:
        _wait_until_gone(signaled)
    return signaled is not None


def _ask_to_end(pid: int, directory: Path) -> None:
    try:
        with suppress(ProcessLookupError):  # it ends by itself just now
            os.kill(pid, signal.SIGTERM)
    except PermissionError as e:
        raise _not_ours(directory) from e


def _not_ours(directory: Path) -> HostError:
    return HostError(f"the embedded server of {directory} belongs to another user: stop it as that user.")


def _is_alive(directory: Path) -> bool:
    try:
        with (directory / "server.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except PermissionError as e:
        raise _not_ours(directory) from e
    except BlockingIOError:
        return True
    return False


def _wait_until_gone(pid: int) -> None:
    """Wait for the rest of the process: it lets go of its lock a moment before it is gone."""
    deadline = time.monotonic() + _EXIT_SECONDS
    while time.monotonic() < deadline:
        try:
            # One that this very process started stays a zombie until its exit status is taken.
            if os.waitpid(pid, os.WNOHANG)[0]:
                return
        except ChildProcessError:
            if not _is_process(pid):
                return
        time.sleep(_LOOK_SECONDS)


def _is_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
