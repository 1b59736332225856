"""The options of the server."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from finetune_server.cli.parser import command_parser, within
from finetune_server.config import MIB, Limits, Settings
from finetune_server.keys import VARIABLE
from finetune_server.logs import LogFormat, LogLevel

_LARGEST = 10**9
_DESCRIPTION = "Run the fine-tuning server of a state directory, or say where it runs already."
_EPILOG = f"""\
1 MB is 2**20 bytes. Beyond the loopback a key is compulsory: `langchain-finetune keys create NAME`
makes one, or set {VARIABLE} in the environment (24 characters at least).
SIGTERM ends the server; a job that trains goes on with the next start."""


def read_settings(arguments: Sequence[str]) -> Settings:
    """The settings that a command line asks for; ends the process where it makes no sense."""
    given = serve_parser(arguments).parse_args(arguments)
    return Settings(
        state_dir=given.state_dir,
        host=given.host,
        port=given.port,
        idle_minutes=given.idle_minutes,
        max_concurrent_jobs=given.max_concurrent_jobs,
        log_level=given.log_level,
        log_format=given.log_format,
        log_file=given.log_file.absolute() if given.log_file else None,
        limits=Limits(
            max_file_bytes=given.max_file_mb * MIB,
            max_body_bytes=given.max_body_mb * MIB,
            max_row_bytes=given.max_row_mb * MIB,
            max_rows=given.max_rows,
            max_pending_jobs=given.max_pending_jobs,
            min_free_bytes=given.min_free_mb * MIB,
        ),
    )


def serve_parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of the server's options."""
    parser = command_parser("serve", arguments, _DESCRIPTION)
    parser.epilog = _EPILOG
    parser.usage = "%(prog)s [--state-dir DIR] [options]"
    if parser.get_default("state_dir") is None:
        parser.usage = "%(prog)s --state-dir DIR [options]"
    _add_place(parser.add_argument_group("where it listens"))
    _add_work(parser.add_argument_group("how it works"))
    _add_limits(parser.add_argument_group("limits; what is over them is refused"))
    _add_log(parser.add_argument_group("log"))
    return parser


def _add_place(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--host",
        type=_host,
        default=Settings.host,
        help="address or name; 0.0.0.0 and :: are all addresses (default: %(default)s, this machine alone)",
    )
    group.add_argument(
        "--port",
        type=within(int, 0, 2**16 - 1),
        help="0 is any free one (default: the port of the last time, else a free one)",
    )


def _add_work(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--max-concurrent-jobs",
        metavar="N",
        type=within(int, 1, 1000),
        default=Settings.max_concurrent_jobs,
        help="jobs that train at a time (default: %(default)s)",
    )
    group.add_argument(
        "--idle-minutes",
        metavar="MINUTES",
        type=within(float, 0.0, float(_LARGEST)),
        default=Settings.idle_minutes,
        help="stop after so long without a request or a job; 0 is never (default: %(default)g)",
    )


def _add_limits(group: argparse._ArgumentGroup) -> None:
    options = (
        ("--max-file-mb", "MB", Limits.max_file_bytes // MIB, "one uploaded file"),
        ("--max-body-mb", "MB", Limits.max_body_bytes // MIB, "the body of any other request"),
        ("--max-row-mb", "MB", Limits.max_row_bytes // MIB, "one row of a file"),
        ("--max-rows", "N", Limits.max_rows, "rows of a job's file"),
        ("--max-pending-jobs", "N", Limits.max_pending_jobs, "jobs that wait or train"),
        ("--min-free-mb", "MB", Limits.min_free_bytes // MIB, "disk that an upload or a job must leave free"),
    )
    for name, unit, default, what in options:
        number = within(int, 0 if name == "--min-free-mb" else 1, _LARGEST)
        group.add_argument(
            name, metavar=unit, type=number, default=default, help=f"{what} (default: {default})"
        )


def _add_log(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--log-level",
        choices=get_args(LogLevel),
        default=Settings.log_level,
        help="the least that is told (default: %(default)s)",
    )
    group.add_argument(
        "--log-format",
        choices=get_args(LogFormat),
        default=Settings.log_format,
        help="one line an entry, as text or as a JSON object (default: %(default)s)",
    )
    group.add_argument(
        "--log-file",
        metavar="FILE",
        type=Path,
        help="instead of standard error; 10 MB, and three older ones are kept",
    )


def _host(text: str) -> str:
    # The empty name would be every address.
    if not text.strip():
        msg = "no host is named"
        raise argparse.ArgumentTypeError(msg)
    return text.strip()
