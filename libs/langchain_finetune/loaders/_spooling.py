"""Runs in, a `ChatSessionFile` out: one row a session, one line a rejection, all of them counted."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from langchain_finetune._spool import RowWriter, Spool, address_of
from langchain_finetune._stage import Event, Steps
from langchain_finetune.handles import ChatSessionFile
from langchain_finetune.loaders._found import Found, Tried, session_line
from langchain_finetune.loaders._selection import Sieve, empty_selection
from langchain_finetune.runs import Rejection, parse_columns, read_correction

LOAD_EVENT: Final = "langchain_finetune_load"

_PAGE: Final = 1000


def spool_sessions(
    found: Iterable[Found | Tried | Rejection], sieve: Sieve, source: str, advice: str = ""
) -> Steps[ChatSessionFile]:
    """Read the selected runs into a spool; an event after every page.

    Args:
        found: The chat-model runs of the source.
        sieve: Tries each of them.
        source: Where they come from, for a person to read.
        advice: What else to say when no run is selected.

    Raises:
        SelectionError: No run is selected.
    """
    with Spool("sessions") as spool:
        books = _Books(sieve, spool.writer("sessions.jsonl"), spool.writer("rejections.jsonl"))
        num_untold = 0
        for item in found:
            num_untold += books.enter(item)
            if num_untold >= _PAGE:
                num_untold %= _PAGE
                yield books.event()
        if not sieve.num_taken and not books.rejected:
            raise empty_selection(sieve, source, advice)
        files = (books.sessions, books.rejections)
        directory = spool.publish(address_of({file.path.name: file.sha256 for file in files}))
        yield books.event()
        return ChatSessionFile(
            path=directory / books.sessions.path.name,
            sha256=books.sessions.sha256,
            num_sessions=books.sessions.num_rows,
            num_runs=books.num_runs,
            num_rejected=books.rejections.num_rows,
            num_unselected=sieve.removed.total(),
            rejections=directory / books.rejections.path.name,
            rejected_by_reason=dict(books.rejected.most_common()),
            num_corrected=books.num_corrected,
            num_unreadable_corrections=books.num_unreadable_corrections,
            source=source,
            selection=sieve.selection,
        )


@dataclass(slots=True)
class _Books:
    """What became of the runs so far."""

    sieve: Sieve
    sessions: RowWriter
    rejections: RowWriter
    rejected: Counter[str] = field(default_factory=Counter)
    num_missing: int = 0
    """Rejections that came in instead of a run, so that no sieve has seen them."""
    num_corrected: int = 0
    num_unreadable_corrections: int = 0

    @property
    def num_runs(self) -> int:
        return self.sieve.num_seen + self.num_missing

    def enter(self, item: Found | Tried | Rejection) -> int:
        """Enter what was found, and return how many runs that is."""
        if isinstance(item, Found):
            self._try(item)
        elif isinstance(item, Rejection):
            self.num_missing += 1
            self._reject(item)
        else:
            if self.sieve.counts(item.condition, item.num_runs) and item.lines is not None:
                self._keep(item.lines, item.num_runs)
            return item.num_runs
        return 1

    def _try(self, item: Found) -> None:
        run, root_feedback, recorded = item
        run = parse_columns(run)
        correction = None if recorded is None else read_correction(recorded)
        if not self.sieve.takes(run, root_feedback, is_corrected=correction is not None):
            return
        self.num_unreadable_corrections += recorded is not None and correction is None
        line = session_line(
            run, root_feedback, correction, include_errors=self.sieve.selection.include_errors
        )
        self.num_corrected += self._keep(line) and correction is not None

    def _keep(self, lines: bytes | Rejection, num_runs: int = 1) -> bool:
        if isinstance(lines, Rejection):
            self._reject(lines)
            return False
        self.sessions.write_lines(lines, num_runs)
        return True

    def _reject(self, rejection: Rejection) -> None:
        self.rejected[rejection.reason.value] += 1
        run_id = rejection.run_id.encode(errors="replace").decode()
        self.rejections.write({"run_id": run_id, "reason": rejection.reason.value})

    def event(self) -> Event:
        return Event(
            LOAD_EVENT,
            {
                "num_runs": self.num_runs,
                "num_sessions": self.sessions.num_rows,
                "num_rejected": self.rejections.num_rows,
                "num_unselected": self.num_runs - self.sessions.num_rows - self.rejections.num_rows,
            },
        )
