"""A trainer as the server starts it: a child whose standard input is held open, on a job's directory."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

TOOL = {
    "type": "function",
    "function": {"name": "Calculator", "description": "A calculator", "parameters": {"type": "object"}},
}


def row(number: int) -> dict[str, Any]:
    """A question and the call that answers it."""
    arguments = json.dumps({"num1": number, "num2": 7, "operation": "/"})
    call = {"id": "call_1", "type": "function", "function": {"name": "Calculator", "arguments": arguments}}
    question = {"role": "user", "content": f"What's {number}/7?"}
    return {
        "messages": [question, {"role": "assistant", "content": None, "tool_calls": [call]}],
        "tools": [TOOL],
    }


def write_job(
    directory: Path, base: Path | str, *, num_rows: int = 10, num_held_out: int = 0, **changes: Any
) -> Path:
    """Writes a job that takes no longer than it must, and returns its directory."""
    directory.mkdir(parents=True)
    files = {"training_file": range(num_rows), "validation_file": range(900, 900 + num_held_out)}
    for name, numbers in files.items():
        (directory / name).write_text("".join(json.dumps(row(number)) + "\n" for number in numbers))
    job = {
        "version": 1,
        "job_id": "ftjob-1",
        "attempt": 1,
        "base": str(base),
        "bases_dir": str(directory.parent / "bases"),
        "training_file": str(directory / "training_file"),
        "validation_file": str(directory / "validation_file") if num_held_out else None,
        "method": "supervised",
        "hyperparameters": {"n_epochs": 1, "batch_size": 4},
        "seed": 3,
    }
    (directory / "job.json").write_text(json.dumps(job | changes))
    return directory


def next_attempt(directory: Path) -> None:
    """Writes the job anew, as the server does before it starts a trainer again."""
    job = json.loads((directory / "job.json").read_text())
    (directory / "job.json").write_text(json.dumps(job | {"attempt": job["attempt"] + 1}))


def read_result(directory: Path) -> dict[str, Any]:
    """What the trainer left."""
    result: dict[str, Any] = json.loads((directory / "result.json").read_text())
    return result


def read_events(directory: Path) -> list[dict[str, Any]]:
    """The whole lines of the job's events."""
    path = directory / "events.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def read_losses(directory: Path, *, attempt: int | None = None) -> dict[int, float]:
    """The training loss by step, of one attempt or of all."""
    return {
        event["data"]["step"]: event["data"]["train_loss"]
        for event in read_events(directory)
        if event["type"] == "metrics" and attempt in {None, event["attempt"]}
    }


class TrainingProcess:
    """A running trainer; as a context manager it is gone afterwards."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with (directory / "trainer.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "finetune_server.training", str(directory)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def wait(self, seconds: float = 120) -> int:
        """The exit code."""
        return self.process.wait(seconds)

    def wait_until(self, condition: Callable[[], object], seconds: float = 120) -> None:
        """Waits for something that the trainer does."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, f"ended:\n{self.log()}"
            assert time.monotonic() < deadline, f"too slow:\n{self.log()}"
            time.sleep(0.005)

    def log(self) -> str:
        """What it wrote to its standard output and error."""
        return (self.directory / "trainer.log").read_text()


def train(directory: Path) -> dict[str, Any]:
    """Trains a job to its end."""
    with TrainingProcess(directory) as trainer:
        code = trainer.wait()
        assert code == 0, trainer.log()
    return read_result(directory)
