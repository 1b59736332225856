"""A job of another account: what it says, read leniently, and its files, in the state directory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, get_args

from langchain_finetune._spool import BOM, RowWriter, Spool, ended, publish_training_data
from langchain_finetune.errors import HostError, HostUnreachableError, JobNotFoundError, SourceNotFoundError
from langchain_finetune.handles import Method, Split, TrainingData
from langchain_finetune.trainers.exchange import Call, Exchange
from langchain_finetune.trainers.hosts import account

_GONE: Final = frozenset({404, 410})


@dataclass(frozen=True, slots=True, kw_only=True)
class OldFile:
    """A file of the job, as it came over the wire."""

    id: str
    split: Split
    sha256: str
    num_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OldJob:
    """A job of another account."""

    id: str
    base: str
    model: str | None
    """The tuned model's name; None where the job has not succeeded."""

    method: str
    hyperparameters: Mapping[str, Any]
    method_settings: Mapping[str, Any]
    """What the method has besides hyperparameters, such as the grader of reinforcement."""
    seed: int | None
    suffix: str | None
    has_integrations: bool
    data: TrainingData
    files: tuple[OldFile, ...]
    missing_validation: str | None = None
    """Id of the validation file, where that was deleted."""


@dataclass(slots=True)
class _Fetched:
    files: list[OldFile] = field(default_factory=list)
    missing_validation: str | None = None


def fetch_job(job_id: str) -> Exchange[OldJob]:
    """Read a job and download its files.

    The rows are written as they come, into a directory that takes its name when it is whole.

    Raises:
        JobNotFoundError: The account has no such job.
        SourceNotFoundError: The training file was deleted.
        HostUnreachableError: A file came incomplete.
    """
    job = yield from _retrieve(job_id)
    fetched = _Fetched()
    with Spool("data") as spool:
        writers: dict[Split, RowWriter] = {"train": spool.writer("train.jsonl")}
        yield from _fetch_training(job, writers["train"], fetched)
        if validation := _text(job.get("validation_file")):
            writers["validation"] = spool.writer("validation.jsonl")
            # Neither the old model nor the new one trains on them: a comparison may ask both.
            writers["test"] = spool.writer("test.jsonl")
            yield from _fetch_validation(validation, [writers["validation"], writers["test"]], fetched)
        num_rows = sum(writers[split].num_rows for split in writers if split != "test")
        method = _mapping(job.get("method"))
        kind = _text(method.get("type")) or "supervised"
        fields: dict[str, Any] = {"method": kind} if kind in get_args(Method) else {}
        data = publish_training_data(spool, writers, num_runs=num_rows, **fields)
    seed = job.get("seed")
    return OldJob(
        id=job_id,
        base=_text(job.get("model")) or "",
        model=_text(job.get("fine_tuned_model")),
        method=kind,
        hyperparameters=_hyperparameters(job, method, kind),
        method_settings={
            name: value for name, value in _mapping(method.get(kind)).items() if name != "hyperparameters"
        },
        seed=seed if isinstance(seed, int) and not isinstance(seed, bool) else None,
        suffix=_text(job.get("user_provided_suffix")),
        has_integrations=bool(job.get("integrations")),
        data=data,
        files=tuple(fetched.files),
        missing_validation=fetched.missing_validation,
    )


def _retrieve(job_id: str) -> Exchange[account.Wire]:
    try:
        return account.plain((yield Call(lambda client: client.fine_tuning.jobs.retrieve(job_id))))
    except HostError as e:
        if e.status_code not in _GONE:
            raise
        msg = f"the account has no job {job_id}: check the id, and that the key is that of its project."
        raise JobNotFoundError(msg, job_id) from e


def _fetch_training(job: account.Wire, writer: RowWriter, fetched: _Fetched) -> Exchange[None]:
    file_id = _text(job.get("training_file")) or ""
    if not (yield from _fetch(file_id, "train", [writer], fetched)):
        msg = (
            f"the training file {file_id or '(none)'} of job {job.get('id')} was deleted at its host: there "
            "is nothing to train on. Hand the rows to FineTuneRunnable if you have kept them, or load the "
            "recorded runs again."
        )
        raise SourceNotFoundError(msg)


def _fetch_validation(file_id: str, writers: list[RowWriter], fetched: _Fetched) -> Exchange[None]:
    if not (yield from _fetch(file_id, "validation", writers, fetched)):
        fetched.missing_validation = file_id


def _fetch(file_id: str, split: Split, writers: list[RowWriter], fetched: _Fetched) -> Exchange[bool]:
    """Download one file; False where the host does not have it (any more)."""
    described = (yield from account.find_file(file_id)) if file_id else None
    if described is None:
        return False
    lines = _Lines(writers)
    try:
        got = yield from account.download(file_id, lines.take)
    except HostError as e:
        if e.status_code not in _GONE:
            raise
        return False
    lines.end()
    expected = described.get("bytes")
    if isinstance(expected, int) and expected != got.num_bytes:
        msg = f"file {file_id} came incomplete, {got.num_bytes} of {expected} bytes: run again."
        raise HostUnreachableError(msg)
    fetched.files.append(OldFile(id=file_id, split=split, sha256=got.sha256, num_bytes=got.num_bytes))
    return True


class _Lines:
    """Cuts pieces into lines and writes those that hold something, each ended by one newline."""

    def __init__(self, writers: Sequence[RowWriter]) -> None:
        self._writers = writers
        self._rest: list[bytes] = []
        self._is_first = True

    def take(self, piece: bytes) -> None:
        """Write the lines that end in this piece."""
        head, newline, tail = piece.rpartition(b"\n")
        if not newline:
            self._rest.append(piece)
            return
        whole = b"".join([*self._rest, head])
        self._rest = [tail]
        for line in whole.split(b"\n"):
            self._write(line)

    def end(self) -> None:
        """Write the last line, which may have no newline."""
        self._write(b"".join(self._rest))

    def _write(self, line: bytes) -> None:
        if self._is_first:
            line, self._is_first = line.removeprefix(BOM), False
        if line.strip():
            for writer in self._writers:
                writer.write_line(ended(line))


def _hyperparameters(job: account.Wire, method: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    told = _mapping(_mapping(method.get(kind)).get("hyperparameters"))
    return told or _mapping(job.get("hyperparameters"))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
