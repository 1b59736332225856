"""What Fireworks AI writes and is written: names, states and progress of its jobs; pure."""

import re
from collections.abc import Mapping
from typing import Any, Final

from langchain_finetune.errors import HostError
from langchain_finetune.hosts import FIREWORKS, Host
from langchain_finetune.trainers.jobs import job_state
from langchain_finetune.trainers.jobs.job_state import CANCELLED, FAILED, SUCCEEDED, JobState, iso_time
from langchain_finetune.trainers.jobs.key import Order, with_key

_SUPERVISED: Final = "supervisedFineTuningJobs"
DPO: Final = "dpoJobs"
KINDS: Final = {"supervised": _SUPERVISED, "dpo": DPO}
_MOST_OF_A_HASH: Final = 40
"""Hex digits of 64: an id has up to 63 characters."""

_OWN_ID: Final = re.compile(r"lcft-([0-9a-f]{40})-(\d+)")
_STATES: Final = {
    "creating": "queued",
    "creating_input_dataset": "queued",
    "pending": "queued",
    "idle": "queued",
    "re_queueing": "queued",
    "validating": "validating_files",
    "writing_results": "running",
    "cancelling": "running",
    "completed": SUCCEEDED,
    "early_stopped": SUCCEEDED,
    "failed": FAILED,
    "expired": FAILED,
    "cancelled": CANCELLED,
}


def job_body(
    order: Order, host: Host, key: str, training_file: str, validation_file: str | None = None
) -> dict[str, Any]:
    """Return what the SDK is told to create the job of an order; `create_job` adds the job's id."""
    training: dict[str, Any] = {
        host.hyperparameter_names.get(name, name): value
        for name, value in (order.hyperparameters or {}).items()
    }
    training["base_model"] = full_name(order.base)
    if order.suffix:
        training["output_model"] = with_key(order.suffix, key)
    body: dict[str, Any] = {"key": key, "method": order.method, "dataset": training_file}
    if order.extra_body:
        body["extra_body"] = dict(order.extra_body)
    if order.method == "supervised":
        return {
            **body,
            **training,
            **({"evaluation_dataset": validation_file} if validation_file else {}),
        }
    beta = training.pop("beta", None)
    # A preference job whose loss is left open is trained by another method, GRPO.
    loss = {"method": "DPO", **({"dpo": {"beta": beta}} if beta is not None else {})}
    return {**body, "training_config": training, "loss_config": loss}


def read_job(wire: Mapping[str, Any]) -> JobState:
    """Read a job of either kind.

    Raises:
        HostError: It has no name or no state.
    """
    state = str(wire.get("state") or "").removeprefix("JOB_STATE_").lower()
    status = _STATES.get(state, state)
    config = wire.get("trainingConfig")
    training = config if isinstance(config, Mapping) else wire
    job = job_state.read_job(
        {
            "id": wire.get("name"),
            "status": status,
            "model": training.get("baseModel"),
            "fine_tuned_model": training.get("outputModel") if status == SUCCEEDED else None,
            "error": wire.get("status") if status == FAILED else {},
            "finished_at": iso_time(wire.get("completedTime")),
        }
    )
    if not job.id or not job.status:
        msg = f"{FIREWORKS.title} answered with a job that has no name or no state: check the base URL."
        raise HostError(msg, status_code=502)
    return job


def data_set_id(name: str) -> str:
    """Return the id of the data set of an upload: of the hash in its name as much as an id has room for."""
    role, dash, digest = name.lower().removesuffix(".jsonl").rpartition("-")
    plain = re.sub(r"[^a-z0-9]+", "-", role + dash + digest[:_MOST_OF_A_HASH]).strip("-")
    return f"lcft-{plain}"


def own_id(name: str) -> re.Match[str] | None:
    """Match the id of a job that this package created: the key, and which attempt it is."""
    return _OWN_ID.fullmatch(last_part(name))


def last_part(name: str) -> str:
    """Return the last part of a resource's name: its id."""
    return name.rpartition("/")[2]


def full_name(base: str) -> str:
    """Return the full name of a model; a bare one is among the host's own."""
    return base if "/" in base else f"accounts/fireworks/models/{base}"


def read_progress(wire: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read a job's progress as an event in the form of OpenAI's: a percentage, told as a step of 100."""
    progress = wire.get("jobProgress")
    progress = progress if isinstance(progress, Mapping) else {}
    percent = progress.get("percent")
    if not isinstance(percent, int):
        return None
    return {
        "id": f"{last_part(str(wire.get('name')))}:{progress.get('epoch')}:{percent}",
        "created_at": iso_time(wire.get("updateTime")),
        "level": "info",
        "message": f"{percent} %",
        "type": "metrics",
        "data": {"step": percent, "total_steps": 100, "epoch": progress.get("epoch")},
    }
