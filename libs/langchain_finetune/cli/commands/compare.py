"""`compare`: a tuned model against its base on held-out rows."""

from pathlib import Path

import click

from langchain_finetune.cli.comparing import compared, comparison_of, comparison_options, gate_of
from langchain_finetune.cli.exits import ExitCode
from langchain_finetune.cli.named import MODEL_HELP, model_at
from langchain_finetune.cli.options import host_options
from langchain_finetune.cli.output import json_option, print_result, quiet_option


@click.command(
    "compare",
    help="Compare a tuned model with its base on rows that neither was trained on.\n\n"
    "With --min-gain or --max-regressions the exit code is 8 where the tuned model is not better than that. "
    f"Answers are kept: nothing is asked twice. {MODEL_HELP}",
)
@click.argument("model")
@click.option(
    "--baseline", metavar="MODEL", help="Compare with this one; else with the base it was trained from."
)
@comparison_options
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the report there, too.",
)
@host_options
@quiet_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    model: str,
    baseline: str | None,
    html: Path | None,
    base_url: str | None,
    api_key_env: str | None,
    *,
    is_quiet: bool,
    is_json: bool,
) -> int:
    """Compare."""
    from langchain_finetune.cli.talk import Talk

    gate = gate_of(context) or None
    tuned = model_at(model, base_url, api_key_env)
    with Talk(is_quiet=is_quiet) as talk:
        report = compared(tuned, comparison_of(context), gate, talk.config, baseline)
    if html is not None:
        from langchain_finetune.cli.commands.report import write

        write(report, html)
    print_result(report, is_json=is_json)
    return ExitCode.DONE if gate is None or report.decision.promoted else ExitCode.NOT_BETTER
