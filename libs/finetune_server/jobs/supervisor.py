"""The queue: jobs are validated and trained in the order they came, and taken up again after a crash."""

import contextlib
import logging
import sqlite3
import threading
import time
from typing import Any

from finetune_server.config import Settings
from finetune_server.jobs import job_files
from finetune_server.jobs.job_run import JobRun
from finetune_server.jobs.sweep import sweep
from finetune_server.jobs.validation import FileParam, InvalidFileError, check_file
from finetune_server.logs import fields
from finetune_server.storage.job_table import NewEvent
from finetune_server.storage.records import JobError, JobRecord, JobStatus
from finetune_server.storage.store import Store

_MIN_EXAMPLES = 10
_LOOK_SECONDS = 1.0
_PURGE_SECONDS = 60.0
_log = logging.getLogger(__name__)


class Supervisor:
    """Takes jobs from the store through validation and training.

    It keeps no list of its own: which job comes next is in the store, so that a start after a crash is a
    start like any other. One thread validates and dispatches, each running job has a thread that watches
    its trainer; `close` joins them all.

    Args:
        settings: The server's.
        store: The server's.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._closing = threading.Event()
        self._wake = threading.Event()
        self._runs: dict[str, JobRun] = {}
        self._not_before: dict[str, float] = {}
        self._next_purge = 0.0
        self._thread = threading.Thread(target=self._dispatch, name="supervisor", daemon=True)

    def start(self) -> None:
        """Begins; jobs that an earlier server left unfinished come first."""
        # Before the first request: a job that is just being created has a directory before it has a row.
        sweep(self._settings, self._store)
        self._thread.start()

    def wake(self) -> None:
        """Says that a job has come or changed."""
        self._wake.set()

    def close(self) -> None:
        """Ends all trainers and threads; jobs stay as they are, for the next start."""
        self._closing.set()
        self._wake.set()
        self._thread.join()
        for run in self._runs.values():
            run.join()

    def _dispatch(self) -> None:
        while not self._closing.is_set():
            try:
                self._look()
            except Exception as error:  # noqa: BLE001 - no memory for a thread, a full disk: all jobs hang on it
                _log.error("supervisor failed", extra=fields(error=type(error).__name__, reason=str(error)))
            self._wake.wait(_LOOK_SECONDS)
            self._wake.clear()

    def _look(self) -> None:
        self._purge_expired_files()
        self._start_runs()
        for job in self._store.jobs.unfinished("validating_files"):
            self._validate(job)
            self._start_runs()

    def _start_runs(self) -> None:
        for job_id in [job_id for job_id, run in self._runs.items() if not run.is_alive()]:
            if self._runs.pop(job_id).was_broken_off:
                self._not_before[job_id] = time.monotonic() + self._settings.timing.retry_seconds
        waiting = self._store.jobs.unfinished("running", "pausing") + self._store.jobs.unfinished("queued")
        self._not_before = {job.id: t for job in waiting if (t := self._not_before.get(job.id)) is not None}
        for job in waiting:
            if len(self._runs) >= self._settings.max_concurrent_jobs or self._closing.is_set():
                return
            if job.id in self._runs or self._not_before.get(job.id, 0.0) > time.monotonic():
                continue
            if not self._settings.job_dir(job.id).is_dir():
                self._fail_without_directory(job)
            else:
                self._runs[job.id] = JobRun(job.id, self._settings, self._store, self._closing)
                self._runs[job.id].start()

    def _fail_without_directory(self, job: JobRecord) -> None:
        message = (
            f"The job's directory {self._settings.job_dir(job.id)} is gone, and with it what was trained. "
            "Create the job again."
        )
        self._refuse(job, JobError(code="job_directory_gone", message=message))

    def _validate(self, job: JobRecord) -> None:
        try:
            self._check(job, "training_file", job_files.TRAINING, min_examples=_MIN_EXAMPLES)
            if job.validation_file is not None:
                self._check(job, "validation_file", job_files.VALIDATION, min_examples=1)
        except job_files.NotWantedError:
            return
        except InvalidFileError as error:
            self._refuse(job, JobError(code=error.code, message=error.message, param=error.param))
        except FileNotFoundError:
            message = (
                "The job's input files are gone from its directory. Upload them and create the job again."
            )
            self._refuse(job, JobError(code="file_not_found", message=message))
        except (OSError, sqlite3.Error):
            raise
        except Exception:  # noqa: BLE001 - a mistake of ours ends the job, and does not leave it waiting
            _log.exception("job cannot be validated", extra=fields(job=job.id))
            message = "The server failed to validate the job's files; see its log."
            self._refuse(job, JobError(code="internal_error", message=message))
        else:
            self._move(job, "queued", {}, "Files validated, moving job to queued state")

    def _check(self, job: JobRecord, param: FileParam, name: str, *, min_examples: int) -> None:
        limits = self._settings.limits
        lines = job_files.read_lines(
            self._settings.job_dir(job.id) / name,
            max_bytes=limits.max_row_bytes,
            is_wanted=lambda: self._is_in(job.id, "validating_files"),
        )
        with contextlib.closing(lines):
            check_file(
                lines,
                param,
                min_examples=min_examples,
                max_examples=limits.max_rows,
                max_bytes=limits.max_row_bytes,
            )

    def _is_in(self, job_id: str, status: JobStatus) -> bool:
        job = self._store.jobs.get(job_id)
        return job is not None and job.status == status and not self._closing.is_set()

    def _refuse(self, job: JobRecord, error: JobError) -> None:
        changes = {"error": error, "finished_at": int(time.time()), "estimated_finish": None}
        self._move(job, "failed", changes, error.message)
        job_files.discard_work(self._settings.job_dir(job.id))

    def _move(self, job: JobRecord, status: JobStatus, changes: dict[str, Any], message: str) -> None:
        event = NewEvent(
            message=message,
            created_at=int(time.time()),
            level="error" if status == "failed" else "info",
        )
        self._store.jobs.transition(
            job.id, when={job.status}, changes=changes | {"status": status}, events=[event]
        )
        _log.info("job moved", extra=fields(job=job.id, status=status))

    def _purge_expired_files(self) -> None:
        if time.monotonic() < self._next_purge:
            return
        self._next_purge = time.monotonic() + _PURGE_SECONDS
        for file in self._store.expired_files(now=int(time.time())):
            self._store.delete_file(file.id)
            self._settings.file_path(file.id).unlink(missing_ok=True)
