"""Waiting for a job: what is looked at, and when it ends. No clock, no network of its own."""

import logging
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from langchain_finetune.errors import (
    AuthenticationFailedError,
    HostError,
    HostUnreachableError,
    JobNotFoundError,
    JobTimeoutError,
    ServerStartError,
)
from langchain_finetune.trainers.exchange import Act, Call, Exchange, JobProgress, Sleep, Tell
from langchain_finetune.trainers.hosts.protocol import HostProtocol
from langchain_finetune.trainers.hosts.refusals import is_transient
from langchain_finetune.trainers.jobs.job_state import CANCELLED, FAILED, SUCCEEDED, JobState
from langchain_finetune.trainers.waiting.failure import NO_FILES, TrainingFiles, cancelled, failure_of
from langchain_finetune.trainers.waiting.pace import Pace
from langchain_finetune.trainers.waiting.watch import Watch

logger = logging.getLogger(__name__)

_MOST_REVIVALS: Final = 3
_TOO_MANY: Final = 429
_NO_EVENTS: Final = frozenset({403, 404, 405, 501})
_SETTLING_PAUSE_SECONDS: Final = 2.0
_LONGEST_SETTLING_SECONDS: Final = 60.0
_LAST_CALL_SECONDS: Final = 5.0
"""What a call that is made at the deadline may still take."""

_ITS_NAME: Final = "the name of its model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long and how often a job is looked at."""

    timeout_seconds: float
    poll_interval_seconds: float
    clock: Callable[[], float] = time.monotonic
    wall_clock: Callable[[], float] = time.time
    """Seconds since 1970, the scale of the host's estimate."""
    cancel_on_interrupt: bool = False
    """Whether an interrupt of the waiting cancels the job."""
    jitter: Callable[[], float] = random.random
    """A number from 0 up to 1, another one at each call: pauses differ, so that many do not ask in step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What is known of a job that is to be waited for."""

    is_reused: bool = False
    """Whether an earlier call created it."""

    model_grace_seconds: float = 0.0
    """How long after the success the host may still lag: list the last events late, and not know the model
    yet. 0 for a host that does not lag."""

    num_revivals: Callable[[], int] = lambda: 0
    """How often the host had to be started again so far."""

    files: Callable[[JobState], TrainingFiles] = lambda _: NO_FILES
    """Where the files of the job lie, to name the row that the host objects to."""


_NOTHING_KNOWN: Final = Circumstances()


def wait_for_job(
    job_id: str,
    protocol: HostProtocol,
    patience: Patience,
    circumstances: Circumstances = _NOTHING_KNOWN,
) -> Exchange[JobState]:
    """Wait until a job has succeeded and its model has a name and can be asked.

    A look that fails for now, in whatever way, is ridden out until the deadline: looking costs nothing and
    the job is paid for. It is said once in the log, and each time in the progress.

    Args:
        job_id: The job.
        protocol: Its host's.
        patience: How long and how often.
        circumstances: What else is known of it.

    Raises:
        TrainingFailed: The host ended the job as failed.
        JobCancelled: The job was cancelled.
        JobTimeoutError: The deadline passed; the job goes on.
        ServerStartError: The host dies again and again while the job gets no further.
        JobNotFoundError: The host has no such job.
        HostError: The host refuses to answer, in a way that does not pass.
    """
    waiting = _Waiting(
        watch=Watch(job_id=job_id, is_reused=circumstances.is_reused),
        protocol=protocol,
        patience=patience,
        grace=circumstances.model_grace_seconds,
    )
    num_revivals = circumstances.num_revivals
    revivals = num_revivals()
    while True:
        num_seen = len(waiting.watch.seen)
        is_over = yield from waiting.attempt(waiting.look())
        is_over = waiting.is_settled(is_quiet=False) if is_over is None else is_over
        if is_over:
            break
        revivals = num_revivals() if len(waiting.watch.seen) > num_seen else revivals
        _give_up_on_dying_host(job_id, num_revivals() - revivals)
        yield Sleep(waiting.pause())
    job = waiting.ended_job()
    if job.status == SUCCEEDED:
        yield from waiting.for_model()
    yield Tell(waiting.watch.end(job, patience.wall_clock()))
    require_success(job, list(waiting.watch.last_events), circumstances.files(job))
    return job


def require_success(
    job: JobState, last_events: list[dict[str, Any]], files: TrainingFiles = NO_FILES
) -> None:
    """Raise what ended a job without success.

    Raises:
        TrainingFailed: The job failed.
        JobCancelled: The job was cancelled.
    """
    if job.status == FAILED:
        raise failure_of(job, last_events, files)
    if job.status == CANCELLED:
        raise cancelled(job)


@dataclass(kw_only=True)
class _Waiting:
    """The state of one waiting."""

    watch: Watch
    protocol: HostProtocol
    patience: Patience
    grace: float
    job: JobState | None = None
    """The last look at the job."""
    waits_for: str = ""
    has_events: bool = True
    is_troubled: bool = False
    ended_at: float | None = None
    """When the job was first seen at its end, on the patience's clock."""
    next_pause: float = 0.0
    deadline: float = field(init=False)
    pace: Pace = field(init=False)

    def __post_init__(self) -> None:
        self.deadline = self.patience.clock() + self.patience.timeout_seconds
        self.pace = Pace(self.patience.poll_interval_seconds, self.patience.jitter)

    def attempt(self, step: Exchange[bool]) -> Exchange[bool | None]:
        """Do a step; one that fails for now is told, and its outcome is None."""
        try:
            return (yield from self._until_deadline(step))
        except HostError as e:
            if not _is_ridden_out(e):
                raise
            self.next_pause = self.pace.after_failure(e.retry_after_seconds)
            if not self.is_troubled:
                self.is_troubled = True
                logger.warning(
                    "a look at job %s failed; looking again until the deadline, this is said once: %s",
                    self.watch.job_id,
                    e,
                )
            yield Tell(self.watch.trouble(e, min(self.next_pause, max(0.0, self._left()))))
            return None

    def _until_deadline(self, step: Exchange[bool]) -> Exchange[bool]:
        """Do a step, and break it off at the deadline: a long list may take many calls."""
        try:
            act = next(step)
            while True:
                try:
                    outcome = yield self._cut(act)
                    if self._left() <= -_LAST_CALL_SECONDS:
                        msg = f"the deadline passed in the midst of a look at job {self.watch.job_id}."
                        raise HostUnreachableError(msg)  # noqa: TRY301  goes the way of a look that failed
                except Exception as e:  # noqa: BLE001  the step decides what a failure means
                    act = step.throw(e)
                else:
                    act = step.send(outcome)
        except StopIteration as end:
            result: bool = end.value
            return result
        finally:
            step.close()

    def _cut(self, act: Act) -> Act:
        left = max(self._left(), 0.0)
        if isinstance(act, Sleep):
            return Sleep(min(act.seconds, left))
        if isinstance(act, Call) and act.timeout is not None:
            return replace(act, timeout=min(act.timeout, max(left, _LAST_CALL_SECONDS)))
        return act

    def look(self) -> Exchange[bool]:
        """Look at the job once and tell what is new; return whether there is nothing more to see."""
        job = yield from self.protocol.retrieve_job(self.watch.job_id, is_poll=True)
        self.job = job
        is_first_at_end = self._is_end(job) and self.ended_at is None
        if is_first_at_end:
            self.ended_at = self.patience.clock()
        now = self.patience.wall_clock()
        try:
            events = yield from self._events()
        except HostError:
            # A host that never lists its events still has its states shown.
            yield from self._tell(self.watch.look_at_state(job, now))
            raise
        num_seen = len(self.watch.seen)
        num_told = yield from self._tell(self.watch.look(job, events, now))
        if job.status == SUCCEEDED and job.model is None and self.waits_for != _ITS_NAME:
            self.waits_for = _ITS_NAME
            yield Tell(self.watch.waiting_for(job, _ITS_NAME, now))
        self.next_pause = self.pace.after_look(is_news=num_told > 0)
        if self.ended_at is not None:
            self.next_pause = min(self.next_pause, _SETTLING_PAUSE_SECONDS)
        return self.is_settled(is_quiet=len(self.watch.seen) == num_seen and not is_first_at_end)

    def _tell(self, reports: Iterator[JobProgress]) -> Exchange[int]:
        """Tell the reports and return how many they were."""
        number = 0
        for number, progress in enumerate(reports, start=1):  # noqa: B007  the last number is the result
            yield Tell(progress)
        return number

    def pause(self) -> float:
        """Return the seconds until the next look.

        Raises:
            JobTimeoutError: The deadline has passed.
        """
        left = self._left()
        if left > 0:
            return min(left, self.next_pause)
        job_id, seconds = self.watch.job_id, self.patience.timeout_seconds
        if self.waits_for:
            msg = (
                f"job {job_id} has succeeded, but {self.waits_for} was not there within {seconds:g} s. Come "
                f'back with `attach("{job_id}")`, or run the same pipe again, or raise `timeout`.'
            )
        else:
            msg = (
                f"job {job_id} has not ended within {seconds:g} s. It goes on at its host: come back with "
                f'`attach("{job_id}")`, or run the same pipe again, or raise `timeout`.'
            )
        raise JobTimeoutError(msg, job_id)

    def ended_job(self) -> JobState:
        """Return the job, which has been seen at its end."""
        if self.job is None:
            msg = "a job is asked for that was not looked at"
            raise AssertionError(msg)
        return self.job

    def for_model(self) -> Exchange[None]:
        """Wait until the model of a job that has succeeded can be asked, where the host may lag."""
        job = self.ended_job()
        since = self.patience.wall_clock() - (job.finished_at or self.patience.wall_clock())
        grace_ends = self.patience.clock() + self.grace - max(0.0, since)
        what = f"model {job.model}, which the host does not know yet"
        while self.patience.clock() < grace_ends:
            if (yield from self.attempt(self._is_model_ready())):
                return
            if self.waits_for != what:
                self.waits_for = what
                yield Tell(self.watch.waiting_for(job, what, self.patience.wall_clock()))
            yield Sleep(self.pause())
        if self.waits_for == what:
            logger.warning(
                "job %s has succeeded, and the host still does not know its model %s", job.id, job.model
            )

    def _is_model_ready(self) -> Exchange[bool]:
        is_ready = yield from self.protocol.is_model_ready(self.ended_job().model or "", self.watch.job_id)
        self.next_pause = self.pace.after_look(is_news=False)
        return is_ready

    def _events(self) -> Exchange[list[dict[str, Any]]]:
        if not self.has_events:
            return []
        # The last looks go back a little: an event that was slow to appear may stand behind newer ones.
        seen = self.watch.older_seen() if self.ended_at is not None else self.watch.seen
        try:
            return (yield from self.protocol.events_since(self.watch.job_id, seen, is_poll=True))
        except AuthenticationFailedError:
            raise
        except (HostError, JobNotFoundError) as e:
            if isinstance(e, HostError) and e.status_code not in _NO_EVENTS:
                raise
            self.has_events = False
            logger.warning(
                "the host lists no events of job %s: only its state is shown (%s)", self.watch.job_id, e
            )
            return []

    def _is_end(self, job: JobState) -> bool:
        return job.is_terminal and (job.status != SUCCEEDED or job.model is not None)

    def is_settled(self, *, is_quiet: bool) -> bool:
        """Tell whether the job has ended and its last events were seen."""
        if self.job is None or self.ended_at is None:
            return False
        settled_by = min(self.ended_at + _LONGEST_SETTLING_SECONDS, self.deadline)
        return is_quiet or not self._lags() or not self.has_events or self.patience.clock() >= settled_by

    def _lags(self) -> bool:
        """Tell whether the host may still have to list events of a job that has ended."""
        job, now = self.ended_job(), self.patience.wall_clock()
        is_old = self.watch.is_replay and job.finished_at is not None
        return self.grace > 0 and not (is_old and now - (job.finished_at or now) > _LONGEST_SETTLING_SECONDS)

    def _left(self) -> float:
        return self.deadline - self.patience.clock()


def _is_ridden_out(error: HostError) -> bool:
    # A limit of requests of whatever kind does not end a job that is under way.
    return is_transient(error) or error.status_code == _TOO_MANY


def _give_up_on_dying_host(job_id: str, num_revivals: int) -> None:
    if num_revivals >= _MOST_REVIVALS:
        msg = (
            f"the embedded server died {num_revivals} times while job {job_id} got no further. Its log, "
            "server/server.log in the state directory, says why. The job is kept: it goes on when the pipe "
            "runs again."
        )
        raise ServerStartError(msg)
