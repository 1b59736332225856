"""The embedded server from the outside: found in its state directory, or started, and reached over HTTP.

One server belongs to one state directory, whoever starts it first. It announces itself in `server.json`;
nothing of it is believed until the server answers and takes the key. Of two that start at the same
moment the server's own lock lets one live, and the other process exits cleanly: so a start is a request to
have a server, and the loop below only waits for one that answers.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx2
import orjson

from langchain_finetune.errors import (
    AuthenticationFailedError,
    MissingExtraError,
    ServerStartError,
    StorageError,
)
from langchain_finetune.trainers.local.transport import AsyncRevivingTransport, Endpoint, RevivingTransport

_EXTRA: Final = ("torch", "transformers", "peft", "fastapi", "uvicorn", "xllamacpp", "gguf")
_IDLE_MINUTES: Final = 30
_START_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.05
_PROBE_SECONDS: Final = 5.0
_MOST_STARTS: Final = 3
_SHOWN_BYTES: Final = 2000
_MOST_OUTPUT_BYTES: Final = 1 << 20

_OK: Final = 200
_UNAUTHORIZED: Final = 401

# A server outlives the process that started it, on purpose. Its handle is kept all the same: dropped, it
# would warn of a child still running, and leave a zombie behind when the server goes first.
_started: Final[list[subprocess.Popen[bytes]]] = []


class LocalServer:
    """The embedded server of one state directory.

    Args:
        directory: The server's own directory.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.num_revivals = 0
        """How often a call found the server gone and started it again."""
        self._finding = threading.Lock()

    def endpoint(self) -> Endpoint:
        """Find the server, or start it, and return where it is.

        Raises:
            MissingExtraError: What the server needs is not installed.
            ServerStartError: It does not come up.
            AuthenticationFailedError: A server runs there that does not take the key.
        """
        # Threads of one process do not race each other with processes.
        with self._finding:
            return _probe(self.directory).endpoint or _start(self.directory)

    def running(self) -> Endpoint | None:
        """Return where the server is, None where none runs; nothing is started.

        Raises:
            AuthenticationFailedError: A server runs there that does not take the key.
        """
        probe = _probe(self.directory)
        if probe.is_refused:
            raise _refused(self.directory)
        return probe.endpoint

    def revive(self) -> Endpoint:
        """Return where the server is now, after a call could not reach it."""
        with self._finding:
            found = _probe(self.directory).endpoint
            if found is not None:
                return found
            self.num_revivals += 1
            return _start(self.directory)

    @cached_property
    def http_client(self) -> httpx2.Client:
        """A client that starts the server again where it is gone."""
        return httpx2.Client(transport=RevivingTransport(self.revive), timeout=_HTTP_TIMEOUT, trust_env=False)

    @cached_property
    def async_http_client(self) -> httpx2.AsyncClient:
        """A client that starts the server again where it is gone."""
        transport = AsyncRevivingTransport(self.revive)
        return httpx2.AsyncClient(transport=transport, timeout=_HTTP_TIMEOUT, trust_env=False)


_HTTP_TIMEOUT: Final = httpx2.Timeout(600.0, connect=5.0)


@lru_cache(maxsize=8)
def local_server(directory: Path) -> LocalServer:
    """Return this process's view of the server of a directory: its models and trainers share the clients."""
    return LocalServer(directory)


class _Probe(NamedTuple):
    endpoint: Endpoint | None = None
    is_refused: bool = False
    """Whether a server is there that does not take the key."""


def read_announcement(directory: Path) -> Mapping[str, Any]:
    """Return what the server last said about itself, empty where there is nothing to read."""
    try:
        announced = orjson.loads((directory / "server.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return announced if isinstance(announced, dict) else {}


def _read_key(directory: Path) -> str:
    try:
        return (directory / "api_key").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _probe(directory: Path) -> _Probe:
    base_url, key = read_announcement(directory).get("base_url"), _read_key(directory)
    if not isinstance(base_url, str) or not key:
        return _Probe()
    headers = {"Authorization": f"Bearer {key}"}
    try:
        with httpx2.Client(trust_env=False, timeout=_PROBE_SECONDS) as client:
            health = client.get(base_url.removesuffix("/v1") + "/healthz")
            models = client.get(f"{base_url}/models", headers=headers)
    except (httpx2.HTTPError, httpx2.InvalidURL):
        return _Probe()
    if health.status_code != _OK:
        return _Probe()
    if models.status_code == _OK:
        return _Probe(Endpoint(base_url=base_url, api_key=key))
    return _Probe(is_refused=models.status_code == _UNAUTHORIZED)


def _start(directory: Path) -> Endpoint:
    _require_extra()
    start = _Start(directory)
    deadline = time.monotonic() + _START_SECONDS
    try:
        while (probe := _probe(directory)).endpoint is None:
            start.go_on(is_late=time.monotonic() > deadline, is_refused=probe.is_refused)
            time.sleep(_LOOK_SECONDS)
    except BaseException:
        # What never answered is of no use to anyone; what lost the race has exited by itself.
        start.abandon()
        raise
    return probe.endpoint


class _Start:
    """One attempt to have a server."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # The log is the server's to write and to keep from growing; here goes what it says beside it: why it
        # does not start, above all.
        self._log = directory / "server.log"
        self._output = directory / "server.out"
        self._output_start = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._num_starts = 0

    def go_on(self, *, is_late: bool, is_refused: bool) -> None:
        """Start a process where none of ours is under way; give up where it failed or the time is over."""
        status = self._process.poll() if self._process else 0
        if status or is_late:
            raise self._failure(status, is_refused=is_refused)
        # 0: none was started, or it found another server at work, which may be about to end.
        if status == 0 and self._num_starts < _MOST_STARTS:
            self._num_starts += 1
            self._process = self._spawn()
            _started[:] = [process for process in _started if process.poll() is None]
            _started.append(self._process)

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = [
            *(sys.executable, "-m", "finetune_server"),
            *("--state-dir", str(self._directory), "--idle-minutes", str(_IDLE_MINUTES)),
            *("--log-file", str(self._log)),
        ]
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "ab") as output:
                if output.tell() > _MOST_OUTPUT_BYTES:
                    output.truncate(0)
                self._output_start = self._output.stat().st_size
                return subprocess.Popen(  # noqa: S603  our own interpreter and module, no shell
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
                )
        except OSError as e:
            msg = (
                f"cannot start the embedded server in {self._directory}: {e.strerror or e}. "
                "Free some space there, or make it writable."
            )
            raise StorageError(msg) from e

    def _failure(
        self, status: int | None, *, is_refused: bool
    ) -> ServerStartError | AuthenticationFailedError:
        if is_refused:
            return _refused(self._directory)
        how = f"ended with status {status}" if status else f"did not answer within {_START_SECONDS:g} s"
        return ServerStartError(
            f"the embedded server {how}. Run `langchain-finetune serve` to watch it start, or set "
            f"LANGCHAIN_FINETUNE_HOME to another directory. Its log is {self._log}; its last words were:\n"
            f"{self._last_lines()}"
        )

    def _last_lines(self) -> str:
        try:
            with self._output.open("rb") as output:
                output.seek(max(self._output_start, output.seek(0, 2) - _SHOWN_BYTES))
                return output.read().decode(errors="replace").strip() or "(nothing)"
        except OSError:
            return "(nothing)"

    def abandon(self) -> None:
        """End the process that was started, if it is still there."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()


def _refused(directory: Path) -> AuthenticationFailedError:
    return AuthenticationFailedError(
        f"the embedded server of {directory} does not take the key in its api_key file. "
        "Run `langchain-finetune stop` and try again.",
        status_code=_UNAUTHORIZED,
    )


def _require_extra() -> None:
    missing = [name for name in _EXTRA if find_spec(name) is None]
    if missing:
        msg = (
            f"the embedded server needs {', '.join(missing)}, not installed here: "
            'pip install "langchain-finetune[local]"'
        )
        raise MissingExtraError(msg)
