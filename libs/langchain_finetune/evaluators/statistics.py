"""How sure a mean is: intervals for shares, for means and for paired differences. Pure Python.

A bootstrap draws `NUM_RESAMPLES` times as many values as there are: 0.2 s for 1,000 questions. For more
questions the interval is the normal one, which the bootstrap of a mean has then arrived at.
"""

import math
import random
from collections.abc import Sequence
from itertools import repeat
from typing import Final, NamedTuple

NUM_RESAMPLES: Final = 2000
CONFIDENCE: Final = 0.95

_MOST_DRAWN: Final = 1000
_Z: Final = 1.959963984540054
"""Of the normal distribution, for `CONFIDENCE`."""


class Interval(NamedTuple):
    """A mean, and the bounds that hold the true one in 95 of 100 cases."""

    mean: float
    low: float
    high: float


class Duel(NamedTuple):
    """A model against the baseline on the same questions."""

    wins: int
    losses: int
    ties: int
    gain: Interval
    """Mean of the differences; above 0 is better, also where less is better."""


def share(hits: Sequence[float]) -> Interval:
    """Return Wilson's interval for a share of hits (1) and misses (0).

    It stays sensible where all or none are hits: 49 of 49 is 93 to 100 %.
    https://en.wikipedia.org/wiki/Binomial_proportion_confidence_interval#Wilson_score_interval
    """
    number, mean = len(hits), math.fsum(hits) / len(hits)
    spread = _Z * _Z / number
    center = (mean + spread / 2) / (1 + spread)
    half = _Z * math.sqrt(mean * (1 - mean) / number + spread / number / 4) / (1 + spread)
    return Interval(mean, min(mean, max(0.0, center - half)), max(mean, min(1.0, center + half)))


def bootstrap(values: Sequence[float], seed: int = 0) -> Interval:
    """Return the percentile bootstrap of a mean; the same values and seed give the same interval."""
    number, mean = len(values), math.fsum(values) / len(values)
    if number > _MOST_DRAWN:
        half = _Z * math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (number - 1) / number)
        return Interval(mean, mean - half, mean + half)
    draw = random.Random(seed).choices  # noqa: S311  no secret
    means = sorted(math.fsum(draw(values, k=number)) / number for _ in repeat(None, NUM_RESAMPLES))
    tail = round(NUM_RESAMPLES * (1 - CONFIDENCE) / 2)
    return Interval(mean, min(mean, means[tail]), max(mean, means[-tail - 1]))


def interval(values: Sequence[float], *, is_share: bool, seed: int = 0) -> Interval:
    """Return the interval of a metric's mean: Wilson's where every value is 0 or 1, else the bootstrap's.

    Args:
        values: One a question, at least one.
        is_share: Whether the metric goes from 0 to 1.
        seed: Of the bootstrap.
    """
    if is_share and all(value in (0, 1) for value in values):
        return share(values)
    return bootstrap(values, seed)


def duel(
    model: Sequence[float],
    baseline: Sequence[float],
    *,
    is_share: bool,
    is_more_better: bool = True,
    seed: int = 0,
) -> Duel:
    """Compare two models question by question.

    Where every question says the same, a bootstrap sees no spread at all and would be sure after one
    question. Then the bounds are as wide as so many equal outcomes leave room for: a share `q` of others
    with `(1 - q) ** n = 0.025`, each one step away.

    Args:
        model: Scores, one a question.
        baseline: Those of the baseline on the same questions.
        is_share: Whether the metric goes from 0 to 1.
        is_more_better: Whether a greater score is a better one.
        seed: Of the bootstrap.
    """
    sign = 1 if is_more_better else -1
    gains = [sign * (one - other) for one, other in zip(model, baseline, strict=True)]
    wins, losses = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
    if is_share and len(set(gains)) == 1:
        others = 1 - ((1 - CONFIDENCE) / 2) ** (1 / len(gains))
        only = gains[0]
        gain = Interval(only, max(-1.0, only - others), min(1.0, only + others))
    else:
        gain = bootstrap(gains, seed)
    return Duel(wins, losses, len(gains) - wins - losses, gain)
