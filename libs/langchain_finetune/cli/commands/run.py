"""`run`: a whole pipe, from a file or from options."""

from pathlib import Path
from typing import Any

import click

from langchain_finetune.cli.comparing import comparison_of, comparison_options, gate_of
from langchain_finetune.cli.converting import conversion_of, conversion_options, data_text
from langchain_finetune.cli.exits import ExitCode
from langchain_finetune.cli.options import host_options
from langchain_finetune.cli.output import json_option, print_result, quiet_option, say
from langchain_finetune.cli.sources import selection_of, selection_options
from langchain_finetune.cli.training import training_of, training_options


@click.command("run")
@click.argument("pipe", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=False)
@click.option("--source", metavar="SOURCE", help="Where the runs are, as in `select`.")
@click.option("--to", "target", metavar="PROVIDER:BASE", help="Where to train, on which base.")
@selection_options
@conversion_options
@training_options
@click.option("--compare", "compares", is_flag=True, help="Compare the tuned model with its base.")
@comparison_options
@click.option("--alias", metavar="NAME", help="Alias to move to the tuned model, if it passes the gate.")
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Report of the comparison.",
)
@host_options
@click.option("--dry-run", is_flag=True, help="Load, convert and look ahead; train nothing.")
@quiet_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    pipe: Path | None,
    source: str | None,
    target: str | None,
    alias: str | None,
    report: Path | None,
    base_url: str | None,
    api_key_env: str | None,
    *,
    compares: bool,
    dry_run: bool,
    is_quiet: bool,
    is_json: bool,
) -> int:
    """Load, convert, train, compare: a whole pipe.

    PIPE is a YAML or JSON file, see docs/cli.md; options go before what it says. A second run with the same
    data and settings finds the finished job, and trains and pays for nothing.
    """
    from langchain_finetune.cli.pipe_file import read_pipe
    from langchain_finetune.cli.running import Running

    read = read_pipe(pipe)
    given = {
        "source": source or read.source,
        "select": {**read.select, **selection_of(context)},
        "convert": {**read.convert, **conversion_of(context)},
        "target": target or read.target,
        "train": _trained(read.train, training_of(context, base_url, api_key_env)),
        "compare": _compared(read.compare, comparison_of(context), compares=compares),
        "gate": {**(read.gate or {}), **gate_of(context)}
        if read.gate is not None or gate_of(context)
        else None,
        "alias": alias or read.alias,
        "report": report or read.report,
    }
    running = Running(read.model_copy(update=given), is_quiet=is_quiet)
    if dry_run:
        from langchain_finetune.cli.commands.train import show_preflight

        data, preflight = running.look_ahead()
        say(data_text(data))
        return show_preflight(preflight, is_json=is_json)
    outcome = running.run()
    print_result(outcome.told(), outcome.text(), is_json=is_json)
    return ExitCode.DONE if outcome.is_better is not False else ExitCode.NOT_BETTER


def _trained(read: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    both = {**(read.get("hyperparameters") or {}), **(given.get("hyperparameters") or {})}
    return {**read, **given, **({"hyperparameters": both} if both else {})}


def _compared(
    read: bool | dict[str, Any],  # noqa: FBT001  as the file has it
    given: dict[str, Any],
    *,
    compares: bool,
) -> bool | dict[str, Any]:
    if given or isinstance(read, dict):
        return {**(read if isinstance(read, dict) else {}), **given}
    return read or compares
