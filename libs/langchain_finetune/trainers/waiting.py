"""Waiting for a job: what is looked at, what is told, and when it ends. No clock, no network of its own."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from langchain_finetune.errors import (
    HostError,
    JobCancelled,
    JobTimeoutError,
    ServerStartError,
    TrainingFailed,
)
from langchain_finetune.trainers.exchange import Exchange, JobProgress, Sleep, Tell
from langchain_finetune.trainers.job_state import (
    CANCELLED,
    FAILED,
    SUCCEEDED,
    JobState,
    Metrics,
    event_time,
    read_metrics,
)
from langchain_finetune.trainers.openai_errors import is_transient
from langchain_finetune.trainers.protocol import HostProtocol

logger = logging.getLogger(__name__)

_LONGEST_PAUSE_SECONDS: Final = 60.0
_MOST_REVIVALS: Final = 3
_NUM_LAST_EVENTS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long and how often a job is looked at."""

    timeout_seconds: float
    poll_interval_seconds: float
    clock: Callable[[], float] = time.monotonic
    wall_clock: Callable[[], float] = time.time
    """Seconds since 1970, the scale of the host's estimate."""


@dataclass(kw_only=True)
class Watch:
    """What has been seen of one job, and what is worth telling about the next look."""

    job_id: str
    is_reused: bool = False
    seen: set[str] = field(default_factory=set)
    last_events: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_NUM_LAST_EVENTS))
    _status: str = ""
    _metrics: Metrics = field(default_factory=Metrics)
    _first_step: tuple[int, float] | None = None
    _seconds_a_step: float | None = None

    def look(self, job: JobState, events: list[dict[str, Any]], now: float) -> Iterator[JobProgress]:
        """Take in one look at the job; yield a report for each change of state and each new figure.

        What had ended before the first look is told in one report, not figure by figure.
        """
        is_replay = job.is_terminal and not self._status
        if not job.is_terminal:
            yield from self._change(job, now)
        for event in events:
            is_news = self._take(event)
            if is_news and not is_replay:
                yield self._progress(job, self._status or job.status, _message(event), now)
        if job.is_terminal:
            yield from self._change(job, now)

    def _change(self, job: JobState, now: float) -> Iterator[JobProgress]:
        if job.status != self._status:
            self._status = job.status
            self._warn_if_unknown(job)
            yield self._progress(job, job.status, _describe(job), now)

    def _take(self, event: dict[str, Any]) -> bool:
        self.seen.add(str(event.get("id")))
        self.last_events.append(event)
        if metrics := read_metrics(event):
            self._measure(metrics, event_time(event))
        return metrics is not None or event.get("level") in ("warn", "error")

    def _warn_if_unknown(self, job: JobState) -> None:
        if not job.is_known:
            logger.warning(
                "job %s is in a state this version does not know: %s; waiting on", job.id, job.status
            )

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

    def _progress(self, job: JobState, status: str, message: str | None, now: float) -> JobProgress:
        return JobProgress(
            job_id=job.id,
            status=status,
            step=self._metrics.step,
            total_steps=self._metrics.total_steps,
            train_loss=self._metrics.train_loss,
            seconds_left=self._seconds_left(job, now),
            message=message,
            reused=self.is_reused,
        )

    def _seconds_left(self, job: JobState, now: float) -> float | None:
        if job.is_terminal:
            return 0.0
        metrics = self._metrics
        if self._seconds_a_step is not None and metrics.step is not None and metrics.total_steps is not None:
            return round(max(0, metrics.total_steps - metrics.step) * self._seconds_a_step, 1)
        return round(max(0.0, job.estimated_finish - now), 1) if job.estimated_finish is not None else None


def wait_for_job(
    job_id: str,
    protocol: HostProtocol,
    patience: Patience,
    *,
    is_reused: bool = False,
    num_revivals: Callable[[], int] = lambda: 0,
) -> Exchange[JobState]:
    """Wait until a job has succeeded and its model has a name.

    Args:
        job_id: The job.
        protocol: Its host's.
        patience: How long and how often.
        is_reused: Whether an earlier call created the job.
        num_revivals: How often the host had to be started again so far.

    Raises:
        TrainingFailed: The host ended the job as failed.
        JobCancelled: The job was cancelled.
        JobTimeoutError: The deadline passed; the job goes on.
        ServerStartError: The host dies again and again while the job gets no further.
        JobNotFoundError: The host has no such job.
    """
    deadline = patience.clock() + patience.timeout_seconds
    watch = Watch(job_id=job_id, is_reused=is_reused)
    revivals = num_revivals()
    num_failures = 0
    while True:
        try:
            job = yield from protocol.retrieve_job(job_id, is_poll=True)
            events = yield from protocol.events_since(job_id, watch.seen, is_poll=True)
        except HostError as e:
            if not is_transient(e):
                raise
            num_failures += 1
            logger.info("a look at job %s failed, looking again: %s", job_id, e)
        else:
            num_failures = 0
            for progress in watch.look(job, events, patience.wall_clock()):
                yield Tell(progress)
            if is_finished(job, list(watch.last_events)):
                return job
            revivals = num_revivals() if events else revivals
        _give_up_on_dying_host(job_id, num_revivals() - revivals)
        yield Sleep(_pause(patience, deadline, num_failures, job_id))


def is_finished(job: JobState, last_events: list[dict[str, Any]]) -> bool:
    """Tell whether a job has succeeded and its model has a name.

    Raises:
        TrainingFailed: The job failed.
        JobCancelled: The job was cancelled.
    """
    if job.status == FAILED:
        raise _failure(job, last_events)
    if job.status == CANCELLED:
        msg = f"job {job.id} was cancelled. Run the pipe again to start a new one on the same data."
        raise JobCancelled(msg, job.id)
    return job.status == SUCCEEDED and job.model is not None


def _failure(job: JobState, last_events: list[dict[str, Any]]) -> TrainingFailed:
    said = job.error_message or _last_error(last_events) or "the host gives no reason"
    facts = [
        f"{name} {value}" for name, value in (("code", job.error_code), ("param", job.error_param)) if value
    ]
    about = f" ({', '.join(facts)})" if facts else ""
    msg = (
        f"job {job.id} failed: {said.rstrip('.')}{about}. "
        "Correct what it names and run the pipe again: a failed job is not taken up, a new one is created."
    )
    return TrainingFailed(msg, job.id, job.error_code, job.error_param, last_events)


def _last_error(events: list[dict[str, Any]]) -> str | None:
    messages = [_message(event) for event in events if event.get("level") == "error"]
    return next((message for message in reversed(messages) if message), None)


def _describe(job: JobState) -> str | None:
    if not job.is_known:
        return f"the host calls its state {job.status!r}, which this version does not know: waiting on"
    if job.status == "paused":
        return "the job is paused at its host: resume it there, or cancel it"
    return None


def _message(event: Mapping[str, Any]) -> str | None:
    message = event.get("message")
    return message if isinstance(message, str) else None


def _give_up_on_dying_host(job_id: str, num_revivals: int) -> None:
    if num_revivals >= _MOST_REVIVALS:
        msg = (
            f"the embedded server died {num_revivals} times while job {job_id} got no further. Its log, "
            "server/server.log in the state directory, says why. The job is kept: it goes on when the pipe "
            "runs again."
        )
        raise ServerStartError(msg)


def _pause(patience: Patience, deadline: float, num_failures: int, job_id: str) -> float:
    left = deadline - patience.clock()
    if left <= 0:
        msg = (
            f"job {job_id} has not ended within {patience.timeout_seconds:g} s. It goes on at its host: "
            f'come back with `attach("{job_id}")`, or run the same pipe again, or raise `timeout`.'
        )
        raise JobTimeoutError(msg, job_id)
    longest = max(patience.poll_interval_seconds, _LONGEST_PAUSE_SECONDS)
    return min(left, longest, patience.poll_interval_seconds * 2.0 ** min(num_failures, 20))
