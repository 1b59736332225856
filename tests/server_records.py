"""Records for the server's unit tests, with only what a test is about spelled out."""

from finetune_server.storage.job_table import NewEvent
from finetune_server.storage.records import FileRecord, JobRecord
from finetune_server.storage.store import Store


def job(number: int = 1, **more) -> JobRecord:
    fields = {
        "id": f"ftjob-{number:024x}",
        "status": "queued",
        "base": "base",
        "training_file": "file-1",
        "validation_file": None,
        "method": "supervised",
        "hyperparameters": {"n_epochs": "auto"},
        "seed": 1,
        "suffix": None,
        "metadata": None,
        "created_at": 1000 + number,
    }
    return JobRecord(**(fields | more))


def file(number: int = 1, **more) -> FileRecord:
    fields = {"filename": "a.jsonl", "purpose": "fine-tune", "bytes": 3, "sha256": "0", "created_at": 1000}
    return FileRecord(id=f"file-{number:024x}", **(fields | more))


def said(message: str) -> NewEvent:
    return NewEvent(message=message, created_at=5)


def metrics(step: int, loss: float = 0.5) -> NewEvent:
    data = {"step": step, "train_loss": loss}
    return NewEvent(message=f"Step {step}", created_at=5, type="metrics", data=data)


def messages(store: Store, job_id: str) -> list[str]:
    return [event.message for event in store.jobs.events(job_id, limit=100).records][::-1]
