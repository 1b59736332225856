"""A job and its events as the host tells them, read leniently: what is odd is None, never a crash."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

SUCCEEDED: Final = "succeeded"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"

_TERMINAL: Final = frozenset({SUCCEEDED, FAILED, CANCELLED})
_LIVE: Final = frozenset({"validating_files", "queued", "pending", "running", "pausing", "paused"})
_SPELLINGS: Final = {"canceled": CANCELLED}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """One look at a job."""

    id: str
    status: str
    """Lower case, one spelling each."""
    base: str = ""
    model: str | None = None
    """Name of the tuned model; some hosts tell it only a while after the success."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    training_file: str | None = None
    validation_file: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    error_param: str | None = None
    created_at: float | None = None
    finished_at: float | None = None
    estimated_finish: float | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether the job has come to its end; a state that nobody knows is no end."""
        return self.status in _TERMINAL

    @property
    def is_live(self) -> bool:
        """Whether the job is under way, in a state that is known or not."""
        return not self.is_terminal

    @property
    def is_known(self) -> bool:
        """Whether this version knows the state."""
        return self.status in _TERMINAL | _LIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """The figures of one step of training."""

    step: int | None = None
    total_steps: int | None = None
    train_loss: float | None = None


def read_job(wire: Mapping[str, Any]) -> JobState:
    """Read a job object."""
    # A healthy job carries `"error": {}` or null.
    error = _mapping(wire.get("error"))
    status = (_text(wire.get("status")) or "").lower()
    return JobState(
        id=_text(wire.get("id")) or "",
        status=_SPELLINGS.get(status, status),
        base=_text(wire.get("model")) or "",
        model=_text(wire.get("fine_tuned_model")),
        metadata={
            key: value for key, value in _mapping(wire.get("metadata")).items() if isinstance(value, str)
        },
        training_file=_text(wire.get("training_file")),
        validation_file=_text(wire.get("validation_file")),
        error_code=_text(error.get("code")),
        error_message=_text(error.get("message")),
        error_param=_text(error.get("param")),
        created_at=_number(wire.get("created_at")),
        finished_at=_number(wire.get("finished_at")),
        estimated_finish=_number(wire.get("estimated_finish")),
    )


def read_metrics(event: Mapping[str, Any]) -> Metrics | None:
    """Read the figures of an event, None where it has none."""
    data = _mapping(event.get("data"))
    step = _number(data.get("step"))
    if event.get("type") != "metrics" or step is None:
        return None
    total = _number(data.get("total_steps"))
    return Metrics(
        step=int(step),
        total_steps=int(total) if total is not None else None,
        train_loss=_number(data.get("train_loss")),
    )


def event_time(event: Mapping[str, Any]) -> float | None:
    """When an event happened, in seconds since 1970."""
    return _number(event.get("created_at"))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
