"""Runs in, a `ChatSessionFile` out: one row a session, one line a rejection, all of them counted."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from langchain_finetune._spool import RowWriter, Spool, address_of
from langchain_finetune._stage import Event, Steps
from langchain_finetune.handles import ChatSessionFile, RecordedSession
from langchain_finetune.loaders._selection import Sieve, empty_selection
from langchain_finetune.runs import Reason, Rejection, read_correction, read_run

LOAD_EVENT: Final = "langchain_finetune_load"

_PAGE: Final = 1000


class Found(NamedTuple):
    """A chat-model run of a source, with what hangs on it."""

    run: Mapping[str, Any]
    root_feedback: Mapping[str, float]
    """Average scores on the root of its trace."""
    correction: Any = None
    """What a person wrote in place of the answer, as it was recorded."""


def spool_sessions(
    found: Iterable[Found | Rejection], sieve: Sieve, source: str, advice: str = ""
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
        books = _Books(spool.writer("sessions.jsonl"), spool.writer("rejections.jsonl"))
        for item in found:
            books.enter(item, sieve)
            if books.num_runs(sieve) % _PAGE == 0:
                yield books.event(sieve)
        if not sieve.num_taken and not books.rejected:
            raise empty_selection(sieve, source, advice)
        files = (books.sessions, books.rejections)
        directory = spool.publish(address_of({file.path.name: file.sha256 for file in files}))
        yield books.event(sieve)
        return ChatSessionFile(
            path=directory / books.sessions.path.name,
            sha256=books.sessions.sha256,
            num_sessions=books.sessions.num_rows,
            num_runs=books.num_runs(sieve),
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

    sessions: RowWriter
    rejections: RowWriter
    rejected: Counter[str] = field(default_factory=Counter)
    num_missing: int = 0
    """Rejections that came in instead of a run, so that no sieve has seen them."""
    num_corrected: int = 0
    num_unreadable_corrections: int = 0

    def num_runs(self, sieve: Sieve) -> int:
        return sieve.num_seen + self.num_missing

    def enter(self, item: Found | Rejection, sieve: Sieve) -> None:
        if isinstance(item, Rejection):
            self.num_missing += 1
            self._reject(item)
            return
        correction = read_correction(item.correction)
        if sieve.takes(item.run, item.root_feedback, is_corrected=correction is not None):
            self.num_unreadable_corrections += item.correction is not None and correction is None
            session = read_run(item.run, include_errors=sieve.selection.include_errors)
            if isinstance(session, Rejection):
                self._reject(session)
            else:
                self._keep(session, item.root_feedback, correction)

    def _keep(
        self, session: RecordedSession, feedback: Mapping[str, float], correction: dict[str, Any] | None
    ) -> None:
        if feedback:
            session = dataclasses.replace(session, feedback={**feedback, **session.feedback})
        if correction is not None:
            session = dataclasses.replace(session, correction=correction)
            self.num_corrected += 1
        try:
            self.sessions.write(session)
        except TypeError as e:
            is_deep = "recursion" in str(e).lower()
            self._reject(Rejection(session.run_id, Reason.TOO_DEEP if is_deep else Reason.NOT_JSON))

    def _reject(self, rejection: Rejection) -> None:
        self.rejected[rejection.reason.value] += 1
        run_id = rejection.run_id.encode(errors="replace").decode()
        self.rejections.write({"run_id": run_id, "reason": rejection.reason.value})

    def event(self, sieve: Sieve) -> Event:
        return Event(
            LOAD_EVENT,
            {
                "num_runs": self.num_runs(sieve),
                "num_sessions": self.sessions.num_rows,
                "num_rejected": self.rejections.num_rows,
                "num_unselected": self.num_runs(sieve) - self.sessions.num_rows - self.rejections.num_rows,
            },
        )
