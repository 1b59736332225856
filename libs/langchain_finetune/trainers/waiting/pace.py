"""How long to pause between two looks at a job. No clock: the pauses follow from what the looks brought."""

import random
from collections.abc import Callable
from typing import Final

_LONGEST_SECONDS: Final = 60.0
_LONGEST_RETRY_AFTER_SECONDS: Final = 300.0
_MOST_DOUBLINGS: Final = 20
_GROWTH: Final = 1.2
_MOST_GROWTH: Final = 6.0
_JITTER: Final = 0.2
_FAILURE_JITTER: Final = 0.5
_RETRY_AFTER_JITTER: Final = 0.1


class Pace:
    """The pauses of one waiting.

    While nothing changes they grow by a fifth each, up to six times the interval or a minute; news brings
    them back to the interval. After a look that failed they double up to a minute, or last as long as the
    host asks for, up to five minutes. Each is shortened at random, so that many who wait do not ask in
    step; what the host asks for is only ever made longer.

    Args:
        interval_seconds: The pause after news.
        jitter: A number from 0 up to 1, another one at each call.
    """

    def __init__(self, interval_seconds: float, jitter: Callable[[], float] = random.random) -> None:
        self._shortest = interval_seconds
        self._longest = max(interval_seconds, min(_LONGEST_SECONDS, interval_seconds * _MOST_GROWTH))
        self._next = interval_seconds
        self._num_failures = 0
        self._jitter = jitter

    def after_look(self, *, is_news: bool) -> float:
        """Return the pause after a look that was answered, in seconds."""
        self._num_failures = 0
        pause = self._shortest if is_news else self._next
        self._next = min(self._longest, pause * _GROWTH)
        return self._shortened(pause, _JITTER)

    def after_failure(self, retry_after_seconds: float | None) -> float:
        """Return the pause after a look that failed for now, in seconds.

        Args:
            retry_after_seconds: What the host asks for.
        """
        self._num_failures += 1
        if retry_after_seconds is not None:
            asked = min(max(retry_after_seconds, self._shortest), _LONGEST_RETRY_AFTER_SECONDS)
            return asked * (1.0 + _RETRY_AFTER_JITTER * self._jitter())
        pause = self._shortest * 2.0 ** min(self._num_failures, _MOST_DOUBLINGS)
        return self._shortened(min(pause, max(self._shortest, _LONGEST_SECONDS)), _FAILURE_JITTER)

    def _shortened(self, pause: float, share: float) -> float:
        return pause * (1.0 - share * self._jitter())
