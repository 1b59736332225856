"""What is left of a job that has ended: its end recorded, its uploads deleted where that is wanted."""

import logging
from collections.abc import Iterable
from typing import Final, TypeVar

from langchain_finetune.errors import (
    HostError,
    JobCancelled,
    JobNotFoundError,
    StorageError,
    TrainingFailed,
)
from langchain_finetune.trainers.exchange import Exchange
from langchain_finetune.trainers.jobs.job_state import SUCCEEDED, JobState
from langchain_finetune.trainers.ledger.key_lock import KeyLock
from langchain_finetune.trainers.ledger.rows import Attempt
from langchain_finetune.trainers.placing.site import Site

logger = logging.getLogger(__name__)

T = TypeVar("T")

_NOT_FOUND: Final = 404


class Ending:
    """What follows when a job's end is seen.

    Args:
        job_id: The job.
        site: Where.
        clears_uploads: Whether the uploads are to go; they also go when this was wanted at its creation.
    """

    def __init__(self, job_id: str, site: Site, *, clears_uploads: bool) -> None:
        self._job_id = job_id
        self._site = site
        self._clears_uploads = clears_uploads

    def after_look(self, looking: Exchange[JobState]) -> Exchange[JobState]:
        """Look at a job, or wait for it, and see to what follows where it has ended without a model."""
        job = yield from self._after_failure(looking)
        if job.is_terminal and job.status != SUCCEEDED:
            yield from self._close()
        return job

    def after_delivery(self, delivering: Exchange[T]) -> Exchange[T]:
        """Get a job's model, and see to what follows.

        A success has been seen when its model is there and not before: a process that dies in between has
        given its owner nothing.
        """
        delivered = yield from self._after_failure(delivering)
        yield from self._close()
        return delivered

    def _after_failure(self, looking: Exchange[T]) -> Exchange[T]:
        try:
            return (yield from looking)
        except (TrainingFailed, JobCancelled):
            yield from self._close()
            raise

    def _close(self) -> Exchange[None]:
        return _close(self._job_id, self._site, clears_uploads=self._clears_uploads)


def clear_what_ended(site: Site) -> Exchange[None]:
    """Delete the uploads of earlier jobs that ended while nobody was looking."""
    for attempt in (yield from site.ledger.to_clear()):
        if attempt.job_id is None:
            continue
        try:
            is_over = not (yield from _is_live(attempt.job_id, site))
        except HostError as e:
            logger.info("cannot tell whether job %s has ended, its uploads stay: %s", attempt.job_id, e)
            continue
        # Its owner has not been given the model: that the end was seen is not recorded here.
        if is_over and (yield from _clear_job(attempt.job_id, attempt, site)):
            yield from site.ledger.cleared(attempt)


def clear_refused(site: Site, attempt: Attempt) -> Exchange[None]:
    """Delete what was uploaded for a job that the host refused, unless another job has use for it."""
    try:
        file_ids = yield from site.ledger.condemn_own(attempt)
        yield from _delete(site, file_ids)
    except StorageError as e:
        # The refusal is what the caller has to hear of.
        logger.warning("the uploads of a refused job stay at the host: %s", e)


def _close(job_id: str, site: Site, *, clears_uploads: bool) -> Exchange[None]:
    """Clear what is to go and record a job's end; what fails here is no failure of the job."""
    try:
        attempt = yield from site.ledger.attempt_with_job(job_id)
        is_wanted = clears_uploads or (attempt is not None and attempt.clears_uploads)
        is_clear = attempt is not None and attempt.cleared_at is not None
        if is_wanted and not is_clear:
            is_clear = yield from _clear_job(job_id, attempt, site)
        if attempt:
            yield from site.ledger.ended(attempt, clears_uploads=is_wanted, is_clear=is_clear)
    except StorageError as e:
        logger.warning("the end of job %s could not be recorded: %s", job_id, e)


def _clear_job(job_id: str, attempt: Attempt | None, site: Site) -> Exchange[bool]:
    try:
        return (yield from _clear((yield from _files_of(job_id, attempt, site)), job_id, site))
    except HostError as e:
        logger.warning("the uploads of job %s could not be deleted yet: %s", job_id, e)
        return False


def _files_of(job_id: str, attempt: Attempt | None, site: Site) -> Exchange[list[str]]:
    if attempt and attempt.file_ids:
        return attempt.file_ids
    try:
        job = yield from site.protocol.retrieve_job(job_id)
    except JobNotFoundError:
        return []
    return [file_id for file_id in (job.training_file, job.validation_file) if file_id]


def _clear(file_ids: Iterable[str], job_id: str, site: Site) -> Exchange[bool]:
    """Delete uploads, and tell whether none is left; one that a live job uses stays."""
    is_clear = True
    for file_id in file_ids:
        past_users = yield from _past_users(file_id, job_id, site)
        if past_users is None or not (yield from site.ledger.condemn(file_id, past_users)):
            logger.info("the upload %s stays: another job that has not ended uses it", file_id)
            is_clear = False
        elif not (yield from _delete(site, [file_id])):
            is_clear = False
    return is_clear


def _past_users(file_id: str, job_id: str, site: Site) -> Exchange[set[tuple[str, int]] | None]:
    """Return the attempts that used an upload and need it no more; None where one, or another job, does."""
    past: set[tuple[str, int]] = set()
    for attempt in (yield from site.ledger.claims_on(file_id)):
        if attempt.job_id == job_id:
            past.add(attempt.name)
        elif attempt.job_id is None:
            if _is_being_placed(attempt.key):
                return None
            past.add(attempt.name)
        elif (yield from _is_live(attempt.job_id, site)):
            return None
        else:
            past.add(attempt.name)
    # Jobs of other machines, and those that a crash kept out of the ledger.
    jobs = yield from site.protocol.jobs_on_file(file_id)
    return None if any(job.is_live and job.id != job_id for job in jobs) else past


def _is_being_placed(key: str) -> bool:
    with KeyLock(key) as lock:
        return not lock.is_acquired()


def _is_live(job_id: str, site: Site) -> Exchange[bool]:
    try:
        return (yield from site.protocol.retrieve_job(job_id)).is_live
    except JobNotFoundError:
        return False


def _delete(site: Site, file_ids: Iterable[str]) -> Exchange[bool]:
    is_clear = True
    for file_id in file_ids:
        try:
            yield from site.protocol.delete_file(file_id)
        except HostError as e:
            if e.status_code != _NOT_FOUND:
                logger.warning("the uploaded file %s could not be deleted: %s", file_id, e)
                is_clear = False
    return is_clear
