"""Find or create: the same order lands on the same job, whoever gives it and however often."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from langchain_finetune.errors import HostError, UnknownBaseError
from langchain_finetune.hosts import LOCAL, Host
from langchain_finetune.trainers.exchange import Exchange, Sleep
from langchain_finetune.trainers.job_state import SUCCEEDED, JobState
from langchain_finetune.trainers.key import Order, job_key
from langchain_finetune.trainers.key_lock import KeyLock
from langchain_finetune.trainers.openai_errors import is_ambiguous
from langchain_finetune.trainers.protocol import HostProtocol, protocol_of

logger = logging.getLogger(__name__)

_LOCK_SECONDS: Final = 0.1
_RECONCILE_SECONDS: Final = 1.0
"""Pause before looking for a job whose creation failed in a way that leaves it open whether it exists."""


class Placed(NamedTuple):
    """A job, and whether it was there before."""

    job: JobState
    is_reused: bool


def place(order: Order, host: Host, now: float) -> Exchange[Placed]:
    """Find the job of an order, or create it.

    Args:
        order: What is to be trained.
        host: Where.
        now: Seconds since 1970.

    Raises:
        UnknownBaseError: The host does not know the base, or cannot train it.
        TrainingNotAvailable: The host lets this account train no more.
        AuthenticationFailedError: The host does not accept the key.
        HostUnreachableError: The host cannot be reached.
        HostError: The host refused for another reason.
    """
    key = job_key(order, (yield from _weights_of(order.base, host)))
    with KeyLock(key) as lock:
        # Two that look at the same moment would both find nothing and both create.
        while not lock.is_acquired():
            yield Sleep(_LOCK_SECONDS)
        if job := (yield from _find(key, host, now)):
            logger.info("found job %s for this data and these settings: %s", job.id, job.status)
            return Placed(job, is_reused=True)
        return Placed((yield from _create(order, host, key)), is_reused=False)


def _weights_of(base: str, host: Host) -> Exchange[str | None]:
    protocol = protocol_of(host)
    # The embedded server knows every base that it can train; other hosts train some that they do not list.
    found = yield from (protocol.retrieve_model(base) if host is LOCAL else protocol.find_model(base))
    weights = (found or {}).get("weights_sha256")
    return weights if isinstance(weights, str) else None


def _find(key: str, host: Host, now: float) -> Exchange[JobState | None]:
    jobs = yield from protocol_of(host).jobs_with_key(key)
    for job in jobs:
        if job.status == SUCCEEDED and not (yield from _is_gone(job, host, now)):
            return job
    return next((job for job in jobs if job.is_live), None)


def _is_gone(job: JobState, host: Host, now: float) -> Exchange[bool]:
    """Tell whether the tuned model was deleted at its host: its job is of no use any more."""
    if job.model is None or (yield from protocol_of(host).find_model(job.model)) is not None:
        return False
    # A host may need a while to list a new model: to train anew in that time would be to pay twice.
    return now - (job.finished_at or now) >= host.model_grace_seconds


def _create(order: Order, host: Host, key: str) -> Exchange[JobState]:
    protocol = protocol_of(host)
    file_ids: list[str] = []
    may_exist = False
    try:
        for path, name in _uploads(order):
            file_ids.append((yield from protocol.upload(path, name)))
        may_exist = True
        body = protocol.job_body(order, host, key, *file_ids)
        return (yield from _create_once(protocol, body, key))
    except (HostError, UnknownBaseError) as e:
        # A job that may exist after all still needs its files.
        if not (may_exist and is_ambiguous(e)):
            yield from _delete(protocol, file_ids)
        raise


def _uploads(order: Order) -> Iterator[tuple[Path, str]]:
    yield order.train, f"train-{order.train_sha256[:16]}.jsonl"
    if order.validation is not None:
        yield order.validation, f"validation-{(order.validation_sha256 or '')[:16]}.jsonl"


def _create_once(protocol: HostProtocol, body: Mapping[str, Any], key: str) -> Exchange[JobState]:
    try:
        return (yield from protocol.create_job(body))
    except HostError as e:
        if not is_ambiguous(e):
            raise
        logger.warning("creating the job failed in a way that leaves it open whether it exists: %s", e)
        if job := (yield from _look_again(protocol, key)):
            return job
    try:
        return (yield from protocol.create_job(body))
    except HostError as e:
        if is_ambiguous(e) and (job := (yield from _look_again(protocol, key))):
            return job
        raise


def _look_again(protocol: HostProtocol, key: str) -> Exchange[JobState | None]:
    yield Sleep(_RECONCILE_SECONDS)
    jobs = yield from protocol.jobs_with_key(key)
    return next((job for job in jobs if job.is_live or job.status == SUCCEEDED), None)


def _delete(protocol: HostProtocol, file_ids: list[str]) -> Exchange[None]:
    for file_id in file_ids:
        try:
            yield from protocol.delete_file(file_id)
        except HostError as e:
            logger.warning("the uploaded file %s could not be deleted: %s", file_id, e)
