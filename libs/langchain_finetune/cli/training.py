"""Training data to a tuned model, for the commands that train."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import click

from langchain_finetune.cli.options import (
    Duration,
    Gathered,
    Setting,
    added,
    build,
    host_settings,
)
from langchain_finetune.cli.output import fields

F = TypeVar("F", bound=Callable[..., Any])

_GATHERED: Final = Gathered(
    "training",
    renamed={"max_cost": "max_cost_usd", "price": "usd_per_million_tokens", "served_as": "alias"},
    dicts=("hyperparameters",),
    within={"epochs": ("hyperparameters", "n_epochs"), "batch_size": ("hyperparameters", "batch_size")},
    negated={"no_validation": "validation"},
)
_NOT_AN_ARGUMENT: Final = ("api_key", "client", "async_client")

_OPTIONS: Final = (
    _GATHERED.option(
        "--epochs", type=click.IntRange(1), metavar="N", help="Passes over the rows; else the host's choice."
    ),
    _GATHERED.option(
        "--batch-size", type=click.IntRange(1), metavar="N", help="Rows of a step; else the host's choice."
    ),
    _GATHERED.option(
        "--hyperparameter",
        "hyperparameters",
        multiple=True,
        type=Setting(),
        metavar="NAME=VALUE",
        help="Any other hyperparameter of the host.",
    ),
    _GATHERED.option("--suffix", metavar="NAME", help="Part of the tuned model's name."),
    _GATHERED.option("--seed", type=int, metavar="N", help="Seed of the training."),
    _GATHERED.option(
        "--max-cost", type=click.FloatRange(0), metavar="USD", help="Refuse a job that would cost more."
    ),
    _GATHERED.option(
        "--price", type=click.FloatRange(0), metavar="USD", help="Price of a million trained tokens."
    ),
    _GATHERED.option("--no-validation", is_flag=True, help="Do not send the validation rows."),
    _GATHERED.option("--retrain", is_flag=True, help="Make a new job although there is one."),
    _GATHERED.option("--served-as", metavar="FT_NAME", help="Further ft: name at the embedded server."),
    _GATHERED.option(
        "--timeout", type=Duration(), metavar="DURATION", help="How long to wait: 90, 15m, 2h; 24h if absent."
    ),
    _GATHERED.option(
        "--cancel-on-interrupt", is_flag=True, help="Ctrl-C cancels the job, which else goes on."
    ),
    _GATHERED.option(
        "--delete-uploads-after", is_flag=True, help="Delete the uploads when the job has ended."
    ),
)


def training_options(function: F) -> F:
    """Add the trainer's options; `training_of` has what they say."""
    return added(_OPTIONS, function)


trainer_setting = _GATHERED.any_other("the trainer")


def training_of(
    context: click.Context, base_url: str | None = None, api_key_env: str | None = None
) -> dict[str, Any]:
    """Return what the options of `training_options` and `host_options` say, as settings of the trainer.

    Raises:
        UsageError: There is a key among them.
    """
    settings = _GATHERED.of(context)
    refuse_keys(settings)
    return {**settings, **host_settings(base_url, api_key_env)}


def refuse_keys(settings: Mapping[str, Any]) -> None:
    """Refuse settings that would put a key into a history of commands, or into a file.

    Raises:
        UsageError: There is one.
    """
    if found := [name for name in _NOT_AN_ARGUMENT if name in settings]:
        msg = f"{found[0]} cannot be given here: the host's key is read from the environment (--api-key-env)."
        raise click.UsageError(msg)


def provider_of(target: str) -> str:
    """Return the provider of a target; one without is a base at any host of OpenAI's protocol."""
    provider, colon, _ = target.partition(":")
    return provider if colon else "custom"


def trainer_for(target: str, settings: Mapping[str, Any]) -> Any:
    """Return the trainer of these settings.

    Raises:
        UsageError: It does not have one of them, or refuses its value.
        UnknownProviderError: The target names none.
    """
    from langchain_finetune.trainers import FineTuneRunnable

    try:
        return build(FineTuneRunnable, target, **settings)
    except ValueError as e:
        if type(e) is ValueError:
            raise click.UsageError(str(e)) from e
        raise


def told_model(model: Any, *, is_reused: bool) -> dict[str, Any]:
    """Return what is told of a tuned model, a `FineTunedModel` and whether it was there already: no key."""
    from langchain_finetune.trainers.served import tuned_model_of

    return {**tuned_model_of(model).model_dump(mode="json"), "reused": is_reused}


def model_text(told: Mapping[str, Any]) -> str:
    """Return the same for a person."""
    reused = " (found again: nothing was trained or paid)" if told["reused"] else ""
    return fields(
        [
            ("model", told["model"]),
            ("at", told["base_url"]),
            ("base", told["base"]),
            ("job", f"{told['provider']}:{told['job_id']}{reused}"),
        ]
    )
