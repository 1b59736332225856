"""Records as OpenAI's API shows them. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from finetune_server.ids import checkpoint_id
from finetune_server.storage.records import EventRecord, FileRecord, JobRecord, ModelRecord

Wire = dict[str, Any]

ORGANIZATION = "org-local"


def file_object(file: FileRecord) -> Wire:
    """OpenAI's `file`."""
    shown: Wire = {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": file.created_at,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
    }
    # Its type has no null: a file that never expires does not say when.
    return shown if file.expires_at is None else shown | {"expires_at": file.expires_at}


def job_object(job: JobRecord) -> Wire:
    """OpenAI's `fine_tuning.job`."""
    return {
        "id": job.id,
        "object": "fine_tuning.job",
        "created_at": job.created_at,
        "error": asdict(job.error) if job.error else None,
        "fine_tuned_model": job.fine_tuned_model,
        "finished_at": job.finished_at,
        "hyperparameters": job.hyperparameters,
        "model": job.base,
        "organization_id": ORGANIZATION,
        "result_files": list(job.result_files),
        "status": job.status,
        "trained_tokens": job.trained_tokens,
        "training_file": job.training_file,
        "validation_file": job.validation_file,
        "integrations": [],
        "seed": job.seed,
        "estimated_finish": job.estimated_finish,
        "method": {"type": job.method, job.method: {"hyperparameters": job.hyperparameters}},
        "metadata": job.metadata,
        "user_provided_suffix": job.suffix,
    }


def event_object(event: EventRecord) -> Wire:
    """OpenAI's `fine_tuning.job.event`."""
    return {
        "id": event.id,
        "object": "fine_tuning.job.event",
        "created_at": event.created_at,
        "level": event.level,
        "message": event.message,
        "type": event.type,
        "data": event.data,
    }


def checkpoint_object(model: ModelRecord) -> Wire:
    """OpenAI's `fine_tuning.job.checkpoint`."""
    if model.job_id is None or model.step is None:
        msg = f"{model.id} is no checkpoint"
        raise ValueError(msg)
    return {
        "id": checkpoint_id(model.job_id, model.step),
        "object": "fine_tuning.job.checkpoint",
        "created_at": model.created_at,
        "fine_tuned_model_checkpoint": model.id,
        "fine_tuning_job_id": model.job_id,
        "metrics": model.metrics or {},
        "step_number": model.step,
    }


def model_object(model: ModelRecord, name: str | None = None) -> Wire:
    """OpenAI's `model`, and what a client cannot know of a model on this machine.

    A base tells the hash of its weights, a tuned model its base and its job; both how much text they take.
    Under an alias, which is then its `name`, a model tells in `alias_of` which one it is.
    """
    shown: Wire = {
        "id": name or model.id,
        "object": "model",
        "created": model.created_at,
        "owned_by": "local",
        "shutdown_date": None,
        "max_model_len": model.max_model_len,
    }
    if model.job_id is None:
        return shown | {"weights_sha256": model.weights_sha256}
    shown |= {"parent": model.base, "job_id": model.job_id}
    return shown if name in (None, model.id) else shown | {"alias_of": model.id}


def list_object(items: Iterable[Wire], *, has_more: bool | None = None) -> Wire:
    """OpenAI's `list`, of one page."""
    shown: Wire = {"object": "list", "data": list(items)}
    return shown if has_more is None else shown | {"has_more": has_more}


def bounded_list_object(items: Sequence[Wire], *, has_more: bool, empty: str | None) -> Wire:
    """A `list` that names its first and last id; `empty` stands for both where there is none."""
    first = items[0]["id"] if items else empty
    last = items[-1]["id"] if items else empty
    return list_object(items, has_more=has_more) | {"first_id": first, "last_id": last}


def deleted_object(item_id: str, kind: str) -> Wire:
    """What answers a deletion."""
    return {"id": item_id, "object": kind, "deleted": True}
