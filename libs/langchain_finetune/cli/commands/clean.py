"""`clean`: remove what has grown old."""

import json
import math
import subprocess
import sys
from dataclasses import asdict
from typing import Any

import click

from langchain_finetune.cli.exits import ExitCode
from langchain_finetune.cli.output import json_option, print_result
from langchain_finetune.cli.server_process import server_command, server_directory


def _days(_: click.Context, __: click.Parameter, value: float) -> float:
    if not value >= 0 or math.isinf(value):
        msg = f"{value} is no age in days"
        raise click.BadParameter(msg)
    return value


@click.command("clean")
@click.option(
    "--older-than", metavar="DAYS", type=float, callback=_days, required=True, help="Age from which they go."
)
@json_option
def command(older_than: float, *, is_json: bool) -> int:
    """Remove recorded sessions, training rows and the server's files that have grown old.

    Of the embedded server of the same state directory go uploaded files, result files and the logs of jobs
    that have ended. Jobs, tuned models, recordings, snapshots and comparisons stay.
    """
    from langchain_finetune._spool import clean

    cleaned = clean(older_than)
    options = ["--older-than", str(older_than)]
    # The server is the only writer of its store: it, or its own command where none runs, removes the rest.
    has_server = server_directory().exists()
    if is_json:
        return _clean_as_json(cleaned, server_command("clean", [*options, "--json"]) if has_server else None)
    print_result(
        f"removed {cleaned.num_sessions} recorded session files and {cleaned.num_data} training data sets, "
        f"{cleaned.num_bytes / 1e6:.1f} MB"
    )
    sys.stdout.flush()
    if not has_server:
        return ExitCode.DONE
    return subprocess.run(server_command("clean", options), check=False).returncode  # noqa: S603  our own module


def _clean_as_json(cleaned: Any, command: list[str] | None) -> int:
    told: dict[str, Any] = {**asdict(cleaned), "server": None}
    code = 0
    if command is not None:
        done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)  # noqa: S603  our own module
        code, told["server"] = done.returncode, json.loads(done.stdout) if done.stdout else None
    print_result(told, is_json=True)
    return code
