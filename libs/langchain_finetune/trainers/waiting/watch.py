"""What has been seen of one job, and what is worth telling about the next look. Pure."""

import logging
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from langchain_finetune.trainers.exchange import JobProgress
from langchain_finetune.trainers.jobs.job_state import (
    JobState,
    Metrics,
    checkpoint_step,
    event_id,
    event_time,
    read_metrics,
)

logger = logging.getLogger(__name__)

_NUM_LAST_EVENTS: Final = 20


@dataclass(kw_only=True)
class Watch:
    """One job as it was seen so far. Each of its reports is of what is new."""

    job_id: str
    is_reused: bool = False
    seen: set[str] = field(default_factory=set)
    last_events: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_NUM_LAST_EVENTS))
    is_replay: bool = False
    """Whether the job had ended before the first look."""

    _status: str = ""
    _odd_statuses: set[str] = field(default_factory=set)
    _metrics: Metrics = field(default_factory=Metrics)
    _checkpoint_step: int | None = None
    _first_step: tuple[int, float] | None = None
    _seconds_a_step: float | None = None
    _is_troubled: bool = False

    def look(self, job: JobState, events: list[dict[str, Any]], now: float) -> Iterator[JobProgress]:
        """Take in one look at the job; yield a report for each change of state and each new figure.

        The end of the job is told by `end`, after all its events. What had ended before the first look is
        told there in one report, not figure by figure.

        Args:
            job: The job.
            events: Its events, oldest first; those that were seen before are passed over.
            now: Seconds since 1970.
        """
        self.is_replay = self.is_replay or (job.is_terminal and not self._status)
        is_recovered, self._is_troubled = self._is_troubled, False
        if not job.is_terminal and not (yield from self.look_at_state(job, now)) and is_recovered:
            yield self._progress(job, now)
        for event in events:
            is_news = self._take(event)
            if is_news and not self.is_replay:
                yield self._progress(job, now, message=_message(event))

    def look_at_state(self, job: JobState, now: float) -> Generator[JobProgress, None, bool]:
        """Take in a look without events; yield a report of a new state, and return whether it is one."""
        if job.is_terminal or not self._is_change(job):
            return False
        yield self._progress(job, now, message=_describe(job))
        return True

    def older_seen(self) -> set[str]:
        """Return the events that were seen, without the last ones."""
        return self.seen - {event_id(event) for event in self.last_events}

    def end(self, job: JobState, now: float) -> JobProgress:
        """Return the report of a job's end."""
        self._status = job.status
        return self._progress(job, now)

    def waiting_for(self, job: JobState, what: str, now: float) -> JobProgress:
        """Return the report of what a job that has succeeded still lacks."""
        self._status = job.status
        return self._progress(
            job, now, message=f"the job has succeeded; waiting for {what}", waiting_for=what
        )

    def trouble(self, error: Exception, pause: float) -> JobProgress:
        """Return the report of a look that failed for now."""
        self._is_troubled = True
        job = JobState(id=self.job_id, status=self._status or "unknown")
        return self._progress(job, None, message=str(error), retry_in_seconds=round(pause, 1))

    def _is_change(self, job: JobState) -> bool:
        if job.status == self._status:
            return False
        self._status = job.status
        if job.is_known:
            return True
        if job.status in self._odd_statuses:
            return False
        self._odd_statuses.add(job.status)
        logger.warning("job %s is in a state this version does not know: %s; waiting on", job.id, job.status)
        return True

    def _take(self, event: dict[str, Any]) -> bool:
        identity = event_id(event)
        if identity in self.seen:
            return False
        self.seen.add(identity)
        self.last_events.append(event)
        if metrics := read_metrics(event):
            self._measure(metrics, event_time(event))
        step = checkpoint_step(event)
        if step is not None:
            self._checkpoint_step = max(step, self._checkpoint_step or 0)
        return metrics is not None or step is not None or event.get("level") in ("warn", "error")

    def _measure(self, metrics: Metrics, at: float | None) -> None:
        self._metrics = metrics
        if at is None or metrics.step is None:
            return
        if self._first_step is None:
            self._first_step = (metrics.step, at)
            return
        steps, seconds = metrics.step - self._first_step[0], at - self._first_step[1]
        if steps > 0 and seconds > 0:
            self._seconds_a_step = seconds / steps

    def _progress(
        self,
        job: JobState,
        now: float | None,
        *,
        message: str | None = None,
        waiting_for: str | None = None,
        retry_in_seconds: float | None = None,
    ) -> JobProgress:
        return JobProgress(
            job_id=job.id,
            # An event that is told before the end of its job belongs to the state before.
            status=self._status or job.status,
            step=self._metrics.step,
            total_steps=self._metrics.total_steps,
            train_loss=self._metrics.train_loss,
            valid_loss=self._metrics.valid_loss,
            checkpoint_step=self._checkpoint_step,
            seconds_left=self._seconds_left(job, now),
            waiting_for=waiting_for,
            retry_in_seconds=retry_in_seconds,
            message=message,
            reused=self.is_reused,
            left=False,
        )

    def _seconds_left(self, job: JobState, now: float | None) -> float | None:
        if job.is_terminal:
            return 0.0
        metrics = self._metrics
        if self._seconds_a_step is not None and metrics.step is not None and metrics.total_steps is not None:
            return round(max(0, metrics.total_steps - metrics.step) * self._seconds_a_step, 1)
        if job.estimated_finish is None or now is None:
            return None
        return round(max(0.0, job.estimated_finish - now), 1)


def _describe(job: JobState) -> str | None:
    if not job.is_known:
        return f"the host calls its state {job.status!r}, which this version does not know: waiting on"
    if job.status == "paused":
        return "the job is paused at its host: `resume()` it, or cancel it"
    return None


def _message(event: Mapping[str, Any]) -> str | None:
    message = event.get("message")
    return message if isinstance(message, str) else None
