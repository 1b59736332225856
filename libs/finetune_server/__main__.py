"""`python -m finetune_server`: runs the server of a state directory, or says where it runs already."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from finetune_server.config import Settings
from finetune_server.serving import run

Number = TypeVar("Number", int, float)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and gives its exit code."""
    return run(_parse(arguments))


def _parse(arguments: Sequence[str] | None) -> Settings:
    parser = argparse.ArgumentParser(prog="python -m finetune_server", description=__doc__)
    add = parser.add_argument
    add("--state-dir", type=Path, required=True, help="the directory that the server owns")
    add("--host", default="127.0.0.1", help="where to listen (default: %(default)s)")
    add("--port", type=_port, help="default: the port of the last time, else a free one")
    add(
        "--idle-minutes",
        type=_minutes,
        default=30.0,
        help="stop after so long without a request or a job; 0: never (default: %(default)s)",
    )
    add(
        "--max-concurrent-jobs",
        type=_count,
        default=1,
        help="how many jobs train at a time (default: %(default)s)",
    )
    add("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    given = parser.parse_args(arguments)
    return Settings(
        state_dir=given.state_dir.absolute(),
        host=given.host,
        port=given.port,
        idle_minutes=given.idle_minutes,
        max_concurrent_jobs=given.max_concurrent_jobs,
        log_level=given.log_level,
    )


def _port(text: str) -> int:
    return _bounded(int(text), 0, 2**16 - 1)


def _count(text: str) -> int:
    return _bounded(int(text), 1, 1000)


def _minutes(text: str) -> float:
    return _bounded(float(text), 0.0, 1e9)


def _bounded(value: Number, low: Number, high: Number) -> Number:
    if not low <= value <= high:  # a NaN neither
        msg = f"not between {low} and {high}"
        raise argparse.ArgumentTypeError(msg)
    return value


if __name__ == "__main__":
    sys.exit(main())
