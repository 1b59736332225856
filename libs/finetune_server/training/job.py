"""What the server asks of a trainer, and what the trainer answers: `job.json` and `result.json`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from finetune_server.training.errors import TrainingError

RESULT_FILE: Final = "result.json"
_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """One job, and the directory where it happens."""

    directory: Path
    job_id: str
    attempt: int
    base: str
    bases_dir: Path
    training_file: Path
    validation_file: Path | None
    hyperparameters: Mapping[str, Any]
    seed: int


def read_job(directory: Path) -> TrainingJob:
    """Reads `job.json`.

    Raises:
        TrainingError: It asks for a method that this version does not know.
        ValueError: It is no job.
        OSError: It cannot be read.
    """
    asked = orjson.loads((directory / "job.json").read_bytes())
    try:
        version, method = asked["version"], asked["method"]
        validation_file = asked["validation_file"]
        job = TrainingJob(
            directory=directory,
            job_id=asked["job_id"],
            attempt=asked["attempt"],
            base=asked["base"],
            bases_dir=Path(asked["bases_dir"]),
            training_file=Path(asked["training_file"]),
            validation_file=Path(validation_file) if validation_file else None,
            hyperparameters=asked["hyperparameters"],
            seed=asked["seed"],
        )
    except (KeyError, TypeError) as error:
        msg = f"{directory / 'job.json'} is no job: {type(error).__name__} {error}"
        raise ValueError(msg) from error
    if version != _VERSION or method != "supervised":
        msg = f"Only jobs of version {_VERSION} with the method 'supervised' can be trained here."
        raise TrainingError(msg, code="unsupported_method", param="method")
    return job


def write_result(directory: Path, result: Mapping[str, Any]) -> None:
    """Writes `result.json`, whole or not at all: the last thing a trainer does."""
    temporary = directory / f"{RESULT_FILE}.new"
    temporary.write_bytes(orjson.dumps({"version": _VERSION, **result}))
    temporary.replace(directory / RESULT_FILE)


def failure(error: TrainingError) -> dict[str, Any]:
    """The result of a training that cannot succeed."""
    return {
        "status": "failed",
        "error": {"code": error.code, "message": error.message, "param": error.param},
    }
