"""Sessions to training data, for the commands that convert."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import click

from langchain_finetune.cli.options import Gathered, added, build
from langchain_finetune.cli.output import fields
from langchain_finetune.handles import TrainingData

F = TypeVar("F", bound=Callable[..., Any])

_GATHERED: Final = Gathered("conversion")

_OPTIONS: Final = (
    _GATHERED.option(
        "--method",
        metavar="METHOD",
        help="What the rows are for: supervised (default), dpo, reinforcement.",
    ),
    _GATHERED.option(
        "--collapse", metavar="HOW", help="Growing histories: trajectory (default), last, none."
    ),
    _GATHERED.option("--redact", metavar="WHAT", help="What is taken out: secrets (default), pii, none."),
    _GATHERED.option("--deduplicate", metavar="HOW", help="Equal rows: exact (default), near, none."),
    _GATHERED.option(
        "--validation",
        "validation_fraction",
        type=float,
        metavar="SHARE",
        help="Rows for the validation loss.",
    ),
    _GATHERED.option(
        "--test", "test_fraction", type=float, metavar="SHARE", help="Rows held out for comparisons."
    ),
    _GATHERED.option(
        "--for", "target", metavar="PROVIDER:BASE", help="Whose rules rows are held to, whose tokens count."
    ),
    _GATHERED.option("--split-seed", "seed", type=int, metavar="N", help="Seed of the split."),
    _GATHERED.option("--min-examples", type=click.IntRange(1), metavar="N", help="Fewest training rows."),
    _GATHERED.option(
        "--on-error", type=click.Choice(["reject", "raise"]), help="Runs that cannot be trained on."
    ),
)


def conversion_options(function: F) -> F:
    """Add the converter's options; `conversion_of` has what they say."""
    return added(_OPTIONS, function)


converter_setting = _GATHERED.any_other("the converter")

conversion_of = _GATHERED.of
"""Returns what the options of `conversion_options` say, as settings of the converter."""


def converter_for(settings: Mapping[str, Any]) -> Any:
    """Return the converter of these settings.

    Raises:
        UsageError: It does not have one of them, or refuses its value.
    """
    from langchain_finetune.converters import TrainingDataConverter

    return build(TrainingDataConverter, **settings)


def _estimated(data: TrainingData) -> str:
    return " (as the runs recorded them)" if data.tokens_are_estimated else ""


def data_text(data: TrainingData) -> str:
    """Return what is told of training data to a person."""
    rejected = ", ".join(f"{count} {reason}" for reason, count in data.rejected_by_reason.items())
    redactions = ", ".join(f"{count} {kind}" for kind, count in data.redactions.items())
    rows = f"{data.num_train} train, {data.num_validation} validation, {data.num_test} test"
    return fields(
        [
            ("rows", rows),
            ("runs", data.num_runs),
            ("merged", data.num_merged or None),
            ("duplicates", data.num_duplicates or None),
            ("dropped", data.num_dropped or None),
            ("rejected", f"{data.num_rejected} ({rejected})" if rejected else data.num_rejected),
            ("redacted", redactions or None),
            ("tokens", data.num_tokens and f"{data.num_tokens}{_estimated(data)}"),
            ("fingerprint", data.fingerprint[:16]),
            ("train", data.train),
            ("validation", data.validation),
            ("test", data.test),
            ("report", data.report),
            ("card", data.card),
        ]
    )
