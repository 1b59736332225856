"""What a client does to jobs: create, cancel, pause, resume; the checks that can be made at once."""

import hashlib
import secrets
import shutil
import sqlite3
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from finetune_server.catalog import enter_base
from finetune_server.config import Settings
from finetune_server.errors import ApiError, UnknownBase
from finetune_server.ids import new_id
from finetune_server.jobs import job_files
from finetune_server.jobs.alias import check_alias
from finetune_server.jobs.job_request import JobRequest
from finetune_server.jobs.validation import FileParam
from finetune_server.storage.job_table import NewEvent
from finetune_server.storage.records import JobRecord, JobStatus
from finetune_server.storage.store import Store

_WAITING: frozenset[JobStatus] = frozenset({"validating_files", "queued"})
_WITH_TRAINER: frozenset[JobStatus] = frozenset({"running", "pausing"})
_CANCELLABLE: frozenset[JobStatus] = frozenset({"validating_files", "queued", "running", "pausing", "paused"})


class Admission:
    """Creates jobs and changes their course; the supervisor then does what the store says.

    Args:
        settings: The server's.
        store: The server's.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store

    def admit(self, request: JobRequest, idempotency_key: str | None) -> JobRecord:
        """Creates the job that the request asks for, or finds it under its idempotency key.

        Raises:
            ApiError: When it cannot be created.
        """
        digest = hashlib.sha256(request.model_dump_json().encode()).hexdigest()
        if (job := self._existing(idempotency_key, digest)) is not None:
            return job
        self._check(request)
        job = _new_job(request)
        try:
            with self._directory(job):
                self._store.jobs.create(
                    job, _first_events(job), idempotency_key=idempotency_key, request_sha256=digest
                )
        except sqlite3.IntegrityError:
            # Two requests under one key at the same time, and the other one was first.
            if (first := self._existing(idempotency_key, digest)) is None:
                raise
            return first
        return job

    def cancel(self, job: JobRecord) -> JobRecord:
        """Ends a job, and with it its trainer. A cancelled job may be cancelled again.

        Raises:
            ApiError: When the job has already ended in another way.
        """
        changes = {"status": "cancelled", "finished_at": int(time.time()), "estimated_finish": None}
        cancelled = self._change(job, _CANCELLABLE, changes, "The job was cancelled")
        if cancelled is None:
            return self._already(job, "cancelled", wanted={"cancelled"})
        if job.status not in _WITH_TRAINER:
            job_files.discard_work(self._settings.job_dir(job.id))
        return cancelled

    def pause(self, job: JobRecord) -> JobRecord:
        """Holds a job until it is resumed; one that trains first lets its trainer end.

        Raises:
            ApiError: When the job has already ended.
        """
        return (
            self._change(job, _WAITING, {"status": "paused"}, "Fine-tuning job paused")
            or self._change(job, {"running"}, {"status": "pausing"}, "Pausing the fine-tuning job")
            or self._already(job, "paused", wanted={"pausing", "paused"})
        )

    def resume(self, job: JobRecord) -> JobRecord:
        """Queues a paused job again, in the place that its age gives it.

        Raises:
            ApiError: When the job is not paused.
        """
        # One that never trained may have been paused before its files were read to the end.
        status: JobStatus = "queued" if job.attempt else "validating_files"
        return self._change(job, {"paused"}, {"status": status}, "Fine-tuning job resumed") or self._already(
            job, "resumed", wanted={"validating_files", "queued", "running"}
        )

    def _change(
        self, job: JobRecord, when: Collection[JobStatus], changes: Mapping[str, Any], message: str
    ) -> JobRecord | None:
        event = NewEvent(message=message, created_at=int(time.time()))
        return self._store.jobs.transition(job.id, when=when, changes=changes, events=[event])

    def _already(self, job: JobRecord, verb: str, *, wanted: Collection[JobStatus]) -> JobRecord:
        """The job as it is now, when that is what was wanted: a client that lost an answer asks twice."""
        now = self._store.jobs.get(job.id) or job
        if now.status in wanted:
            return now
        message = f"Job {job.id} is {now.status} and cannot be {verb}."
        raise ApiError(400, message, param="fine_tuning_job_id", code="invalid_job_state")

    def _existing(self, idempotency_key: str | None, digest: str) -> JobRecord | None:
        found = self._store.jobs.with_idempotency_key(idempotency_key) if idempotency_key else None
        if found is None:
            return None
        job, first_digest = found
        if first_digest != digest:
            message = f"This Idempotency-Key created job {job.id} from another request. Use a new key."
            raise ApiError(400, message, type="idempotency_error", code="idempotency_key_reused")
        return job

    def _check(self, request: JobRequest) -> None:
        request.check_supported()
        check_alias(request.metadata, self._store)
        self._check_queue()
        self._check_file(request.training_file, "training_file")
        if request.validation_file is not None:
            self._check_file(request.validation_file, "validation_file")
        self._check_base(request.model)

    def _check_queue(self) -> None:
        limits = self._settings.limits
        if self._store.jobs.num_unfinished() >= limits.max_pending_jobs:
            message = (
                "This fine-tune request has been rate-limited. This server has reached the maximum of "
                f"{limits.max_pending_jobs} active requests. Wait for a job to end, or cancel one."
            )
            raise ApiError(429, message, code="rate_limit_exceeded")
        if shutil.disk_usage(self._settings.state_dir).free < limits.min_free_bytes:
            message = "There is no room for another job. Free some of the server's disk."
            raise ApiError(507, message, type="server_error", code="insufficient_storage")

    def _check_file(self, file_id: str, param: FileParam) -> None:
        file = self._store.find_file(file_id, now=int(time.time()))
        if file is None:
            raise _no_such_file(file_id, param)
        if file.purpose != "fine-tune":
            message = f"invalid {param}: {file_id} has purpose '{file.purpose}', not 'fine-tune'."
            raise ApiError(400, message, param=param, code="invalid_value")

    def _check_base(self, name: str) -> None:
        try:
            enter_base(self._store, name)
        except UnknownBase as error:
            raise ApiError(400, str(error), param="model", code="model_not_available") from error

    @contextmanager
    def _directory(self, job: JobRecord) -> Iterator[None]:
        """The job's directory with its inputs; gone again when the block fails."""
        job_dir = self._settings.job_dir(job.id)
        job_dir.mkdir(mode=0o700)
        try:
            self._link(job.training_file, job_dir / job_files.TRAINING, "training_file")
            if job.validation_file is not None:
                self._link(job.validation_file, job_dir / job_files.VALIDATION, "validation_file")
            yield
        except BaseException:
            shutil.rmtree(job_dir, ignore_errors=True)
            raise

    def _link(self, file_id: str, target: Path, param: FileParam) -> None:
        try:
            job_files.link_input(self._settings.file_path(file_id), target)
        except FileNotFoundError:
            raise _no_such_file(file_id, param) from None


def _new_job(request: JobRequest) -> JobRecord:
    return JobRecord(
        id=new_id("ftjob"),
        status="validating_files",
        base=request.model,
        training_file=request.training_file,
        validation_file=request.validation_file,
        method="supervised",
        hyperparameters=request.asked_hyperparameters(),
        seed=secrets.randbelow(2**31) if request.seed is None else request.seed,
        suffix=request.suffix,
        metadata=request.metadata or None,
        created_at=int(time.time()),
    )


def _first_events(job: JobRecord) -> list[NewEvent]:
    messages = [f"Created fine-tuning job: {job.id}", f"Validating training file: {job.training_file}"]
    if job.validation_file is not None:
        messages.append(f"Validating validation file: {job.validation_file}")
    return [NewEvent(message=message, created_at=job.created_at) for message in messages]


def _no_such_file(file_id: str, param: FileParam) -> ApiError:
    message = f"invalid {param}: {file_id} does not exist. Upload it first, with purpose 'fine-tune'."
    return ApiError(400, message, param=param, code="file_not_found")
