"""The trainer's `events.jsonl`: which lines are new, what they say, when the job will be done."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_server.storage.job_table import NewEvent

_LEVELS = ("info", "warn", "error")
_END_OF_TIME = 2**40
_END_OF_STEPS = 2**40
_MAX_LINE_BYTES = 1024 * 1024
_HYPERPARAMETERS = ("n_epochs", "batch_size", "learning_rate_multiplier")


@dataclass(frozen=True)
class NewLines:
    """Whole lines that were appended, and where the next one will start."""

    lines: tuple[bytes, ...]
    offset: int


def read_new_lines(path: Path, offset: int) -> NewLines:
    """The complete lines behind the offset; a line that is still being written waits."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            appended = file.read()
    except FileNotFoundError:
        return NewLines((), offset)
    whole = appended[: appended.rfind(b"\n") + 1]
    return NewLines(tuple(whole.split(b"\n")[:-1]), offset + len(whole))


def parse_event(line: bytes) -> NewEvent | None:
    """The event in a line, None where the line is no event."""
    if len(line) > _MAX_LINE_BYTES:
        return None
    try:
        told = json.loads(line, parse_constant=lambda _: None)  # NaN and Infinity are no JSON: null
        message = told["message"].encode().decode()  # half a surrogate pair is no text
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        return None
    created_at, data = told.get("created_at"), told.get("data")
    if not isinstance(created_at, int | float) or not 0 <= created_at < _END_OF_TIME:
        return None
    if told.get("level") not in _LEVELS or not _is_storable(data):
        return None
    return NewEvent(
        message=message,
        created_at=int(created_at),
        level=told["level"],
        type="metrics" if told.get("type") == "metrics" else "message",
        data=data if isinstance(data, dict) else {},
    )


def _is_storable(data: Any) -> bool:
    """Whether what stands for the step, if anything does, is no larger than the store can hold."""
    step = data.get("step") if isinstance(data, dict) else None
    return not isinstance(step, int) or abs(step) < _END_OF_STEPS


def resolved_hyperparameters(events: Sequence[NewEvent]) -> dict[str, Any] | None:
    """What `auto` has become, once the trainer has told it in its `started` event."""
    for event in events:
        if event.data.get("phase") == "started":
            return {name: event.data[name] for name in _HYPERPARAMETERS if name in event.data}
    return None


class Pace:
    """How fast a trainer goes, from its metrics, and so when it will be done."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None

    def estimated_finish(self, events: Sequence[NewEvent], *, now: float) -> int | None:
        """The Unix second of the end, None while it cannot be said or when nothing is new."""
        steps = [event for event in events if event.step is not None]
        if not steps:
            return None
        step, total = steps[-1].step, steps[-1].data.get("total_steps")
        if step is None or not isinstance(total, int):
            return None
        if self._first is None:
            self._first = (step, now)
        first_step, first_time = self._first
        if step <= first_step or now < first_time:
            return None
        seconds_per_step = (now - first_time) / (step - first_step)
        return math.ceil(now + max(0, total - step) * seconds_per_step)
