"""Ending a text at the first of several stop texts, while it is written. Pure."""

from collections.abc import Sequence


class StopText:
    """Hands text on up to a stop text, and holds back what may yet become one.

    Args:
        stops: The texts that end an answer and are not part of it.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._pending = ""
        self.found: str | None = None

    def feed(self, text: str) -> str:
        """Take the next piece and return what is certain by now; `found` then says whether it ends here."""
        self._pending += text
        places = [(place, stop) for stop in self._stops if (place := self._pending.find(stop)) >= 0]
        if places:
            # Of two that start at the same place, the longer one would also be found a moment later.
            place, self.found = min(places, key=lambda found: (found[0], -len(found[1])))
            certain, self._pending = self._pending[:place], ""
            return certain
        num_held = max(map(self._overlap, self._stops), default=0)
        certain = self._pending[: len(self._pending) - num_held]
        self._pending = self._pending[len(certain) :]
        return certain

    def finish(self) -> str:
        """Say that nothing follows, and return what was held back."""
        rest, self._pending = self._pending, ""
        return rest

    def _overlap(self, stop: str) -> int:
        """How many characters at the end are the beginning of `stop`."""
        longest = min(len(stop) - 1, len(self._pending))
        return next((num for num in range(longest, 0, -1) if self._pending.endswith(stop[:num])), 0)
