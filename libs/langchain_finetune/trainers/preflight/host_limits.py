"""What a host takes in a row and what "auto" means there, as data by the host's name.

Nothing stands here that no source says: what is None is told as not known. The sizes of files and the numbers
of rows are in `hosts.py`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from langchain_finetune.handles import Split
from langchain_finetune.hosts import AZURE, CUSTOM, FIREWORKS, LOCAL, NEBIUS, OPENAI, TOGETHER, Host
from langchain_finetune.runs import Reason
from langchain_finetune.trainers.jobs.base_names import base_of, without_date

AutoEpochs = Callable[[int], int]
"""Epochs that "auto" stands for, given the number of training rows."""

_HARMLESS: Final = frozenset(
    {
        Reason.INVALID_TOOL_ARGUMENTS,
        Reason.REFUSAL,
        Reason.NOTHING_TO_LEARN,
        Reason.SAME_OUTPUTS,
        Reason.TOO_LONG,
    }
)
_NOT_SAID: Final = "the host chooses, and does not say how"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLimits:
    """The limits of one host; by default nothing is known of it."""

    max_row_bytes: int | None = None
    max_row_tokens: Mapping[str, int] = field(default_factory=dict)
    """Tokens of one row by base, with or without its date; what is longer is cut off at its end."""

    max_rows: Mapping[tuple[str, Split], int] = field(default_factory=dict)
    """Most rows of a file by method and split, where a method has a limit of its own."""

    needs_validation: frozenset[str] = frozenset()
    """Methods that train only with a validation file."""

    takes_images: bool = True
    harmless: frozenset[Reason] = _HARMLESS
    """Rules of OpenAI's whose breach is told and does not keep the host from training."""

    auto_epochs: AutoEpochs | None = None
    """What "auto" means, None where that is not known."""

    auto_epochs_source: str = _NOT_SAID
    """Where the rule for "auto" is written down."""

    has_model_limits: bool = False
    """Whether it has, or may have, `GET /v1/fine_tuning/model_limits`."""

    def max_tokens_of(self, base: str) -> int | None:
        """Return the most tokens of one row on a base, None where that is not known."""
        name = base_of(base)
        return self.max_row_tokens.get(name) or self.max_row_tokens.get(without_date(name))


def openai_auto_epochs(num_rows: int) -> int:
    """Return what OpenAI's cookbook expects of "auto": three epochs, more for few rows, fewer for many."""
    if num_rows * 3 < 100:  # noqa: PLR2004  the cookbook's own figures, all of this function
        return min(25, 100 // max(1, num_rows))
    if num_rows * 3 > 25_000:  # noqa: PLR2004
        return max(1, 25_000 // num_rows)
    return 3


def local_auto_epochs(num_rows: int) -> int:
    """Return the epochs of the embedded server: about a hundred rows are seen, in at most four epochs."""
    return max(1, min(4, math.ceil(100 / max(1, num_rows))))


# The section on token limits of https://developers.openai.com/api/docs/guides/supervised-fine-tuning, and
# Azure's fine-tune-models page, 2026-11-22: the same figures.
_GPT_ROW_TOKENS: Final = {
    "gpt-4o": 65_536,
    "gpt-4o-mini": 65_536,
    "gpt-4.1": 65_536,
    "gpt-4.1-mini": 65_536,
    "gpt-4.1-nano": 32_768,
    "gpt-3.5-turbo": 16_385,
    "gpt-3.5-turbo-0125": 16_385,
    "gpt-3.5-turbo-1106": 16_385,
}
# https://developers.openai.com/api/docs/guides/reinforcement-fine-tuning, 2026-11-22
_GRADED_ROWS: Final[Mapping[tuple[str, Split], int]] = {
    ("reinforcement", "train"): 50_000,
    ("reinforcement", "validation"): 1_000,
}

LIMITS: Final[Mapping[str, HostLimits]] = {
    OPENAI.name: HostLimits(
        max_row_tokens=_GPT_ROW_TOKENS,
        max_rows=_GRADED_ROWS,
        needs_validation=frozenset({"reinforcement"}),
        auto_epochs=openai_auto_epochs,
        auto_epochs_source="OpenAI's cookbook, Chat_finetuning_data_prep; the service is free to differ",
        has_model_limits=True,
    ),
    # libs/finetune_server: config.Limits, jobs/validation.py, training/plan.py
    LOCAL.name: HostLimits(
        max_row_bytes=8 * 2**20,
        takes_images=False,
        harmless=frozenset({Reason.INVALID_TOOL_ARGUMENTS, Reason.REFUSAL}),
        auto_epochs=local_auto_epochs,
        auto_epochs_source="the embedded server's own rule",
        has_model_limits=True,
    ),
    # https://github.com/MicrosoftDocs/azure-ai-docs, articles/foundry/fine-tuning, 2026-11-22: it is not told
    # what "auto" means.
    AZURE.name: HostLimits(
        max_row_tokens=_GPT_ROW_TOKENS,
        max_rows=_GRADED_ROWS,
        needs_validation=frozenset({"reinforcement"}),
    ),
    # https://docs.tokenfactory.nebius.com/api-reference/introduction, 2026-11-22: no limit of a row's tokens,
    # no rule for epochs that are left out.
    NEBIUS.name: HostLimits(),
    # https://github.com/togethercomputer/together-py, 3.1.1, 2026-11-22: `fine_tuning.create(n_epochs=1)`.
    TOGETHER.name: HostLimits(
        auto_epochs=lambda _: 1, auto_epochs_source="the default of Together's SDK, 3.1.1"
    ),
    # https://github.com/fw-ai-external/python-sdk, 1.2.28, 2026-11-22: the rows are OpenAI's; neither a limit
    # of their tokens nor the epochs of a job that names none are told.
    FIREWORKS.name: HostLimits(),
    # Of a host of OpenAI's protocol it can at least be asked.
    CUSTOM.name: HostLimits(has_model_limits=True),
}
"""By the host's name."""

_UNKNOWN: Final = HostLimits()


def limits_of(host: Host) -> HostLimits:
    """Return what is known of a host's limits; nothing of one that is not listed."""
    return LIMITS.get(host.name, _UNKNOWN)
