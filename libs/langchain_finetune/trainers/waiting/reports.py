"""The reports of one waiting on their way to whoever watches."""

from collections.abc import Callable
from typing import Any, Final

from langchain_finetune.trainers.exchange import JobProgress

_LEFT: Final = "the job is not waited for any more"


class Reports:
    """Hands the reports of a waiting on, and tells at the end that nobody waits any more.

    Args:
        tell: Where to; what it returns is handed back to be awaited.
    """

    def __init__(self, tell: Callable[[JobProgress], Any]) -> None:
        self._tell = tell
        self._last: JobProgress | None = None

    def __call__(self, progress: JobProgress) -> Any:
        """Hand a report on."""
        self._last = progress
        return self._tell(progress)

    def leave(self) -> Any:
        """Tell that the waiting has ended before the job."""
        if self._last is None:
            return None
        return self._tell({**self._last, "left": True, "retry_in_seconds": None, "message": _LEFT})
