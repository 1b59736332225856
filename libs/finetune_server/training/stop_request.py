"""The server's request to end early: SIGTERM, on which a training writes a checkpoint before it ends."""

import os
import signal
from typing import Any, Final

EXIT_STOPPED: Final = 5


class StopRequest:
    """Whether the server has asked the trainer to end.

    While steps are taken, the request waits for the step under way, whose checkpoint is written. Before the
    first step there is nothing to keep, and the process ends at once.
    """

    def __init__(self) -> None:
        self.is_made = False
        self._is_heard = False

    def listen(self) -> None:
        """Takes SIGTERM."""
        signal.signal(signal.SIGTERM, self._take)

    def hear(self) -> None:
        """Says that the request is looked at from now on."""
        self._is_heard = True

    def _take(self, *_: Any) -> None:
        self.is_made = True
        if not self._is_heard:
            os._exit(EXIT_STOPPED)
