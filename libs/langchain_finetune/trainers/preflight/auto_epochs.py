"""What "auto" epochs mean at each host, as data by the host's name; nothing that no source says."""

import math
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from langchain_finetune.hosts import LOCAL, OPENAI, TOGETHER, Host


class AutoEpochs(NamedTuple):
    """The rule of a host."""

    of: Callable[[int], int] | None
    """Epochs that "auto" stands for, given the number of training rows; None where that is not known."""

    source: str
    """Where the rule is written down."""


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


# Azure, Nebius and Fireworks do not tell what a job that names no epochs gets
# (https://github.com/MicrosoftDocs/azure-ai-docs, articles/foundry/fine-tuning;
# https://docs.tokenfactory.nebius.com/api-reference/introduction; https://github.com/fw-ai-external/python-sdk,
# 1.2.28; all 2026-11-22).
AUTO_EPOCHS: Final[Mapping[str, AutoEpochs]] = {
    OPENAI.name: AutoEpochs(
        openai_auto_epochs, "OpenAI's cookbook, Chat_finetuning_data_prep; the service is free to differ"
    ),
    # libs/finetune_server/training/plan.py
    LOCAL.name: AutoEpochs(local_auto_epochs, "the embedded server's own rule"),
    # https://github.com/togethercomputer/together-py, 3.1.1, 2026-11-22: `fine_tuning.create(n_epochs=1)`.
    TOGETHER.name: AutoEpochs(lambda _: 1, "the default of Together's SDK, 3.1.1"),
}
"""By the host's name."""

_UNKNOWN: Final = AutoEpochs(None, "the host chooses, and does not say how")


def auto_epochs_of(host: Host) -> AutoEpochs:
    """Return the rule of a host; of one that is not listed it is not known."""
    return AUTO_EPOCHS.get(host.name, _UNKNOWN)
