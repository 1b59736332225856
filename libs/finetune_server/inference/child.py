"""An inference child's process: started, asked where it listens, ended."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from pathlib import Path

import orjson

from finetune_server.inference.completion import EngineError
from finetune_server.inference.engine_config import EngineConfig, write_config
from finetune_server.logs import set_aside_if_large

_COMMAND = (sys.executable, "-m", "finetune_server.inference")
_START_SECONDS = 300.0
"""A large model from a slow disk takes its time."""
_END_SECONDS = 5.0
# By default the computing threads wait for each other in a busy loop. When something else wants the same
# cores, a trainer say, that makes a start 10 times and a token 30 times slower (measured on 2 cores).
_ENVIRONMENT = {"OMP_WAIT_POLICY": "passive"}


async def start_child(config: EngineConfig, log_path: Path) -> tuple[Process, str]:
    """Start a child, and return it with its URL when it listens.

    Raises:
        EngineError: It did not come up.
    """
    process = await _spawn(log_path)
    try:
        return process, await asyncio.wait_for(_handshake(process, config), _START_SECONDS)
    except TimeoutError as error:
        await end_child(process)
        msg = f"it did not answer within {_START_SECONDS:.0f} seconds"
        raise EngineError(msg) from error
    except BaseException:
        await end_child(process)
        raise


async def end_child(process: Process) -> None:
    """Close the child's standard input, which ends it; kill it when it does not listen."""
    if process.stdin:
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), _END_SECONDS)
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _spawn(log_path: Path) -> Process:
    set_aside_if_large(log_path)
    # A session of its own: Ctrl-C is for the server, which then ends its children.
    with log_path.open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *_COMMAND,
            stdin=PIPE,
            stdout=PIPE,
            stderr=log,
            start_new_session=True,
            env=os.environ | _ENVIRONMENT,
        )


async def _handshake(process: Process, config: EngineConfig) -> str:
    if process.stdin is None or process.stdout is None:  # pragma: no cover - both are asked for
        raise EngineError
    with suppress(ConnectionError):  # a child that is gone is told below
        process.stdin.write(write_config(config))
        await process.stdin.drain()
    line = await process.stdout.readline()
    if not line:
        msg = f"its process ended with code {await process.wait()}"
        raise EngineError(msg)
    url: str = orjson.loads(line)["url"]
    return url
