"""When the next request may go out: a budget shared by all threads, and how long to pause after a failure."""

import hashlib
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

NUM_REQUESTS: Final = 15
"""Run queries that LangSmith lets one key make in `WINDOW_SECONDS`
(https://docs.langchain.com/langsmith/cloud-rate-limits)."""

WINDOW_SECONDS: Final = 10.0

_LONGEST_SECONDS: Final = 60.0
_LONGEST_RETRY_AFTER_SECONDS: Final = 300.0
_MOST_DOUBLINGS: Final = 10
_SLICE_SECONDS: Final = 1.0


class NoLongerWantedError(Exception):
    """The load that a request was for has ended."""


class Budget:
    """At most so many requests in any window, however many threads make them.

    Args:
        num_requests: Requests a window.
        seconds: Length of the window.
        clock: Seconds, ever growing.
        sleep: Waits so many seconds.
        jitter: A number from 0 up to 1, another one at each call.
    """

    def __init__(
        self,
        num_requests: int = NUM_REQUESTS,
        seconds: float = WINDOW_SECONDS,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._num_requests = num_requests
        self._seconds = seconds
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._spent: deque[float] = deque()
        self._closed_until = 0.0
        self._lock = threading.Lock()

    def spend(self, is_wanted: Callable[[], bool], *, is_counted: bool = True) -> None:
        """Wait until a request may go out, and count it.

        Args:
            is_wanted: Asked at least once a second while waiting.
            is_counted: Whether the limit counts requests of this kind.

        Raises:
            NoLongerWantedError: Nobody waits for the request any more.
        """
        while (seconds := self._try(is_counted=is_counted)) > 0:
            self.pause(min(seconds, _SLICE_SECONDS), is_wanted)

    def _try(self, *, is_counted: bool) -> float:
        with self._lock:
            now = self._clock()
            while self._spent and self._spent[0] <= now - self._seconds:
                self._spent.popleft()
            if self._closed_until > now:
                return self._closed_until - now
            if not is_counted:
                return 0.0
            if len(self._spent) >= self._num_requests:
                return max(self._spent[0] + self._seconds - now, 0.001)
            self._spent.append(now)
            return 0.0

    def hold(self, seconds: float) -> None:
        """Let nobody make a request for so many seconds: the host has said that they were too many."""
        with self._lock:
            self._closed_until = max(self._closed_until, self._clock() + seconds)

    def pause(self, seconds: float, is_wanted: Callable[[], bool]) -> None:
        """Wait so many seconds, this thread alone. Raises as `spend` does."""
        until = self._clock() + seconds
        while (left := until - self._clock()) > 0:
            if not is_wanted():
                raise NoLongerWantedError
            self._sleep(min(left, _SLICE_SECONDS))

    def after_failure(self, num_failures: int, retry_after_seconds: float | None, *, is_limit: bool) -> float:
        """Return the pause before the next attempt, in seconds.

        What the host asks for is only ever made longer; else pauses double, from a second, or from the
        limit's own window, up to a minute, and are shortened at random so that many do not ask in step.
        """
        if retry_after_seconds is not None:
            return min(retry_after_seconds, _LONGEST_RETRY_AFTER_SECONDS) * (1.0 + 0.1 * self._jitter())
        shortest = self._seconds if is_limit else 1.0
        pause = min(shortest * 2.0 ** min(num_failures - 1, _MOST_DOUBLINGS), _LONGEST_SECONDS)
        return pause * (1.0 - 0.5 * self._jitter())


_budgets: dict[str, Budget] = {}
_budgets_lock = threading.Lock()


def budget_for(url: str, key: str | None) -> Budget:
    """Return the budget of a host and key: one for the whole process, as the host counts by key."""
    account = hashlib.sha256(f"{url}\n{key}".encode(errors="replace")).hexdigest()
    with _budgets_lock:
        return _budgets.setdefault(account, Budget())
