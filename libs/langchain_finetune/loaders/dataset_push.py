"""Training rows into a LangSmith dataset, where `LangSmithDatasetChatLoader` reads them back."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from itertools import count
from typing import Any, Final
from uuid import UUID, uuid5

import orjson
from langchain_core.runnables import RunnableConfig
from pydantic import Field, PrivateAttr
from typing_extensions import override

from langchain_finetune._spool import SPLITS, read_jsonl
from langchain_finetune._stage import Event, Result, Stage, Steps, adrive, drive
from langchain_finetune.errors import HostError, SettingError, SourceError, TrainingDataError
from langchain_finetune.handles import Handle, Split, TrainingData
from langchain_finetune.loaders._dataset_api import DatasetWriter, NewExample
from langchain_finetune.loaders._pacing import Budget

PUSH_EVENT: Final = "langchain_finetune_push"

_MOST_EXAMPLES: Final = 100
_MOST_BYTES: Final = 4_000_000
_MOST_ATTEMPTS: Final = 6
_ID_SIZE: Final = 16
_NO_ID: Final = bytes(_ID_SIZE)
_OUTPUTS: Final = ("preferred_output", "non_preferred_output")


class PushedDataset(Handle):
    """A LangSmith dataset that holds training rows.

    `num_created + num_moved + num_unchanged` are the rows of the data.
    """

    dataset_id: str
    name: str
    url: str | None
    """Where a person looks at it."""

    version: datetime
    """Time of the version that the push has made: `as_of` of `LangSmithDatasetChatLoader`."""

    fingerprint: str
    """Of the training data."""

    num_created: int = 0
    num_moved: int = 0
    """Examples that were there in another split."""

    num_unchanged: int = 0
    num_others: int | None = None
    """Examples of the dataset that are no rows of these data: of an earlier push, or somebody's own; None
    where LangSmith does not say how many it holds."""

    num_with_source: int = 0
    """Examples written with the id of the run that they come from."""


class DatasetPush(Stage[TrainingData, PushedDataset]):
    """Writes training rows as examples of a LangSmith dataset."""

    dataset_name: str
    """The dataset; made where there is none."""

    client: Any = Field(default=None, exclude=True, repr=False)
    """A `langsmith.Client`; without one, it is made from the environment."""

    _budget: Budget = PrivateAttr(default_factory=Budget)

    @override
    def _accept(self, given: Any) -> TrainingData:
        if not self.dataset_name:
            msg = 'no dataset is named: give its name, as in data.push_to_langsmith("my-dataset").'
            raise SettingError(msg)
        if isinstance(given, TrainingData):
            return given
        msg = f"DatasetPush got a {type(given).__name__}: expected the TrainingData of a converter."
        raise SourceError(msg)

    @override
    def _run(self, accepted: TrainingData, config: RunnableConfig) -> PushedDataset:
        return drive(self._steps(accepted), config)

    @override
    async def _arun(self, accepted: TrainingData, config: RunnableConfig) -> PushedDataset:
        return await adrive(self._steps(accepted), config)

    def _steps(self, data: TrainingData) -> Steps[PushedDataset]:
        facts = {"fingerprint": data.fingerprint, "method": data.method}
        description = f"Rows for {data.method} fine-tuning, written by langchain-finetune."
        writer = self._insist(
            lambda: DatasetWriter.open(
                self.client, self.dataset_name, description, {"langchain_finetune": facts}
            )
        )
        push = _Push(writer, self._insist)
        for batch in _batches(_examples(data, writer.id)):
            push.settle(batch)
            yield Event(PUSH_EVENT, {**push.counts, "num_rows": _num_rows(data)})
        num_examples = self._insist(writer.num_examples)
        return PushedDataset(
            dataset_id=str(writer.id),
            name=self.dataset_name,
            url=writer.url,
            version=self._insist(writer.version),
            fingerprint=data.fingerprint,
            num_others=None if num_examples is None else max(num_examples - _num_rows(data), 0),
            num_with_source=push.num_with_source,
            **push.counts,
        )

    def _insist(self, work: Callable[[], Result]) -> Result:
        """Do some work, again where its failure may pass. Whatever is done here can be done twice."""
        for number in count(1):
            try:
                return work()
            except HostError as e:
                if not e.is_retryable or number == _MOST_ATTEMPTS:
                    raise
                pause = self._budget.after_failure(
                    number,
                    e.retry_after_seconds,
                    is_limit=e.status_code == 429,  # noqa: PLR2004
                )
                self._budget.pause(pause, lambda: True)
        raise AssertionError


def _num_rows(data: TrainingData) -> int:
    return data.num_train + data.num_validation + data.num_test


class _Push:
    """One push: what is there already, what is missing, what stands in another split."""

    def __init__(self, writer: DatasetWriter, insist: Callable[[Callable[[], None]], None]) -> None:
        self._writer = writer
        self._insist = insist
        self._may_be_there = not writer.is_new
        self._has_sources = True
        self.counts = {"num_created": 0, "num_moved": 0, "num_unchanged": 0}
        self.num_with_source = 0

    def settle(self, batch: list[NewExample]) -> None:
        """Bring the examples of a batch into the dataset, each into its split."""
        # What was sent and not answered is found there at the next attempt: it is this push that wrote it.
        created: set[UUID] = set()
        moved: set[UUID] = set()
        self._insist(lambda: self._attempt(batch, created, moved))
        self.counts["num_created"] += len(created)
        self.counts["num_moved"] += len(moved)
        self.counts["num_unchanged"] += len(batch) - len(created | moved)
        if self._has_sources:
            self.num_with_source += sum(it.source_run_id is not None for it in batch if it.id in created)

    def _attempt(self, batch: list[NewExample], created: set[UUID], moved: set[UUID]) -> None:
        there = self._writer.splits_of([it.id for it in batch]) if self._may_be_there or created else {}
        if missing := [it for it in batch if it.id not in there]:
            created.update(it.id for it in missing)
            self._create(missing)
        strayed = {
            it.id: [it.split, *(name for name in there[it.id] if name not in SPLITS)]
            for it in batch
            if it.id in there and set(there[it.id]) & set(SPLITS) != {it.split}
        }
        if strayed:
            moved.update(strayed)
            self._writer.move(strayed)

    def _create(self, examples: list[NewExample]) -> None:
        try:
            self._writer.create(examples, has_sources=self._has_sources)
        except HostError as e:
            # Runs that were recorded elsewhere, or are no longer kept: the examples are wanted all the same.
            is_refusal = e.status_code in (400, 404, 422)
            if not (is_refusal and self._has_sources and any(it.source_run_id for it in examples)):
                raise
            self._writer.create(examples, has_sources=False)
            self._has_sources = False


def _batches(examples: Iterator[NewExample]) -> Iterator[list[NewExample]]:
    batch: list[NewExample] = []
    size = 0
    for example in examples:
        if batch and (len(batch) == _MOST_EXAMPLES or size + example.size > _MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(example)
        size += example.size
    if batch:
        yield batch


def _examples(data: TrainingData, dataset_id: UUID) -> Iterator[NewExample]:
    """Yield the rows as examples; an id is a hash of the dataset, the row, and which of its kind it is."""
    seen: Counter[bytes] = Counter()
    for split in SPLITS:
        if (path := getattr(data, split)) is None:
            continue
        run_ids = _run_ids(data, split)
        for number, row in enumerate(read_jsonl(path)):
            text = orjson.dumps(row, option=orjson.OPT_SORT_KEYS)
            digest = hashlib.blake2b(text, digest_size=_ID_SIZE).digest()
            seen[digest] += 1
            run_id = run_ids[number * _ID_SIZE : (number + 1) * _ID_SIZE]
            source = UUID(bytes=run_id) if len(run_id) == _ID_SIZE and run_id != _NO_ID else None
            try:
                inputs, outputs = _parts(row, data.method)
            except (KeyError, TypeError, ValueError) as e:
                msg = (
                    f"{split} row {number + 1} is none for {data.method!r}: `preflight` tells what is wrong."
                )
                raise TrainingDataError(msg) from e
            yield NewExample(
                id=uuid5(dataset_id, f"{digest.hex()}:{seen[digest]}"),
                inputs=inputs,
                outputs=outputs,
                split=split,
                metadata={"method": data.method, **({"run_id": str(source)} if source else {})},
                source_run_id=source,
                size=len(text),
            )


def _parts(row: Mapping[str, Any], method: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return what is asked and what the answer is."""
    if method == "dpo":
        return row["input"], {key: row[key] for key in _OUTPUTS}
    if method == "reinforcement":
        asked = {key: row[key] for key in ("messages", "tools") if key in row}
        return asked, {key: value for key, value in row.items() if key not in asked}
    if not isinstance(messages := row["messages"], list):
        raise TypeError
    *prompt, answer = messages
    return {**row, "messages": prompt}, {"messages": [answer]}


def _run_ids(data: TrainingData, split: Split) -> bytes:
    """Return the ids of the runs that the rows of a split come from, sixteen bytes a row; zeros for none."""
    found = bytearray(_ID_SIZE * getattr(data, f"num_{split}"))
    if data.report is None or not data.report.exists():
        return bytes(found)
    for line in read_jsonl(data.report, having=b'"kept"'):
        row = line.get("row")
        if line.get("status") != "kept" or line.get("split") != split or not isinstance(row, int):
            continue
        try:
            found[row * _ID_SIZE : (row + 1) * _ID_SIZE] = UUID(line.get("run_id")).bytes
        except (TypeError, ValueError, AttributeError):
            continue  # not every source's ids are such
    return bytes(found)
