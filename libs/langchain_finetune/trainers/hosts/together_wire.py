"""What Together AI writes of its jobs: states, events and figures, read leniently; pure."""

import hashlib
import math
from collections.abc import Mapping
from typing import Any, Final

from langchain_finetune.errors import HostError
from langchain_finetune.hosts import TOGETHER
from langchain_finetune.trainers.jobs import job_state
from langchain_finetune.trainers.jobs.job_state import CANCELLED, FAILED, SUCCEEDED, JobState, iso_time

_STATES: Final = {
    "completed": SUCCEEDED,
    "error": FAILED,
    "user_error": FAILED,
    "cancelled": CANCELLED,
    # Under way in one way or another.
    "compressing": "running",
    "uploading": "running",
    "cancel_requested": "running",
}
_ENDS: Final = frozenset({SUCCEEDED, FAILED, CANCELLED})
_LEVELS: Final = {"warning": "warn", "legacy_iwarning": "warn", "error": "error", "legacy_ierror": "error"}


def read_job(wire: Mapping[str, Any], *, metadata: Mapping[str, str] | None = None) -> JobState:
    """Read a job.

    Raises:
        HostError: It has no id or no status.
    """
    status = str(wire.get("status") or "").lower()
    status = _STATES.get(status, status)
    job = job_state.read_job(
        {
            "id": wire.get("id"),
            "status": status,
            "model": wire.get("model"),
            # It has its name from the first moment, and weights at the end.
            "fine_tuned_model": wire.get("model_output_name") if status == SUCCEEDED else None,
            "error": {"message": _last_error(wire)} if status == FAILED else {},
            "finished_at": iso_time(wire.get("updated_at")) if status in _ENDS else None,
            "metadata": metadata,
        }
    )
    if not job.id or not job.status:
        msg = f"{TOGETHER.title} answered with a job that has no id or no status: check the base URL."
        raise HostError(msg, status_code=502)
    return job


def read_event(wire: Mapping[str, Any]) -> dict[str, Any]:
    """Read an event as one in the form of OpenAI's; the host gives it no id: it is made of what it says."""
    identity = ascii([wire.get(name) for name in ("created_at", "type", "step", "message")])
    return {
        "id": hashlib.sha256(identity.encode()).hexdigest()[:24],
        "created_at": iso_time(wire.get("created_at")),
        "level": _LEVELS.get(str(wire.get("level")), "info"),
        "message": wire.get("message"),
        "type": "message",
        "data": {"type": wire.get("type"), "step": wire.get("step")},
    }


def read_metrics_event(job_id: str, row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read a row of figures as an event in the form of OpenAI's, None where it has no step."""
    step = row.get("train/global_step", row.get("global_step", row.get("step")))
    if not isinstance(step, int | float) or not math.isfinite(step):
        return None
    names = {
        name.replace("train/", "train_").replace("eval/", "valid_"): value for name, value in row.items()
    }
    return {
        "id": f"{job_id}:{int(step)}:{'eval' if any(name.startswith('eval') for name in row) else 'train'}",
        "created_at": row.get("timestamp"),
        "level": "info",
        "message": f"Step {int(step)}",
        "type": "metrics",
        "data": {**names, "step": int(step)},
    }


def _last_error(wire: Mapping[str, Any]) -> Any:
    events = wire.get("events")
    messages = [
        event.get("message")
        for event in (events if isinstance(events, list) else [])
        if isinstance(event, Mapping) and _LEVELS.get(str(event.get("level"))) == "error"
    ]
    return messages[-1] if messages else None
