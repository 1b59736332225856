"""The `langchain-finetune` command: results go to stdout, talk to stderr."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from langchain_finetune._spool import clean, state_directory
from langchain_finetune._version import __version__
from langchain_finetune.errors import FineTuneError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 failed, 2 not understood."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command != "serve":
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        if options.command == "serve":
            return _serve(rest)
        if options.command == "stop":
            return _stop()
        return _clean(options.older_than)
    except FineTuneError as e:
        print(f"langchain-finetune: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="langchain-finetune", description="Look after the embedded fine-tuning server and its state."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser(
        "serve",
        add_help=False,
        help="run the embedded server in the foreground; its own options are passed on: --host, --port, "
        "--idle-minutes, --log-level",
    )
    commands.add_parser("stop", help="end the embedded server of this state directory")
    cleaning = commands.add_parser(
        "clean", help="remove recorded sessions and training rows that have grown old"
    )
    cleaning.add_argument(
        "--older-than", metavar="DAYS", type=_days, required=True, help="age in days from which they go"
    )
    return parser


def _days(text: str) -> float:
    days = float(text)
    if not days >= 0:
        raise ValueError(text)
    return days


def _server_directory() -> Path:
    return state_directory() / "server"


def _serve(options: Sequence[str]) -> int:
    command = [sys.executable, "-m", "finetune_server", "--state-dir", str(_server_directory())]
    # In the foreground a server stays until it is stopped, unless its own options say otherwise.
    command += ["--idle-minutes", "0", *options]
    sys.stdout.flush()
    # The server takes this process's place: signals and the exit code are its own.
    os.execv(sys.executable, command)  # noqa: S606  our own interpreter and module, no shell


def _stop() -> int:
    # The trainers bring in langchain-openai, which takes seconds, and only this command needs them.
    from langchain_finetune.trainers.local_stop import stop_server  # noqa: PLC0415

    directory = _server_directory()
    if stop_server(directory):
        print(f"stopped the embedded server of {directory}")
    else:
        print(f"no embedded server runs in {directory}", file=sys.stderr)
    return 0


def _clean(older_than_days: float) -> int:
    cleaned = clean(older_than_days)
    print(
        f"removed {cleaned.num_sessions} recorded session files and {cleaned.num_data} training data sets, "
        f"{cleaned.num_bytes / 1e6:.1f} MB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
