"""What every metric is: a name, and a score for an answer."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from langchain_finetune.errors import MetricError
from langchain_finetune.evaluators.metrics.example import Example
from langchain_finetune.evaluators.tool_calls import Answer

Score = float | bool | None | Mapping[str, float | bool | None]
"""A number, a verdict, several of them by name, or None where the metric has nothing to say."""


@dataclass(frozen=True, kw_only=True)
class Metric(ABC):
    """Measures one answer. Subclass it, or give `ModelComparison` a function."""

    name: str
    """Its name in tables; a metric with several scores puts theirs behind a dot."""

    is_share: ClassVar[bool] = True
    """Whether scores go from 0 to 1. An answer that failed then counts as 0, and elsewhere as none."""

    is_more_better: ClassVar[bool] = True
    """Whether a greater score is a better one."""

    @abstractmethod
    def score(self, example: Example, answer: Answer) -> Score:
        """Return the score of an answer."""

    def for_model(self, model: str, provider: str | None) -> Self:
        """Return the metric as it measures one model, where that makes a difference.

        Args:
            model: Name of the model at its host.
            provider: Name of the host, None where it is not known.
        """
        del model, provider
        return self


def flat(metric: str, score: Score, where: str = "") -> dict[str, float]:
    """Return scores by their whole name, without those that say nothing.

    Args:
        metric: The metric's name.
        score: What it returned.
        where: What it was asked about, for the error.

    Raises:
        MetricError: The score is none of the kinds that a metric may return.
    """
    named = score if isinstance(score, Mapping) else {"": score}
    found: dict[str, float] = {}
    for name, value in named.items():
        if value is None:
            continue
        number: object = value  # a function of a person's own may return anything
        if not isinstance(number, int | float) or not math.isfinite(number):
            msg = (
                f"the metric {metric!r} returned a {type(value).__name__} that is no finite number{where}: "
                "return a float, a bool, None, or a dict of them by name."
            )
            raise MetricError(msg, metric)
        found[f"{metric}.{name}" if name else metric] = float(value)
    return found
