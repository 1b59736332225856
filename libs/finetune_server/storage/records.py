"""What the store keeps, as frozen records."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

JobStatus = Literal[
    "validating_files", "queued", "running", "pausing", "paused", "succeeded", "failed", "cancelled"
]
EventLevel = Literal["info", "warn", "error"]
EventType = Literal["message", "metrics"]

Record = TypeVar("Record")

ALIAS_FIELD = "langchain_finetune_alias"
"""Field of a job's metadata that gives the model it leaves a further name."""

TERMINAL_STATUSES: frozenset[JobStatus] = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """An uploaded file or a result file; its bytes lie in `files/<id>`."""

    id: str
    filename: str
    purpose: str
    bytes: int
    sha256: str
    created_at: int
    expires_at: int | None = None


@dataclass(frozen=True, kw_only=True)
class JobError:
    """Why a job failed, as OpenAI's job object says it."""

    code: str
    message: str
    param: str | None = None


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """A fine-tuning job."""

    id: str
    status: JobStatus
    base: str
    """The base model as the client named it."""
    training_file: str
    validation_file: str | None
    method: str
    hyperparameters: dict[str, Any]
    """As asked for; the resolved values once the trainer has told them."""
    seed: int
    suffix: str | None
    metadata: dict[str, str] | None
    created_at: int
    started_at: int | None = None
    finished_at: int | None = None
    estimated_finish: int | None = None
    trained_tokens: int | None = None
    fine_tuned_model: str | None = None
    result_files: tuple[str, ...] = ()
    error: JobError | None = None
    attempt: int = 0
    """How often a trainer was started for it."""
    num_deaths: int = 0
    """Trainers that died in a row without leaving a new checkpoint."""
    checkpoint_step: int = 0
    """The newest checkpoint seen when a trainer died."""
    events_offset: int = 0
    """How much of the trainer's `events.jsonl` has been taken in, in bytes."""

    @property
    def is_terminal(self) -> bool:
        """Whether nothing will happen to the job any more."""
        return self.status in TERMINAL_STATUSES


@dataclass(frozen=True, kw_only=True)
class EventRecord:
    """One line of a job's history."""

    id: str
    job_id: str
    created_at: int
    level: EventLevel
    type: EventType
    message: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """A model that can be asked: a base (no adapter, no job) or a tuned one."""

    id: str
    base: str
    """The base's name; of a base itself its own id."""
    adapter_gguf: Path | None
    adapter_dir: Path | None
    job_id: str | None
    created_at: int
    max_model_len: int | None = None
    weights_sha256: str | None = None
    """Of the base's weights."""
    step: int | None = None
    """Of a checkpoint: the training step."""
    metrics: dict[str, Any] | None = None
    """Of a checkpoint: what was measured at that step."""


@dataclass(frozen=True, kw_only=True)
class Page(Generic[Record]):
    """Some records, and whether more follow."""

    records: tuple[Record, ...]
    has_more: bool
