"""`openai`: leaving OpenAI's fine-tuning."""

import click

from langchain_finetune.cli.options import host_options, host_settings
from langchain_finetune.cli.output import json_option, print_result, quiet_option
from langchain_finetune.cli.training import (
    model_text,
    provider_of,
    refuse_keys,
    told_model,
    trainer_setting,
    training_of,
    training_options,
)


@click.group("openai")
def command() -> None:
    """Leave OpenAI's fine-tuning: take stock, train elsewhere.

    The old account is that of OPENAI_API_KEY (and OPENAI_BASE_URL).
    """


@command.command("inventory")
@json_option
def inventory(*, is_json: bool) -> None:
    """List the account's tuned models: base, job, training file, days left."""
    from langchain_finetune.trainers import inventory as take_stock

    print_result(take_stock(), is_json=is_json)


@command.command("port")
@click.argument("job")
@click.option("--to", "target", required=True, metavar="PROVIDER:BASE", help="Where to train, on which base.")
@click.option("--keep-name", is_flag=True, help="The embedded server answers under the old ft: name too.")
@training_options
@trainer_setting
@host_options
@click.option("--dry-run", is_flag=True, help="Fetch the data and look ahead; create nothing.")
@quiet_option
@json_option
@click.pass_context
def port(
    context: click.Context,
    job: str,
    target: str,
    base_url: str | None,
    api_key_env: str | None,
    *,
    keep_name: bool,
    dry_run: bool,
    is_quiet: bool,
    is_json: bool,
) -> int | None:
    """Train another base on the data of a JOB of OpenAI's, with its settings where they mean the same."""
    from langchain_finetune.cli.commands.train import show_preflight
    from langchain_finetune.cli.options import build
    from langchain_finetune.cli.talk import Talk
    from langchain_finetune.trainers import FineTuneRunnable

    settings = training_of(context)
    refuse_keys(settings)
    settings |= host_settings(base_url, api_key_env)
    with Talk(is_quiet=is_quiet, provider=provider_of(target)) as talk:
        migration = build(
            FineTuneRunnable.from_openai_job, job, target=target, keep_name=keep_name, **settings
        )
        talk.say(str(migration))
        if dry_run:
            return show_preflight(migration.runnable.preflight(migration.data), is_json=is_json)
        told = told_model(migration.retrain(talk.config), is_reused=talk.is_reused)
    print_result(told, model_text(told), is_json=is_json)
    return None
