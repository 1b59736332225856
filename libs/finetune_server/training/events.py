"""The job's `events.jsonl`: append-only, one JSON line an event, read by the server as it grows."""

import csv
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self

import orjson

_VERSION: Final = 1
_CSV_COLUMNS: Final = {
    "step": "step",
    "train_loss": "train_loss",
    "train_accuracy": "train_mean_token_accuracy",
    "valid_loss": "full_valid_loss",
    "valid_mean_token_accuracy": "full_valid_mean_token_accuracy",
}
"""OpenAI's columns of a result file, and the metric each is taken from."""


class EventLog:
    """Appends events. A line that a killed trainer left unfinished is cut off first.

    Args:
        path: The job's `events.jsonl`.
        attempt: How often the job has been started, this time included.
    """

    def __init__(self, path: Path, attempt: int) -> None:
        self._attempt = attempt
        self._seq = 0
        self._file = path.open("ab")
        self._file.truncate(_length_of_whole_lines(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def message(
        self,
        text: str,
        data: Mapping[str, Any] | None = None,
        *,
        level: Literal["info", "warn", "error"] = "info",
    ) -> None:
        """Something a person wants to know."""
        self._append("message", level, text, data or {})

    def metrics(self, data: Mapping[str, Any]) -> None:
        """How one step went: `step`, `total_steps`, `train_loss` and whatever else was measured."""
        text = f"Step {data['step']}/{data['total_steps']}: training loss={data['train_loss']:.2f}"
        if "full_valid_loss" in data:
            text += f", validation loss={data['full_valid_loss']:.2f}"
        self._append("metrics", "info", text, data)

    def checkpoint(self, metrics: Mapping[str, Any]) -> None:
        """The adapter of an epoch can be served; `metrics` are those of its last step."""
        measured = {name: value for name, value in metrics.items() if name != "total_steps"}
        data = {"phase": "checkpoint", "step": metrics["step"], "metrics": measured}
        self._append("message", "info", f"Checkpoint created at step {metrics['step']}", data)

    def _append(self, kind: str, level: str, text: str, data: Mapping[str, Any]) -> None:
        self._seq += 1
        event = {
            "v": _VERSION,
            "attempt": self._attempt,
            "seq": self._seq,
            "created_at": time.time(),
            "type": kind,
            "level": level,
            "message": text,
            "data": data,
        }
        self._file.write(orjson.dumps(event) + b"\n")
        self._file.flush()


def write_step_metrics(events: Path, target: Path) -> None:
    """Writes the result file from the events. A step repeated after a crash counts as it went last."""
    steps: dict[int, dict[str, Any]] = {}
    with events.open("rb") as file:
        for line in file:
            event = orjson.loads(line)
            if event["type"] == "metrics":
                steps[event["data"]["step"]] = event["data"]
    temporary = target.with_name(f"{target.name}.new")
    with temporary.open("w", encoding="utf-8", newline="") as file_out:
        writer = csv.writer(file_out, lineterminator="\n")
        writer.writerow(_CSV_COLUMNS)
        for _, data in sorted(steps.items()):
            writer.writerow([data.get(metric, "") for metric in _CSV_COLUMNS.values()])
    temporary.replace(target)


def _length_of_whole_lines(path: Path) -> int:
    size = path.stat().st_size
    block = 4096
    with path.open("rb") as file:
        for start in range(size - block, -block, -block):
            file.seek(max(start, 0))
            newline = file.read(block + min(start, 0)).rfind(b"\n")
            if newline >= 0:
                return max(start, 0) + newline + 1
    return 0
