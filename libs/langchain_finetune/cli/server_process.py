"""The embedded server's own commands, which run as `python -m finetune_server`."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from langchain_finetune._spool import state_directory, state_path


def server_directory() -> Path:
    """Return the directory of the embedded server, in the state directory."""
    return state_directory() / "server"


def server_command(command: str, options: Sequence[str]) -> list[str]:
    """Return the command line of one of the server's commands.

    Args:
        command: `serve`, `keys` or `clean`.
        options: Its own, passed on as they are.
    """
    own = [] if command == "serve" else [command]
    # A directory that is named needs no other: a system's user may have no home to make one in.
    is_named = any(option.partition("=")[0] == "--state-dir" for option in options)
    directory = state_path() / "server" if is_named else server_directory()
    return [sys.executable, "-m", "finetune_server", *own, "--default-state-dir", str(directory), *options]


def become(command: list[str]) -> int:
    """Let a command take this process's place: signals and the exit code are its own."""
    sys.stdout.flush()
    os.execv(sys.executable, command)  # noqa: S606  our own interpreter and module, no shell
