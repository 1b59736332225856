"""A server's life in this process: claim the directory, listen, serve, stop, let go."""

import asyncio
import logging
import math
import os
import shlex
import signal
import socket
import stat
import sys
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from finetune_server.app import create_app
from finetune_server.config import Settings
from finetune_server.keys import (
    VARIABLE,
    KeyCheck,
    KeyFile,
    UnusableKeyError,
    local_key_digest,
    take_environment_key,
)
from finetune_server.lifecycle import Announcement, ServerStartError, StateDirectory, is_idle
from finetune_server.logs import fields, set_up_logging
from finetune_server.peers import is_loopback

_CLAIM_SECONDS = 30.0
_GRACEFUL_SECONDS = 5
_MAX_LOOK_SECONDS = 10.0
_log = logging.getLogger(__name__)


def run(settings: Settings) -> int:
    """Serves until told to stop, or says where another server does already; gives the exit code."""
    os.umask(0o077)
    try:
        environment_key = take_environment_key()
        settings.make_directories()
        set_up_logging(settings.log_level, settings.log_format, settings.log_file)
        _check_owner(settings)
        claimed = StateDirectory.claim(settings, wait_seconds=_CLAIM_SECONDS)
        if isinstance(claimed, Announcement):
            _say(f"finetune_server already listens on {claimed.base_url} (process {claimed.pid})")
            return 0
        try:
            return _serve(settings, claimed, environment_key)
        finally:
            claimed.release()
    except (ServerStartError, UnusableKeyError, OSError) as error:
        sys.stderr.write(f"finetune_server cannot start: {error}\n")
        return 1


def _serve(settings: Settings, directory: StateDirectory, environment_key: bytes | None) -> int:
    local_key = local_key_digest(settings.key_file)
    keys = KeyCheck(local_key, named=KeyFile(settings.named_keys_file), environment=environment_key)
    app = create_app(settings, keys=keys)
    with directory.listen() as listener:
        _check_door(settings, keys, listener)

        def announce() -> None:
            told = directory.announce(listener.getsockname()[1])
            _say(f"finetune_server listens on {told.base_url} (key in {settings.key_file})")
            _log.info("listening", extra=fields(host=settings.host, port=told.port, pid=told.pid))

        server = _Server(_uvicorn_config(app), announce)
        # uvicorn has its own handlers while it serves. These hold before, and after, when it raises the
        # signal once more: the process is to end by returning, with its directory released.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, server.handle_exit)
        try:
            asyncio.run(_run(server, app, settings, listener))
        except SystemExit as end:  # uvicorn's way to say that the app did not start
            msg = f"{type(app.state.start_error).__name__}: {app.state.start_error}"
            raise ServerStartError(msg) from end
        _log.info("stopped", extra=fields(pid=os.getpid()))
        return 0


def _check_owner(settings: Settings) -> None:
    """Warns of a directory, made by somebody else, in which others could put a key of theirs."""
    mode = stat.S_IMODE(settings.state_dir.stat().st_mode)
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        told = fields(state_dir=settings.state_dir, mode=f"{mode:o}", fix="chmod 700")
        _log.warning("other users may write in the state directory", extra=told)


def _check_door(settings: Settings, keys: KeyCheck, listener: socket.socket) -> None:
    """Refuses to listen for other machines before there is a key for them.

    The address that was bound decides, not the host that was asked for: a name may mean anything.
    """
    address = str(listener.getsockname()[0])
    if is_loopback(address):
        return
    try:
        keys.check_reachable()
    except UnusableKeyError as error:
        host = settings.host if settings.host == address else f"{settings.host} ({address})"
        msg = (
            f"{host} can be reached from other machines, and {error}.\n"
            "Create a key first, under any name, and hand it to whoever is to use the server:\n"
            f"  langchain-finetune keys create NAME --state-dir {shlex.quote(str(settings.state_dir))}\n"
            f"or set {VARIABLE} in the server's environment, or listen on 127.0.0.1 only"
        )
        raise ServerStartError(msg) from error


def _uvicorn_config(app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        # By default uvicorn believes a loopback peer's X-Forwarded-For: the peer's own address is wanted.
        proxy_headers=False,
        # There is nothing to talk to over a WebSocket, and the gate guards HTTP.
        ws="none",
        timeout_graceful_shutdown=_GRACEFUL_SECONDS,
    )


async def _run(server: "_Server", app: FastAPI, settings: Settings, listener: socket.socket) -> None:
    watchdog = asyncio.create_task(_stop_when_idle(server, app, settings))
    try:
        await server.serve(sockets=[listener])
    finally:
        watchdog.cancel()


async def _stop_when_idle(server: "_Server", app: FastAPI, settings: Settings) -> None:
    limit_seconds = settings.idle_minutes * 60 or math.inf
    look_seconds = min(_MAX_LOOK_SECONDS, max(0.05, limit_seconds / 10))
    while True:
        await asyncio.sleep(look_seconds)
        idle_seconds = app.state.activity.idle_seconds()
        if server.started and is_idle(settings, idle_seconds, app.state.store.jobs.num_unfinished):
            _log.info("stopping, as there is nothing to do", extra=fields(idle_seconds=round(idle_seconds)))
            server.should_exit = True


class _Server(uvicorn.Server):
    """uvicorn, telling when it listens."""

    def __init__(self, config: uvicorn.Config, on_listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_listening = on_listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._on_listening()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
