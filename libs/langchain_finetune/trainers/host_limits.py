"""What a host takes and what "auto" means there, as data by the host's name; a new host adds its row here."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from langchain_finetune.hosts import LOCAL, OPENAI, Host
from langchain_finetune.runs import Reason
from langchain_finetune.trainers.base_names import base_of, without_date

AutoEpochs = Callable[[int], int]
"""Epochs that "auto" stands for, given the number of training rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLimits:
    """The limits of one host."""

    max_file_bytes: int
    max_rows: int | None = None
    max_row_bytes: int | None = None
    max_row_tokens: Mapping[str, int] = field(default_factory=dict)
    """Tokens of one row by base, with or without its date; what is longer is cut off at its end."""

    takes_images: bool = True
    harmless: frozenset[Reason] = frozenset()
    """Rules of OpenAI's whose breach is told and does not keep the host from training."""

    auto_epochs: AutoEpochs
    auto_epochs_source: str
    """Where the rule for "auto" is written down."""

    has_model_limits: bool = False
    """Whether it has `GET /v1/fine_tuning/model_limits`."""

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


_MIB: Final = 1 << 20
_HARMLESS: Final = frozenset(
    {Reason.INVALID_TOOL_ARGUMENTS, Reason.REFUSAL, Reason.NOTHING_TO_LEARN, Reason.TOO_LONG}
)

# https://developers.openai.com/api/docs/guides/supervised-fine-tuning and the files reference, 2026-11-22
_OPENAI: Final = HostLimits(
    max_file_bytes=512 * _MIB,
    # The guide's section on token limits; Azure's fine-tune-models page has the same figures.
    max_row_tokens={
        "gpt-4o": 65_536,
        "gpt-4o-mini": 65_536,
        "gpt-4.1": 65_536,
        "gpt-4.1-mini": 65_536,
        "gpt-4.1-nano": 32_768,
        "gpt-3.5-turbo": 16_385,
        "gpt-3.5-turbo-0125": 16_385,
        "gpt-3.5-turbo-1106": 16_385,
    },
    harmless=_HARMLESS,
    auto_epochs=openai_auto_epochs,
    auto_epochs_source="OpenAI's cookbook, Chat_finetuning_data_prep; the service is free to differ",
    has_model_limits=True,
)

# libs/finetune_server: config.Limits, jobs/validation.py, training/plan.py
_LOCAL: Final = HostLimits(
    max_file_bytes=512 * _MIB,
    max_rows=1_000_000,
    max_row_bytes=8 * _MIB,
    takes_images=False,
    harmless=frozenset({Reason.INVALID_TOOL_ARGUMENTS, Reason.REFUSAL}),
    auto_epochs=local_auto_epochs,
    auto_epochs_source="the embedded server's own rule",
    has_model_limits=True,
)

LIMITS: Final[Mapping[str, HostLimits]] = {OPENAI.name: _OPENAI, LOCAL.name: _LOCAL}
"""By the host's name."""


def limits_of(host: Host) -> HostLimits:
    """Return the limits of a host; one that is not listed is taken for one with OpenAI's."""
    return LIMITS.get(host.name, _OPENAI)
