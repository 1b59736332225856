"""A server's life in this process: claim the directory, listen, serve, stop, let go."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from finetune_server.app import create_app
from finetune_server.config import Settings
from finetune_server.keys import load_or_make_key
from finetune_server.lifecycle import Announcement, ServerStartError, StateDirectory, is_idle
from finetune_server.logs import set_up_logging

_CLAIM_SECONDS = 30.0
_GRACEFUL_SECONDS = 5
_MAX_LOOK_SECONDS = 10.0
_log = logging.getLogger(__name__)


def run(settings: Settings) -> int:
    """Serves until told to stop, or says where another server does already; gives the exit code."""
    os.umask(0o077)
    set_up_logging(settings.log_level)
    try:
        claimed = StateDirectory.claim(settings, wait_seconds=_CLAIM_SECONDS)
        if isinstance(claimed, Announcement):
            _say(f"finetune_server already listens on {claimed.base_url} (process {claimed.pid})")
            return 0
        try:
            return _serve(settings, claimed)
        finally:
            claimed.release()
    except (ServerStartError, OSError) as error:
        sys.stderr.write(f"finetune_server cannot start: {error}\n")
        return 1


def _serve(settings: Settings, directory: StateDirectory) -> int:
    app = create_app(settings, key=load_or_make_key(settings.key_file))
    config = uvicorn.Config(
        app,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACEFUL_SECONDS,
    )
    with directory.listen() as listener:

        def announce() -> None:
            told = directory.announce(listener.getsockname()[1])
            _say(f"finetune_server listens on {told.base_url} (key in {settings.key_file})")

        server = _Server(config, announce)
        # uvicorn has its own handlers while it serves. These hold before, and after, when it raises the
        # signal once more: the process is to end by returning, with its directory released.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, server.handle_exit)
        try:
            asyncio.run(_run(server, app, settings, listener))
        except SystemExit as end:  # uvicorn's way to say that the app did not start
            msg = f"{type(app.state.start_error).__name__}: {app.state.start_error}"
            raise ServerStartError(msg) from end
        return 0


async def _run(server: "_Server", app: FastAPI, settings: Settings, listener: socket.socket) -> None:
    watchdog = asyncio.create_task(_stop_when_idle(server, app, settings))
    try:
        await server.serve(sockets=[listener])
    finally:
        watchdog.cancel()


async def _stop_when_idle(server: "_Server", app: FastAPI, settings: Settings) -> None:
    look_seconds = min(_MAX_LOOK_SECONDS, max(0.05, settings.idle_minutes * 60 / 10))
    while True:
        await asyncio.sleep(look_seconds)
        idle_seconds = app.state.activity.idle_seconds()
        if server.started and is_idle(settings, idle_seconds, app.state.store.jobs.num_unfinished):
            _log.info("idle for %.0f s: stopping", idle_seconds)
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
