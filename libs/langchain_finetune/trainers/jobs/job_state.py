"""A job and its events as the host tells them, read leniently: what is odd is None, never a crash."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

SUCCEEDED: Final = "succeeded"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"

_TERMINAL: Final = frozenset({SUCCEEDED, FAILED, CANCELLED})
_LIVE: Final = frozenset({"created", "validating_files", "pending", "queued", "running", "pausing", "paused"})
_SPELLINGS: Final = {"canceled": CANCELLED}
_CHECKPOINT: Final = re.compile(r"\bcheckpoint\b.*?\bstep\s+(\d{1,9})\b", re.IGNORECASE)


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
    result_files: tuple[str, ...] = ()
    """Ids of the files with the figures of the training."""

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
    valid_loss: float | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    """Every number of the step by the host's name for it, `step` included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A state of the training that can be asked like the tuned model itself."""

    id: str
    step: int
    model: str
    """Its name for a chat request."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """`train_loss`, `valid_loss`, `full_valid_loss`, ..., those that the host knows."""
    created_at: float | None = None
    """Seconds since 1970."""


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
        result_files=_texts(wire.get("result_files")),
    )


def read_metrics(event: Mapping[str, Any]) -> Metrics | None:
    """Read the figures of an event, None where it has none."""
    data = _mapping(event.get("data"))
    step = number_in(data.get("step"))
    if event.get("type") != "metrics" or step is None:
        return None
    total = number_in(data.get("total_steps"))
    return Metrics(
        step=int(step),
        total_steps=int(total) if total is not None else None,
        train_loss=number_in(data.get("train_loss")),
        valid_loss=number_in(data.get("valid_loss")),
        figures={**numbers_in(data), "step": int(step)},
    )


def read_checkpoint(wire: Mapping[str, Any]) -> Checkpoint | None:
    """Read a checkpoint object, None where it has no step or no name to be asked by."""
    step = number_in(wire.get("step_number"))
    model = _text(wire.get("fine_tuned_model_checkpoint"))
    if step is None or model is None:
        return None
    return Checkpoint(
        id=_text(wire.get("id")) or "",
        step=int(step),
        model=model,
        metrics=numbers_in(_mapping(wire.get("metrics"))),
        created_at=_number(wire.get("created_at")),
    )


def event_time(event: Mapping[str, Any]) -> float | None:
    """When an event happened, in seconds since 1970."""
    return _number(event.get("created_at"))


def event_id(event: Mapping[str, Any]) -> str:
    """Return what tells an event from the others: its id, or what it says where the host gives none."""
    if identifier := _text(event.get("id")):
        return identifier
    return "/".join(str(event.get(name)) for name in ("created_at", "type", "message", "data"))


def checkpoint_step(event: Mapping[str, Any]) -> int | None:
    """Return the step of the checkpoint that an event tells of, None where it tells of none."""
    match = _CHECKPOINT.search(_text(event.get("message")) or "")
    return int(match[1]) if match else None


def numbers_in(data: Mapping[str, Any]) -> dict[str, float]:
    """Return what is a number, by its name."""
    numbers = {str(name): number_in(value) for name, value in data.items()}
    return {name: number for name, number in numbers.items() if number is not None}


def number_in(value: Any) -> float | None:
    """Return a finite number, also one that is written as text."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return _number(value)


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def iso_time(value: Any) -> float | None:
    """Read a time in ISO 8601, as hosts with an API of their own write it, as seconds since 1970."""
    try:
        return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else None
    except (ValueError, OverflowError, OSError):
        return None


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
