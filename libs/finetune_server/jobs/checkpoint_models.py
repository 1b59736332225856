"""The checkpoints of a job that can be asked as models: the adapters its trainer leaves after each epoch."""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from finetune_server.ids import checkpoint_name, tuned_name
from finetune_server.storage.job_table import NewEvent
from finetune_server.storage.records import JobRecord, ModelRecord

EPOCHS = "epochs"


def checkpoint_models(job: JobRecord, events: Iterable[NewEvent], job_dir: Path) -> dict[int, ModelRecord]:
    """The model of each checkpoint that the events tell of, by its step."""
    models = {}
    for event in events:
        if (step := event.checkpoint_step) is None:
            continue
        adapter_dir = job_dir / EPOCHS / f"step-{step}"
        adapter_gguf = adapter_dir / "adapter.gguf"
        metrics = event.data.get("metrics")
        models[step] = ModelRecord(
            id=checkpoint_name(tuned_name(job.base, job.suffix, job.id), step),
            base=job.base,
            adapter_gguf=adapter_gguf if adapter_gguf.exists() else None,
            adapter_dir=adapter_dir,
            job_id=job.id,
            created_at=event.created_at,
            step=step,
            metrics=metrics if isinstance(metrics, dict) else {},
        )
    return models


def with_names(events: Iterable[NewEvent], models: dict[int, ModelRecord]) -> list[NewEvent]:
    """The events, where those that tell of a checkpoint say by which name it is asked."""
    named = []
    for event in events:
        model = models.get(event.checkpoint_step) if event.checkpoint_step is not None else None
        text = f"{event.message} with Snapshot ID: {model.id}" if model else event.message
        named.append(replace(event, message=text))
    return named


def discard_checkpoints(models: Iterable[ModelRecord]) -> None:
    """Removes the adapters of checkpoints that are not offered any more."""
    for model in models:
        if model.adapter_dir is not None:
            shutil.rmtree(model.adapter_dir, ignore_errors=True)


def discard_other_epochs(job_dir: Path, offered: Sequence[ModelRecord]) -> None:
    """Removes what an ended job has left of epochs that no checkpoint names."""
    kept = {model.adapter_dir for model in offered}
    for path in (job_dir / EPOCHS).glob("*"):
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)
