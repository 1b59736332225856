"""One job on its way: trainers are started, watched and started again until it ends."""

import logging
import sqlite3
import threading
import time
from typing import Any

from finetune_server.config import Settings
from finetune_server.jobs import job_files
from finetune_server.jobs.checkpoint_models import (
    checkpoint_models,
    discard_checkpoints,
    discard_other_epochs,
    with_names,
)
from finetune_server.jobs.outcome import Succeeded, keep_result_file, model_of, read_outcome
from finetune_server.jobs.trainer_events import Pace, parse_event, read_new_lines, resolved_hyperparameters
from finetune_server.jobs.trainer_process import TrainerProcess, describe_exit
from finetune_server.logs import fields
from finetune_server.storage.job_table import NewEvent
from finetune_server.storage.records import EventLevel, JobError, JobRecord
from finetune_server.storage.store import Store

_MAX_DEATHS = 3
_log = logging.getLogger(__name__)


class JobRun:
    """The part of a job's life that needs a trainer.

    Everything it knows is in the store and in the job's directory, so that a run of a later server goes on
    where this one was broken off, at any instruction.

    Args:
        job_id: The job.
        settings: The server's.
        store: The server's.
        closing: Set when the server goes down; the job then stays as it is.
    """

    def __init__(self, job_id: str, settings: Settings, store: Store, closing: threading.Event) -> None:
        self._id = job_id
        self._settings = settings
        self._store = store
        self._closing = closing
        self._dir = settings.job_dir(job_id)
        self._pace = Pace()
        self.was_broken_off = False
        """Whether the server's own disk ended the run before its time."""
        self._thread = threading.Thread(target=self._run, name=f"run-{job_id}", daemon=True)

    def start(self) -> None:
        """Begins in a thread of its own; `join` waits for it."""
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether the run goes on."""
        return self._thread.is_alive()

    def join(self) -> None:
        """Waits for the end of the run."""
        self._thread.join()

    def _run(self) -> None:
        try:
            self._train_to_the_end()
            self._clear_up()
        except (OSError, sqlite3.Error) as error:
            # The disk has let the server down; the supervisor takes the job up again.
            self.was_broken_off = True
            _log.error(
                "job broken off",
                extra=fields(job=self._id, error=type(error).__name__, reason=str(error)),
            )
        except Exception:  # noqa: BLE001 - a mistake of ours ends the job, and does not leave it running for ever
            _log.exception("job broken off", extra=fields(job=self._id))
            self._fail(
                JobError(code="internal_error", message="The server failed to run the job; see its log.")
            )

    def _train_to_the_end(self) -> None:
        if not self._is_left_alone():
            return
        while (job := self._wanted()) is not None:
            self._take_in_events()
            if self._finish():
                return
            if job.status == "pausing":
                self._pause()
                return
            if (started := self._begin_attempt()) is not None:
                self._train(started)

    def _clear_up(self) -> None:
        job = self._store.jobs.get(self._id)
        if job is not None and job.is_terminal:
            # The work last: what is left of it tells the next start that there is something to clear up.
            discard_other_epochs(self._dir, self._store.checkpoints(self._id))
            job_files.discard_work(self._dir)

    def _wanted(self) -> JobRecord | None:
        """The job, None when it is not to be trained (any more)."""
        if self._closing.is_set():
            return None
        job = self._store.jobs.get(self._id)
        return job if job and job.status in {"queued", "running", "pausing"} else None

    def _is_left_alone(self) -> bool:
        """Waits until the trainer of a server that was killed has gone."""
        deadline = time.monotonic() + self._settings.timing.lock_wait_seconds
        while job_files.is_locked(self._dir):
            if self._closing.wait(self._settings.timing.poll_seconds):
                return False
            if time.monotonic() > deadline:
                message = (
                    f"A training process of an earlier server still holds {self._dir / 'lock'}. "
                    "End that process and create the job again."
                )
                self._fail(JobError(code="training_process_stuck", message=message))
                return False
        return True

    def _begin_attempt(self) -> JobRecord | None:
        job = self._store.jobs.get(self._id)
        if job is None:
            return None
        now = int(time.time())
        changes: dict[str, Any] = {"status": "running", "attempt": job.attempt + 1}
        message = "Fine-tuning job started"
        if job.attempt == 0:
            changes["started_at"] = now
        else:
            message = f"Fine-tuning job resumed {self._where_from()} (attempt {job.attempt + 1})"
        event = NewEvent(message=message, created_at=now)
        return self._store.jobs.transition(
            self._id, when={"queued", "running"}, changes=changes, events=[event]
        )

    def _where_from(self) -> str:
        step = job_files.newest_checkpoint(self._dir)
        return (
            f"from the checkpoint at step {step}" if step else "from the start, as it has no checkpoint yet"
        )

    def _train(self, job: JobRecord) -> None:
        """Runs one trainer until it ends or is not wanted any more, and judges its end."""
        job_files.drop_torn_line(self._dir, job.events_offset)
        job_files.write_job(self._dir, job, bases_dir=self._settings.bases_dir)
        try:
            process = TrainerProcess.start(self._settings.trainer_command, self._dir)
        except OSError as error:
            self._count_death(f"could not be started: {error}")
            return
        _log.info("trainer started", extra=fields(job=job.id, attempt=job.attempt, pid=process.pid))
        self._pace = Pace()
        try:
            self._watch(process)
        finally:
            code = process.finish()
        _log.info("trainer ended", extra=fields(job=job.id, attempt=job.attempt, exit=describe_exit(code)))
        self._take_in_events()
        wanted = self._wanted()
        if wanted is None or wanted.status == "pausing" or read_outcome(self._dir) is not None:
            return
        memory = " as the machine ran out of memory" if process.was_killed_for_memory() else ""
        self._count_death(f"ended with {describe_exit(code)}{memory}")

    def _watch(self, process: TrainerProcess) -> None:
        """Waits for the trainer's end; asks for it when the job is to be paused or the server goes down."""
        timing = self._settings.timing
        deadline: float | None = None
        while not process.has_exited():
            self._take_in_events()
            job = self._store.jobs.get(self._id)
            if job is None or job.status not in {"running", "pausing"}:
                return  # cancelled: nothing of it will be needed
            if deadline is not None and time.monotonic() > deadline:
                return
            if deadline is None and (job.status == "pausing" or self._closing.is_set()):
                process.ask_to_end()
                deadline = time.monotonic() + timing.checkpoint_grace_seconds
            time.sleep(timing.poll_seconds)

    def _take_in_events(self) -> None:
        """Enters the trainer's new events, and how far they were read, in one transaction."""
        job = self._store.jobs.get(self._id)
        if job is None:
            return
        new = read_new_lines(self._dir / job_files.EVENTS, job.events_offset)
        if not new.lines:
            return
        events = [event for line in new.lines if (event := parse_event(line)) is not None]
        if len(events) < len(new.lines):
            _log.warning(
                "lines are no events", extra=fields(job=job.id, num_lines=len(new.lines) - len(events))
            )
        checkpoints = checkpoint_models(job, events, self._dir)
        changes: dict[str, Any] = {"events_offset": new.offset}
        if hyperparameters := resolved_hyperparameters(events):
            changes["hyperparameters"] = hyperparameters
        if finish := self._pace.estimated_finish(events, now=time.time()):
            changes["estimated_finish"] = finish
        old = self._store.enter_progress(
            self._id, changes=changes, events=with_names(events, checkpoints), checkpoints=checkpoints
        )
        discard_checkpoints(old)

    def _count_death(self, how: str) -> None:
        job = self._store.jobs.get(self._id)
        if job is None:
            return
        step = job_files.newest_checkpoint(self._dir)
        num_deaths = 1 if step > job.checkpoint_step else job.num_deaths + 1
        if num_deaths >= _MAX_DEATHS:
            message = (
                f"The training process {how}, the third time without a new checkpoint. "
                f"Its log is {self._dir / job_files.TRAINER_LOG}."
            )
            self._fail(JobError(code="training_process_killed", message=message))
            return
        event = _event(f"The training process {how}; it is started again.", level="warn")
        changes = {"num_deaths": num_deaths, "checkpoint_step": step}
        self._store.jobs.transition(self._id, when={"running", "pausing"}, changes=changes, events=[event])

    def _finish(self) -> bool:
        """Ends the job when the trainer has left its result; whether it had."""
        outcome = read_outcome(self._dir)
        if outcome is None:
            return False
        if isinstance(outcome, Succeeded):
            self._succeed(outcome)
        else:
            self._fail(outcome.error)
        return True

    def _succeed(self, outcome: Succeeded) -> None:
        job = self._store.jobs.get(self._id)
        if job is None:
            return
        now = int(time.time())
        model = model_of(job, outcome, now=now)
        result_file = keep_result_file(job, outcome, self._settings, now=now)
        changes = {
            "status": "succeeded",
            "finished_at": now,
            "estimated_finish": None,
            "trained_tokens": outcome.trained_tokens,
            "fine_tuned_model": model.id,
            "result_files": [result_file.id] if result_file else [],
        }
        events = [_event("New fine-tuned model created"), _event("The job has successfully completed")]
        self._store.finish_job(self._id, changes=changes, model=model, result_file=result_file, events=events)
        _log.info("job succeeded", extra=fields(job=self._id, model=model.id))

    def _fail(self, error: JobError) -> None:
        changes = {
            "status": "failed",
            "finished_at": int(time.time()),
            "estimated_finish": None,
            "error": error,
        }
        event = NewEvent(message=error.message, created_at=int(time.time()), level="error")
        self._store.jobs.transition(
            self._id, when={"queued", "running", "pausing"}, changes=changes, events=[event]
        )
        _log.warning("job failed", extra=fields(job=self._id, code=error.code))

    def _pause(self) -> None:
        changes = {"status": "paused", "estimated_finish": None}
        event = _event("Fine-tuning job paused")
        self._store.jobs.transition(self._id, when={"pausing"}, changes=changes, events=[event])


def _event(message: str, level: EventLevel = "info") -> NewEvent:
    return NewEvent(message=message, created_at=int(time.time()), level=level)
