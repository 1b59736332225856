"""A job that may exist although nobody said so: looked up until it is found, or until it is safe to post.

Hosts differ in how a job can be recognized: by its metadata where they keep it, else by the upload that it
trains on, which every job object names. A host's listing may lag behind what the host has done, so that
"not there" is believed after a few looks only.
"""

import logging
from collections.abc import Sequence
from typing import Final

from langchain_finetune.errors import HostError
from langchain_finetune.trainers.exchange import Exchange, Sleep
from langchain_finetune.trainers.hosts.refusals import is_transient
from langchain_finetune.trainers.jobs.job_state import JobState
from langchain_finetune.trainers.jobs.key import KEY_FIELD, Order
from langchain_finetune.trainers.ledger.rows import Attempt
from langchain_finetune.trainers.placing.site import Site

logger = logging.getLogger(__name__)

_LOOK_PAUSES: Final = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each look."""

_SETTLED_SECONDS: Final = 300.0
"""After so long a listing shows what there is: one look is enough."""

_CLOCK_SKEW_SECONDS: Final = 3600.0
"""How far a host's clock may be behind this machine's."""


def look_for_job(
    site: Site, order: Order, attempt: Attempt, file_ids: Sequence[str]
) -> Exchange[JobState | None]:
    """Look for the job that an attempt may have created.

    Args:
        site: Where.
        order: What was ordered.
        attempt: The attempt, as it was recorded before the post.
        file_ids: The uploads that the post named, the training file first.

    Returns:
        The job, in whatever state; None when the host's listing does not have it.

    Raises:
        HostError: The last look failed: it is not known whether there is a job, and nothing may be posted.
    """
    for pause in look_pauses(attempt, site) or (0.0,):
        if pause:
            yield Sleep(pause)
        failure = None
        try:
            job = yield from _look(site, order, attempt, file_ids)
        except HostError as e:
            if not is_transient(e):
                raise
            failure = e
            continue
        if job:
            logger.info("found job %s, whose creation had been left open", job.id)
            return job
    if failure:
        raise failure
    return None


def look_pauses(attempt: Attempt, site: Site) -> tuple[float, ...]:
    """Return the seconds before each further look for the job of an attempt: none when it is settled."""
    age = site.clock() - (attempt.posted_at or 0.0)
    return () if age > _SETTLED_SECONDS else _LOOK_PAUSES


def _look(site: Site, order: Order, attempt: Attempt, file_ids: Sequence[str]) -> Exchange[JobState | None]:
    jobs = yield from site.protocol.jobs_with_key(attempt.key)
    for job in jobs:
        if job.id not in attempt.seen:
            return job
    training_file = next(iter(file_ids), None)
    if training_file is None:
        return None
    for job in (yield from site.protocol.jobs_on_file(training_file)):
        if _may_be(job, order, attempt, list(file_ids)) and not (
            yield from site.ledger.attempt_with_job(job.id)
        ):
            return job
    return None


def _may_be(job: JobState, order: Order, attempt: Attempt, file_ids: list[str]) -> bool:
    """Tell whether a job without our metadata is the one that an attempt has created."""
    if job.metadata.get(KEY_FIELD) is not None or job.id in attempt.seen:
        return False
    files = [file_id for file_id in (job.training_file, job.validation_file) if file_id]
    # A host may tell the dated name of a base that was ordered by its short one.
    is_base = job.base.startswith(order.base) or order.base.startswith(job.base)
    since = (attempt.posted_at or 0.0) - _CLOCK_SKEW_SECONDS
    is_recent = job.created_at is None or job.created_at >= since
    return files[:1] == file_ids[:1] and files in (file_ids, file_ids[:1]) and is_base and is_recent
