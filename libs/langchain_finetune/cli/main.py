"""The `langchain-finetune` command: results go to stdout, talk to stderr."""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from langchain_finetune._spool import clean, state_directory, state_path
from langchain_finetune._version import __version__
from langchain_finetune.errors import FineTuneError

_OF_THE_SERVER = {
    "serve": "run the embedded server in the foreground",
    "keys": "make, list and delete the keys that other machines need",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 failed, 2 not understood."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given and given[0] in _OF_THE_SERVER:
            return _become(_server_command(given[0], given[1:]))
        options = _parser().parse_args(given)
        if options.command == "stop":
            return _stop(options.state_dir)
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
    for command, purpose in _OF_THE_SERVER.items():
        commands.add_parser(command, help=f"{purpose}; `{command} --help` has its options")
    stopping = commands.add_parser("stop", help="end the embedded server")
    stopping.add_argument(
        "--state-dir",
        metavar="DIR",
        type=Path,
        help="the server's own directory (default: `server` in $LANGCHAIN_FINETUNE_HOME, else in the "
        "platform's data directory)",
    )
    cleaning = commands.add_parser(
        "clean",
        help="remove recorded sessions, training rows and the server's files that have grown old",
        description="Remove recorded sessions and training rows, and, of the embedded server of the same "
        "state directory, uploaded files, result files and the logs of jobs that have ended. Jobs and tuned "
        "models stay.",
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


def _server_command(command: str, options: Sequence[str]) -> list[str]:
    own = [] if command == "serve" else [command]
    # A directory that is named needs no other: a system's user may have no home to make one in.
    is_named = any(option.partition("=")[0] == "--state-dir" for option in options)
    directory = state_path() / "server" if is_named else _server_directory()
    return [sys.executable, "-m", "finetune_server", *own, "--default-state-dir", str(directory), *options]


def _become(command: list[str]) -> int:
    sys.stdout.flush()
    # The server takes this process's place: signals and the exit code are its own.
    os.execv(sys.executable, command)  # noqa: S606  our own interpreter and module, no shell


def _stop(state_dir: Path | None) -> int:
    # The trainers bring in langchain-openai, which takes seconds, and only this command needs them.
    from langchain_finetune.trainers.local.stop import stop_server  # noqa: PLC0415

    directory = state_dir.absolute() if state_dir else _server_directory()
    if stop_server(directory, tell=lambda line: print(line, file=sys.stderr, flush=True)):
        print(f"stopped the embedded server of {directory}")
    else:
        print(f"no embedded server runs in {directory}", file=sys.stderr)
    return 0


def _clean(older_than_days: float) -> int:
    cleaned = clean(older_than_days)
    print(
        f"removed {cleaned.num_sessions} recorded session files and {cleaned.num_data} training data sets, "
        f"{cleaned.num_bytes / 1e6:.1f} MB",
        flush=True,
    )
    if not _server_directory().exists():
        return 0
    # The server is the only writer of its store: it, or its own command where none runs, removes the rest.
    command = _server_command("clean", ["--older-than", str(older_than_days)])
    return subprocess.run(command, check=False).returncode  # noqa: S603  our own interpreter and module


if __name__ == "__main__":
    sys.exit(main())
