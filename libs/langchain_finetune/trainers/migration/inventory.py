"""Every fine-tuned model of an account: where it is from, whether its data is there, how long it lives."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, Final, Literal

from langchain_finetune._tables import html_table, text_table
from langchain_finetune.base_names import base_of, is_tuned
from langchain_finetune.handles import Handle
from langchain_finetune.hosts import OPENAI
from langchain_finetune.trainers.exchange import Exchange
from langchain_finetune.trainers.hosts import account
from langchain_finetune.trainers.hosts.openai_protocol import find_model
from langchain_finetune.trainers.preflight.preflight import days_line
from langchain_finetune.trainers.preflight.shutdowns import shutdown_date

_CHECKPOINT: Final = ":ckpt-step-"
_HEADER: Final = ("model", "base", "job", "training file", "shutdown")


class InventoryEntry(Handle):
    """One fine-tuned model."""

    model: str
    base: str
    """The base at the root: of a model that was tuned further, the base of its base."""

    state: Literal["available", "without_job", "deleted"]
    """`without_job`: the account lists the model and no job that made it. `deleted`: there is a job that
    succeeded, and its model is gone."""

    job_id: str | None = None
    created_at: datetime | None = None
    training_file: str | None = None
    has_training_file: bool = False
    """Whether the training file is still there to be downloaded."""

    validation_file: str | None = None
    has_validation_file: bool = False
    num_checkpoints: int = 0
    """Checkpoints of it that the account lists as models."""

    shutdown_date: date | None = None
    """The day on which the base is shut down, and the model with it."""

    days_left: int | None = None
    """Until then; negative when it is past."""


class Inventory(tuple[InventoryEntry, ...]):
    """The fine-tuned models of an account, those that end first at the top; printed, it is a table."""

    __slots__ = ()

    def __str__(self) -> str:
        if not self:
            return "There are no fine-tuned models in this account."
        return text_table([_HEADER, *map(_cells, self)])

    def _repr_html_(self) -> str:
        return html_table(map(_cells, self), _HEADER, f"{len(self)} fine-tuned models")


def inventory(client: Any = None, *, today: date | None = None) -> Inventory:
    """List every fine-tuned model of an account with its base, job, files and days left.

    ```python
    print(inventory(openai.OpenAI()))
    ```

    Args:
        client: An `openai.OpenAI` of the account; None is OpenAI's own, by OPENAI_API_KEY.
        today: The day from which days left are counted; None is today in UTC.

    Raises:
        HostError: The host refused, or cannot be reached.
    """
    return account.connection_to(client).run(take_stock(today or _today()))


async def ainventory(client: Any = None, *, today: date | None = None) -> Inventory:
    """List every fine-tuned model of an account with its base, job, files and days left.

    Args:
        client: An `openai.AsyncOpenAI` or `openai.OpenAI` of the account; None is OpenAI's own.
        today: The day from which days left are counted; None is today in UTC.

    Raises:
        HostError: The host refused, or cannot be reached.
    """
    return await account.connection_to(client).arun(take_stock(today or _today()))


def take_stock(today: date) -> Exchange[Inventory]:
    """Read models, jobs and files of an account, and put them together."""
    models = {str(model["id"]): model for model in (yield from account.models())}
    jobs = {
        str(job["fine_tuned_model"]): job
        for job in (yield from account.jobs())
        if job.get("fine_tuned_model")
    }
    file_ids = {str(file["id"]) for file in (yield from account.files())}
    checkpoints = [name for name in models if is_tuned(name) and _CHECKPOINT in name]
    tuned = {name for name in models if is_tuned(name) and _CHECKPOINT not in name}
    bases = {name: _base(name, jobs.get(name), jobs) for name in tuned | jobs.keys()}
    ends: dict[str, date | None] = {}
    for base in sorted(set(bases.values())):
        described = models.get(base) or (yield from find_model(base))
        ends[base] = shutdown_date(OPENAI.name, base, described)
    entries = []
    for name, base in bases.items():
        job, ends_on = jobs.get(name), ends[base]
        files = _files(job or {}, file_ids)
        entry = InventoryEntry(
            model=name,
            base=base,
            state="deleted" if name not in tuned else "without_job" if job is None else "available",
            job_id=str(job["id"]) if job else None,
            created_at=_time((job or {}).get("created_at") or models.get(name, {}).get("created")),
            num_checkpoints=sum(other.startswith(name + _CHECKPOINT) for other in checkpoints),
            shutdown_date=ends_on,
            days_left=(ends_on - today).days if ends_on else None,
            **files,
        )
        entries.append(entry)
    return Inventory(sorted(entries, key=_urgency))


def _base(name: str, job: Mapping[str, Any] | None, jobs: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the base at the root of a model, through all that it was tuned on."""
    base, seen = str((job or {}).get("model") or base_of(name)), {name}
    while is_tuned(base) and base in jobs and base not in seen:
        seen.add(base)
        base = str(jobs[base].get("model") or base_of(base))
    return base_of(base)


def _files(job: Mapping[str, Any], file_ids: set[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind in ("training_file", "validation_file"):
        file_id = job.get(kind)
        found[kind] = file_id if isinstance(file_id, str) else None
        found[f"has_{kind}"] = file_id in file_ids
    return found


def _time(seconds: Any) -> datetime | None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        return None


def _urgency(entry: InventoryEntry) -> tuple[bool, int, str]:
    return entry.days_left is None, entry.days_left or 0, entry.model


def _cells(entry: InventoryEntry) -> tuple[str, ...]:
    name = f"{entry.model} (deleted)" if entry.state == "deleted" else entry.model
    file = entry.training_file or "unknown"
    if entry.training_file and not entry.has_training_file:
        file += " (deleted)"
    end = f"{entry.shutdown_date}, {days_line(entry.days_left)}" if entry.shutdown_date else "none announced"
    return name, entry.base, entry.job_id or "no job", file, end


def _today() -> date:
    return datetime.now(UTC).date()
