"""`/v1/fine_tuning/jobs`: create, look at, and end jobs."""

import time
from typing import Annotated

from fastapi import APIRouter, Header, Request

from finetune_server import wire
from finetune_server.errors import ApiError
from finetune_server.jobs.admission import Admission
from finetune_server.jobs.job_request import JobRequest
from finetune_server.openapi import METADATA_QUERY
from finetune_server.routes.dependencies import After, JobLimit, SettingsOf, StoreOf, SupervisorOf
from finetune_server.storage.records import JobRecord
from finetune_server.storage.store import Store

router = APIRouter(prefix="/fine_tuning/jobs")
limits_router = APIRouter(prefix="/fine_tuning")

_DAY_SECONDS = 86_400

IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=255)]


@router.post("")
def create_job(
    body: JobRequest,
    settings: SettingsOf,
    store: StoreOf,
    supervisor: SupervisorOf,
    idempotency_key: IdempotencyKey = None,
) -> wire.Wire:
    """Creates a job; the same `Idempotency-Key` again answers with the same job."""
    job = Admission(settings, store).admit(body, idempotency_key)
    supervisor.wake()
    return wire.job_object(job)


@router.get("", openapi_extra=METADATA_QUERY)
def list_jobs(request: Request, store: StoreOf, after: After = None, limit: JobLimit = 20) -> wire.Wire:
    """Jobs, newest first; `metadata[key]=value` keeps those that carry it."""
    if after is not None:
        _found(store, after)
    page = store.jobs.page(limit=limit, after=after, metadata=_asked_metadata(request))
    return wire.list_object(map(wire.job_object, page.records), has_more=page.has_more)


# Asked again and again by whoever waits: a look-up by an index; a thread would cost more than it.
@router.get("/{job_id}")
async def retrieve_job(job_id: str, store: StoreOf) -> wire.Wire:
    """One job."""
    return wire.job_object(_found(store, job_id))


@router.post("/{job_id}/cancel")
def cancel_job(job_id: str, settings: SettingsOf, store: StoreOf, supervisor: SupervisorOf) -> wire.Wire:
    """Ends a job; its trainer is gone within two seconds."""
    job = Admission(settings, store).cancel(_found(store, job_id))
    supervisor.wake()
    return wire.job_object(job)


@router.post("/{job_id}/pause")
def pause_job(job_id: str, settings: SettingsOf, store: StoreOf, supervisor: SupervisorOf) -> wire.Wire:
    """Holds a job; it goes on from its newest checkpoint when it is resumed."""
    job = Admission(settings, store).pause(_found(store, job_id))
    supervisor.wake()
    return wire.job_object(job)


@router.post("/{job_id}/resume")
def resume_job(job_id: str, settings: SettingsOf, store: StoreOf, supervisor: SupervisorOf) -> wire.Wire:
    """Queues a paused job again."""
    job = Admission(settings, store).resume(_found(store, job_id))
    supervisor.wake()
    return wire.job_object(job)


@router.get("/{job_id}/events")
async def list_events(job_id: str, store: StoreOf, after: After = None, limit: JobLimit = 20) -> wire.Wire:
    """What happened to a job, newest first."""
    _found(store, job_id)
    if after is not None and not store.jobs.has_event(job_id, after):
        raise _nothing_after(job_id, "event", after)
    page = store.jobs.events(job_id, limit=limit, after=after)
    return wire.list_object(map(wire.event_object, page.records), has_more=page.has_more)


@router.get("/{job_id}/checkpoints")
def list_checkpoints(job_id: str, store: StoreOf, after: After = None, limit: JobLimit = 10) -> wire.Wire:
    """The adapters of a job's last epochs, newest first; each can be asked as a model."""
    _found(store, job_id)
    shown = [wire.checkpoint_object(model) for model in store.checkpoints(job_id)]
    ids = [checkpoint["id"] for checkpoint in shown]
    if after is not None and after not in ids:
        raise _nothing_after(job_id, "checkpoint", after)
    rest = shown if after is None else shown[ids.index(after) + 1 :]
    return wire.bounded_list_object(rest[:limit], has_more=len(rest) > limit, empty=None)


@limits_router.get("/model_limits")
def list_limits(settings: SettingsOf, store: StoreOf) -> wire.Wire:
    """How many jobs wait or run, and may; the queue is one for all bases, and a day has no limit."""
    num_pending, midnight = store.jobs.num_unfinished(), int(time.time()) // _DAY_SECONDS * _DAY_SECONDS
    return wire.list_object(
        {
            "id": base.id,
            "object": "fine_tuning.model_limits",
            "curr_pending_jobs": num_pending,
            "max_pending_jobs": settings.limits.max_pending_jobs,
            "jobs_so_far_today": store.jobs.num_created(base.id, since=midnight),
            "max_jobs_per_day": None,
        }
        for base in store.list_bases()
    )


def _found(store: Store, job_id: str) -> JobRecord:
    job = store.jobs.get(job_id)
    if job is None:
        message = f"Could not find fine tune: {job_id}"
        raise ApiError(404, message, param="fine_tune_id", code="fine_tune_not_found")
    return job


def _nothing_after(job_id: str, kind: str, after: str) -> ApiError:
    message = f"{job_id} has no {kind} {after} to list after."
    return ApiError(400, message, param="after", code="invalid_value")


def _asked_metadata(request: Request) -> dict[str, str] | None:
    query = request.query_params
    if query.get("metadata") == "null":
        return {}
    asked = {
        name.removeprefix("metadata[").removesuffix("]"): value
        for name, value in query.items()
        if name.startswith("metadata[") and name.endswith("]")
    }
    return asked or None
