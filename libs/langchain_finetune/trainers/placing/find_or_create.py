"""Find or create: the same order lands on the same job, whoever gives it and however often."""

import logging
from collections.abc import Sequence
from typing import Final, NamedTuple

from langchain_finetune.errors import HostError, JobNotFoundError, StorageError, UnknownBaseError
from langchain_finetune.hosts import LOCAL
from langchain_finetune.trainers.exchange import Exchange, Sleep
from langchain_finetune.trainers.hosts.refusals import is_ambiguous, is_transient
from langchain_finetune.trainers.jobs.job_state import SUCCEEDED, JobState
from langchain_finetune.trainers.jobs.key import KEY_FIELD, Order, idempotency_key, job_key
from langchain_finetune.trainers.ledger.key_lock import KeyLock, acquire
from langchain_finetune.trainers.ledger.rows import Attempt
from langchain_finetune.trainers.placing.clearing import clear_refused, clear_what_ended
from langchain_finetune.trainers.placing.reconciling import look_for_job, look_pauses
from langchain_finetune.trainers.placing.site import Site
from langchain_finetune.trainers.placing.uploading import Rows, have_upload

logger = logging.getLogger(__name__)

_MOST_RECALLED: Final = 5


class Placed(NamedTuple):
    """A job, and whether it was there before."""

    job: JobState
    is_reused: bool


def place(
    order: Order, site: Site, *, retrain: bool = False, clears_uploads: bool = False
) -> Exchange[Placed]:
    """Find the job of an order, or create it.

    Args:
        order: What is to be trained.
        site: Where.
        retrain: Whether a new job is wanted although there is one. One that was created for this wish and
            whose end nobody has seen is taken up: a crash in between makes no second one.
        clears_uploads: Whether the uploads are to be deleted when the job has ended.

    Raises:
        UnknownBaseError: The host does not know the base, or cannot train it.
        TrainingNotAvailable: The host lets this account train no more.
        AuthenticationFailedError: The host does not accept the key.
        HostUnreachableError: The host cannot be reached.
        HostError: The host refused for another reason.
        StorageError: The state directory cannot be used.
    """
    key = job_key(order, (yield from _weights_of(order.base, site)))
    yield from clear_what_ended(site)
    with KeyLock(key) as lock:
        # Two that look at the same moment would both find nothing and both create.
        yield from acquire(lock, "is placing the same order")
        wish = _Wish(order, site, key, retrain, clears_uploads)
        return (yield from _find_or_create(wish))


class _Wish(NamedTuple):
    """An order on its way."""

    order: Order
    site: Site
    key: str
    is_forced: bool
    clears_uploads: bool


def _find_or_create(wish: _Wish) -> Exchange[Placed]:
    found = yield from _find(wish)
    if found.job is None:
        return Placed((yield from _create(wish, found)), is_reused=False)
    logger.info("found job %s for this data and these settings: %s", found.job.id, found.job.status)
    try:
        yield from _record(found.job, wish, found.broken_off)
    except StorageError as e:
        _say_unrecorded(found.job, e)
    return Placed(found.job, is_reused=True)


class _Found(NamedTuple):
    """What there is for an order."""

    job: JobState | None
    """The job to take up."""
    seen: set[str]
    """Ids of the jobs that the order has had so far."""
    broken_off: Attempt | None
    """The attempt to go on with where there is no job."""


def _find(wish: _Wish) -> Exchange[_Found]:
    site, key = wish.site, wish.key
    attempts = yield from _known_attempts(wish)
    newest = attempts[0] if attempts else None
    listed: list[JobState] = []
    job = yield from _recall(_owed(newest) if wish.is_forced else attempts, site, key)
    if job is None:
        listed = yield from site.protocol.jobs_with_key(key)
        job = yield from _pick(_late(listed, newest) if wish.is_forced else listed, site)
    seen = {job.id for job in listed} | {attempt.job_id for attempt in attempts if attempt.job_id}
    return _Found(job, seen, newest if newest and newest.is_open else None)


def find_job(order: Order, site: Site, *, retrain: bool = False) -> Exchange[JobState | None]:
    """Return the job that `place` would take up for an order, None where it would create one.

    Args:
        order: What is to be trained.
        site: Where.
        retrain: Whether a new job is wanted although there is one.
    """
    key = job_key(order, (yield from _weights_of(order.base, site)))
    return (yield from _find(_Wish(order, site, key, retrain, clears_uploads=False))).job


def _weights_of(base: str, site: Site) -> Exchange[str | None]:
    protocol = site.protocol
    # The embedded server knows every base that it can train; other hosts train some that they do not list.
    is_local = site.host is LOCAL
    found = yield from (protocol.retrieve_model(base) if is_local else protocol.find_model(base))
    weights = (found or {}).get("weights_sha256")
    return weights if isinstance(weights, str) else None


def _known_attempts(wish: _Wish) -> Exchange[list[Attempt]]:
    """Return what the ledger has of an order, newest first; for a post that was broken off, its job."""
    attempts = yield from wish.site.ledger.attempts(wish.key)
    if not attempts or attempts[0].phase != "creating":
        return attempts
    logger.info("an earlier run ended while it created a job: looking for that first")
    broken_off = attempts[0]
    job = yield from look_for_job(wish.site, wish.order, broken_off, broken_off.file_ids)
    if job is None:
        return attempts
    return [(yield from wish.site.ledger.created(broken_off, job.id)), *attempts[1:]]


def _owed(newest: Attempt | None) -> list[Attempt]:
    """Return the attempt that was to make a new job in any case, if nobody has seen that job's end."""
    return [newest] if newest and newest.is_forced and newest.ended_at is None else []


def _late(listed: Sequence[JobState], newest: Attempt | None) -> list[JobState]:
    """Return the jobs that a post that was broken off may have made, now that the host lists them."""
    if newest is None or newest.phase != "creating":
        return []
    return [job for job in listed if job.id not in newest.seen]


def _recall(attempts: Sequence[Attempt], site: Site, key: str) -> Exchange[JobState | None]:
    """Return the newest job of the ledger that the host still has and that is of use."""
    for attempt in [attempt for attempt in attempts if attempt.job_id][:_MOST_RECALLED]:
        job = yield from _recorded_job(attempt, site)
        if job is None:
            logger.warning(
                "the ledger names job %s, which the host does not know: not believed", attempt.job_id
            )
            continue
        # Another host behind the same URL may have given the same id to a stranger.
        if job.metadata.get(KEY_FIELD, key) == key and (yield from _is_of_use(job, site)):
            return job
    return None


def _recorded_job(attempt: Attempt, site: Site) -> Exchange[JobState | None]:
    """Return the job that an attempt has made, None where the host does not know it, nor a little later."""
    # A host may not find at once what it has just created: to believe that would be to pay twice.
    for pause in (*look_pauses(attempt, site), None):
        try:
            return (yield from site.protocol.retrieve_job(attempt.job_id or ""))
        except JobNotFoundError:
            if pause is not None:
                yield Sleep(pause)
    return None


def _pick(jobs: Sequence[JobState], site: Site) -> Exchange[JobState | None]:
    for job in jobs:
        if job.status == SUCCEEDED and (yield from _is_of_use(job, site)):
            return job
    return next((job for job in jobs if job.is_live), None)


def _is_of_use(job: JobState, site: Site) -> Exchange[bool]:
    """Tell whether a job is under way, or done and its model there: one that failed is not taken up."""
    if job.is_live:
        return True
    return job.status == SUCCEEDED and not (yield from _is_gone(job, site))


def _is_gone(job: JobState, site: Site) -> Exchange[bool]:
    """Tell whether the tuned model was deleted at its host: its job is of no use any more."""
    if job.model is None or (yield from site.protocol.find_model(job.model)) is not None:
        return False
    # A host may need a while to list a new model: to train anew in that time would be to pay twice.
    now = site.clock()
    return now - (job.finished_at or now) >= site.host.model_grace_seconds


def _record(job: JobState, wish: _Wish, broken_off: Attempt | None) -> Exchange[None]:
    if broken_off and _late([job], broken_off):
        yield from wish.site.ledger.created(broken_off, job.id)
    yield from wish.site.ledger.adopt(wish.key, job, clears_uploads=wish.clears_uploads)


def _say_unrecorded(job: JobState, error: StorageError) -> None:
    # The job is there, and paid for: that its id could not be written down is no reason to lose it.
    logger.warning("job %s could not be recorded; the next run looks it up at its host: %s", job.id, error)


def _create(wish: _Wish, found: _Found) -> Exchange[JobState]:
    """Create the job; an attempt that was broken off is gone on with."""
    ledger = wish.site.ledger
    flags = {"is_forced": wish.is_forced, "clears_uploads": wish.clears_uploads}
    if found.broken_off:
        attempt = yield from ledger.resume(found.broken_off, **flags)
    else:
        attempt = yield from ledger.begin(wish.key, **flags)
    try:
        file_ids = yield from _upload(wish, attempt, was_interrupted=bool(found.broken_off))
    except HostError as e:
        # What was sent before a line broke is of use to the next run.
        if not (is_ambiguous(e) or is_transient(e)):
            yield from _give_up(wish, attempt)
        raise
    job = yield from _post(wish, attempt, file_ids, found.seen)
    try:
        yield from ledger.created(attempt, job.id)
    except StorageError as e:
        _say_unrecorded(job, e)
    return job


def _upload(wish: _Wish, attempt: Attempt, *, was_interrupted: bool) -> Exchange[list[str]]:
    order = wish.order
    training = Rows("training", order.train, order.train_sha256)
    file_ids = [(yield from have_upload(wish.site, attempt, training, was_interrupted=was_interrupted))]
    if order.validation is not None and order.validation_sha256 is not None:
        validation = Rows("validation", order.validation, order.validation_sha256)
        file_ids += [
            (yield from have_upload(wish.site, attempt, validation, was_interrupted=was_interrupted))
        ]
    return file_ids


def _post(wish: _Wish, attempt: Attempt, file_ids: list[str], seen: set[str]) -> Exchange[JobState]:
    """Post the job, and a second time only when the first one is known to have made none."""
    site = wish.site
    body = site.protocol.job_body(wish.order, site.host, wish.key, *file_ids)
    once = idempotency_key(wish.key, attempt.generation, seen, file_ids)
    was_posted = attempt.phase == "creating"
    attempt = yield from site.ledger.posting(attempt, seen)
    is_repeated = False
    while True:
        try:
            return (yield from site.protocol.create_job(body, idempotency_key=once))
        except (HostError, UnknownBaseError) as e:
            if not is_ambiguous(e):
                # "Too many jobs" may count the one that an earlier post has made and no listing shows yet.
                if not (was_posted and is_transient(e)):
                    yield from _give_up(wish, attempt)
                raise
            logger.warning("creating the job failed in a way that leaves it open whether it exists: %s", e)
            if job := (yield from look_for_job(site, wish.order, attempt, file_ids)):
                return job
            if is_repeated:
                raise
        was_posted = is_repeated = True


def _give_up(wish: _Wish, attempt: Attempt) -> Exchange[None]:
    """Close an attempt that the host refused, and delete what was uploaded for it."""
    try:
        yield from wish.site.ledger.refused(attempt)
    except StorageError as e:
        # The refusal is what the caller has to hear of.
        logger.warning("a refused job could not be recorded: %s", e)
    yield from clear_refused(wish.site, attempt)
