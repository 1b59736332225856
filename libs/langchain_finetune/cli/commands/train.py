"""`train`: fine-tune a base model on rows."""

import click

from langchain_finetune.cli.exits import ExitCode
from langchain_finetune.cli.options import host_options
from langchain_finetune.cli.output import fields, json_option, print_result, quiet_option
from langchain_finetune.cli.training import (
    model_text,
    provider_of,
    told_model,
    trainer_for,
    trainer_setting,
    training_of,
    training_options,
)


@click.command("train")
@click.argument("target", metavar="PROVIDER:BASE")
@click.argument("data")
@training_options
@click.option("--method", metavar="METHOD", help="Method of training, where rows do not say it themselves.")
@trainer_setting
@host_options
@click.option("--dry-run", is_flag=True, help="Look ahead: rows, tokens, cost, time; create nothing.")
@click.option("--no-wait", is_flag=True, help="Create the job and leave it.")
@quiet_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    target: str,
    data: str,
    method: str | None,
    base_url: str | None,
    api_key_env: str | None,
    *,
    dry_run: bool,
    no_wait: bool,
    is_quiet: bool,
    is_json: bool,
) -> int | None:
    """Fine-tune a base model on rows and wait for the tuned model.

    DATA is what `convert --json` prints (`-` reads it from standard input), the folder of its files or its
    fingerprint, or the path of rows in JSON Lines. The same data and settings find the same job: nothing is
    trained, or paid for, twice.
    """
    from langchain_finetune.cli.sources import data_at
    from langchain_finetune.cli.talk import Talk

    rows = data_at(data)
    method = method or (None if isinstance(rows, str) else rows.method)
    settings = training_of(context, base_url, api_key_env)
    trainer = trainer_for(target, {**({"method": method} if method else {}), **settings})
    with Talk(is_quiet=is_quiet, provider=provider_of(target)) as talk:
        if dry_run:
            return show_preflight(trainer.preflight(rows), is_json=is_json)
        if no_wait:
            job = trainer.submit(rows)
            told = {"job": f"{provider_of(target)}:{job.id}", "status": job.status, "reused": job.is_reused}
            print_result(told, fields(list(told.items())), is_json=is_json)
            return None
        told = told_model(trainer.invoke(rows, talk.config), is_reused=talk.is_reused)
    print_result(told, model_text(told), is_json=is_json)
    return None


def show_preflight(preflight: object, *, is_json: bool) -> int:
    """Print what lies ahead, and return the exit code that the training itself would end with."""
    told = dict(preflight.model_dump(mode="json"), is_ready=preflight.is_ready)  # type: ignore[attr-defined]
    print_result(told, str(preflight), is_json=is_json)
    if told["is_ready"]:
        return ExitCode.DONE
    return ExitCode.NO_DATA if told["num_errors"] else ExitCode.OVER_COST_LIMIT
