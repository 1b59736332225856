"""`stop`: end the embedded server."""

from pathlib import Path

import click

from langchain_finetune.cli.output import json_option, print_result, say
from langchain_finetune.cli.server_process import server_directory


@click.command("stop")
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="The server's own directory (default: `server` in $LANGCHAIN_FINETUNE_HOME, else in the platform's "
    "data directory).",
)
@json_option
def command(state_dir: Path | None, *, is_json: bool) -> None:
    """End the embedded server.

    A job that trains writes a checkpoint first, and goes on with the next start.
    """
    from langchain_finetune.trainers.local.stop import stop_server

    directory = state_dir.absolute() if state_dir else server_directory()
    has_stopped = stop_server(directory, tell=say)
    if is_json:
        print_result({"stopped": has_stopped, "directory": str(directory)}, is_json=True)
    elif has_stopped:
        print_result(f"stopped the embedded server of {directory}")
    else:
        say(f"no embedded server runs in {directory}")
