"""One server a state directory: the lock that proves its life, its port, and where it tells both."""

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn, Self

from finetune_server import __version__
from finetune_server.config import Settings
from finetune_server.jobs.job_files import write_json

_WAIT_SECONDS = 0.05
_BACKLOG = 2048


class ServerStartError(RuntimeError):
    """The server cannot start; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Announcement:
    """`server.json`: where a server listens."""

    pid: int
    host: str
    port: int
    base_url: str
    started_at: int
    package_version: str
    version: int = 1

    @classmethod
    def of(cls, host: str, port: int) -> Self:
        """What this process tells of itself."""
        # A client cannot call "all addresses"; the loopback is one of them.
        reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
        shown = f"[{reachable}]" if ":" in reachable else reachable
        return cls(
            pid=os.getpid(),
            host=host,
            port=port,
            base_url=f"http://{shown}:{port}/v1",
            started_at=int(time.time()),
            package_version=__version__,
        )

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """What another process told, None where there is nothing that can be understood."""
        try:
            return cls(**json.loads(path.read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write(self, path: Path) -> None:
        """Puts it where clients look, whole or not at all."""
        write_json(path, asdict(self))


class StateDirectory:
    """The state directory, held by this process for as long as the lock is.

    Args:
        settings: The server's.
        lock: The descriptor of the locked file.
    """

    def __init__(self, settings: Settings, lock: int) -> None:
        self._settings = settings
        self._lock = lock

    @classmethod
    def claim(cls, settings: Settings, *, wait_seconds: float) -> Self | Announcement:
        """Takes the directory, or finds the server that has it.

        Args:
            settings: The server's.
            wait_seconds: For a server that holds the lock and is still starting, or already stopping.

        Raises:
            ServerStartError: When another process holds the directory and does not say where it listens.
        """
        settings.make_directories()
        lock = os.open(settings.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + wait_seconds
        while not _try_lock(lock):
            found = _announced_by_holder(settings)
            if found is not None or time.monotonic() > deadline:
                os.close(lock)
                return found or _raise_held(settings.lock_file)
            time.sleep(_WAIT_SECONDS)
        _enter(settings, lock)
        return cls(settings, lock)

    def announce(self, port: int) -> Announcement:
        """Tells the world; called when the server listens."""
        told = Announcement.of(self._settings.host, port)
        told.write(self._settings.announcement_file)
        return told

    def release(self) -> None:
        """Lets another server take the directory."""
        self._settings.announcement_file.unlink(missing_ok=True)
        os.close(self._lock)

    def listen(self) -> socket.socket:
        """A bound socket: on the port asked for, else on the remembered one, else on a free one.

        Raises:
            ServerStartError: When the port asked for, or the host, cannot be bound.
        """
        remembered = self._remembered_port()
        wanted = [self._settings.port] if self._settings.port is not None else [remembered, 0]
        for port in wanted:
            if port is None:
                continue
            bound = self._bind(port, is_last=port == wanted[-1])
            if bound is not None:
                if remembered is None:
                    self._settings.port_file.write_text(f"{bound.getsockname()[1]}\n", encoding="ascii")
                return bound
        msg = f"no port can be bound on {self._settings.host}"
        raise ServerStartError(msg)

    def _bind(self, port: int, *, is_last: bool) -> socket.socket | None:
        host = self._settings.host
        try:
            return _listening(host, port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and not is_last:
                return None
            msg = f"cannot listen on {host}:{port}: {error.strerror}; choose another with --host or --port"
            raise ServerStartError(msg) from error

    def _remembered_port(self) -> int | None:
        try:
            port = int(self._settings.port_file.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return None
        return port if 0 < port < 2**16 else None


def is_idle(settings: Settings, idle_seconds: float, num_jobs: Callable[[], int]) -> bool:
    """Whether the server has had nothing to do for as long as it was told to wait."""
    limit = settings.idle_minutes * 60
    return limit > 0 and idle_seconds >= limit and num_jobs() == 0


def _announced_by_holder(settings: Settings) -> Announcement | None:
    found = Announcement.read(settings.announcement_file)
    if found is None:
        return None
    # A file left by a server that was killed names another process than the one that holds the lock.
    holder = settings.lock_file.read_text(encoding="ascii").strip()
    return found if holder == str(found.pid) and _is_alive(found.pid) else None


def _enter(settings: Settings, lock: int) -> None:
    settings.announcement_file.unlink(missing_ok=True)
    os.truncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode("ascii"), 0)
    for path in settings.incoming_dir.iterdir():
        path.unlink()


def _raise_held(lock_file: Path) -> NoReturn:
    msg = f"another process holds {lock_file} and does not say where it listens; end it first"
    raise ServerStartError(msg)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it each answer takes 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # A port in TIME_WAIT is free, one that is listened on is not.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
