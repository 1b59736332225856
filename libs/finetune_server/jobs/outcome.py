"""What a trainer leaves when it is done: `result.json`, read without trusting it, and what is kept of it."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_server.config import Settings
from finetune_server.ids import derived_id, tuned_name
from finetune_server.jobs.job_files import RESULT
from finetune_server.storage.records import FileRecord, JobError, JobRecord, ModelRecord


@dataclass(frozen=True, kw_only=True)
class Succeeded:
    """A finished training."""

    trained_tokens: int
    steps: int
    adapter_dir: Path
    adapter_gguf: Path | None
    result_csv: Path | None


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A training that cannot succeed."""

    error: JobError


def read_outcome(job_dir: Path) -> Succeeded | Failed | None:
    """How the training ended, None while it has not."""
    try:
        told = json.loads((job_dir / RESULT).read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        return _broken("its result.json is no JSON")
    if not isinstance(told, dict):
        return _broken("its result.json is no JSON object")
    if told.get("status") == "succeeded":
        return _succeeded(job_dir, told)
    return Failed(error=_error_of(told.get("error")))


def _succeeded(job_dir: Path, told: dict[str, Any]) -> Succeeded | Failed:
    tokens, steps = told.get("trained_tokens"), told.get("steps")
    adapter_dir = _inside(job_dir, told.get("adapter_dir"))
    if adapter_dir is None or not isinstance(tokens, int) or not isinstance(steps, int):
        return _broken("its result.json names no adapter, no steps or no tokens")
    return Succeeded(
        trained_tokens=tokens,
        steps=steps,
        adapter_dir=adapter_dir,
        adapter_gguf=_inside(job_dir, told.get("adapter_gguf")),
        result_csv=_inside(job_dir, told.get("result_csv")),
    )


def _inside(job_dir: Path, name: Any) -> Path | None:
    if not isinstance(name, str):
        return None
    path = job_dir / name
    is_inside = path.resolve().is_relative_to(job_dir.resolve())
    return path if is_inside and path.exists() else None


def _error_of(told: Any) -> JobError:
    if not isinstance(told, dict) or not isinstance(told.get("message"), str):
        return _broken("it gave no reason").error
    code, param = told.get("code"), told.get("param")
    return JobError(
        code=code if isinstance(code, str) else "training_failed",
        message=told["message"],
        param=param if isinstance(param, str) else None,
    )


def _broken(reason: str) -> Failed:
    message = f"The training process ended, but {reason}. Create the job again; its log is trainer.log."
    return Failed(error=JobError(code="training_result_unreadable", message=message))


def model_of(job: JobRecord, outcome: Succeeded, *, now: int) -> ModelRecord:
    """The tuned model that a job leaves."""
    return ModelRecord(
        id=tuned_name(job.base, job.suffix, job.id),
        base=job.base,
        adapter_gguf=outcome.adapter_gguf,
        adapter_dir=outcome.adapter_dir,
        job_id=job.id,
        created_at=now,
    )


def keep_result_file(
    job: JobRecord, outcome: Succeeded, settings: Settings, *, now: int
) -> FileRecord | None:
    """Copies the metrics table to the files, under an id that is the job's, so that twice is once."""
    if outcome.result_csv is None:
        return None
    file_id = derived_id("file", job.id, "results")
    temporary = settings.incoming_dir / file_id
    shutil.copyfile(outcome.result_csv, temporary)
    with temporary.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    size = temporary.stat().st_size
    temporary.replace(settings.file_path(file_id))
    return FileRecord(
        id=file_id,
        filename="step_metrics.csv",
        purpose="fine-tune-results",
        bytes=size,
        sha256=digest,
        created_at=now,
    )
