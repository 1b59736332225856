"""Plain data on the pipe: what one stage hands to the next.

A value that crosses a `|` is a small frozen handle. What it names lies on disk as JSON Lines, with its
SHA-256 and its counts, so a trace of the pipe stays small and memory stays flat whatever the number of
runs. `RecordedSession` is one row of such a file.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, field_serializer
from pydantic.json_schema import SkipJsonSchema

if TYPE_CHECKING:
    import langsmith
    from langchain_core.runnables import RunnableConfig
    from langchain_openai import ChatOpenAI

    from langchain_finetune.converters.preview import Preview
    from langchain_finetune.loaders.dataset_push import PushedDataset

SPOOL_VERSION: Final = 1
"""Version of the spool's rows and of the report's lines."""

OWN_TRAFFIC_KEY: Final = "langchain_finetune"
"""Metadata key that marks every model call made by this package and by the models it tuned.

A selection leaves runs that carry it out unless `include_tuned=True`, so that a training set never eats
its own output.
"""


class Handle(BaseModel):
    """A frozen value that crosses a `|`."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


Location = Annotated[Path, PlainSerializer(str, return_type=str)]
"""A path that every dump writes as text: what serves a pipe over HTTP dumps handles and knows no paths."""

FeedbackCondition = Mapping[str, float] | SkipJsonSchema[Callable[[Mapping[str, float]], bool]]


class SelectionFields(BaseModel):
    """The fields of a selection: written once for `RunSelection` and for the loaders' constructors."""

    project_name: str | None = None
    """LangSmith project."""

    start_time: datetime | None = None
    """Earliest start of a run; naive values are UTC."""

    end_time: datetime | None = None
    """Latest start of a run, exclusive; naive values are UTC."""

    filter: str | None = None
    """LangSmith filter on the run, in its [query language](https://docs.langchain.com/langsmith/trace-query-syntax)."""

    trace_filter: str | None = None
    """LangSmith filter on the root of the run's trace."""

    tree_filter: str | None = None
    """LangSmith filter on any run of the trace."""

    feedback: FeedbackCondition | None = None
    """Least average score by feedback key, on the run or on its root: `{"user_score": 1}`; or a predicate on
    the dict of average scores by key, the run's own before its root's."""

    unrated: Literal["drop", "keep"] = "drop"
    """Runs that have none of the keys of `feedback`, or with a predicate no score at all."""

    corrections: Literal["ignore", "prefer", "only"] = "ignore"
    """What people wrote in place of an answer, as the feedback's `correction` on the run or on its root:
    not looked up, taken as the answer where there is one, or the only runs to take."""

    scope: Literal["run", "trace", "thread"] = "run"
    """What the conditions select: the model's run itself, or the root that brings all model runs of its trace
    or of its whole thread. See docs/langsmith.md for which conditions then hold for the root."""

    tags: tuple[str, ...] = ()
    """Tags that the run must all carry."""

    metadata: Mapping[str, Any] | None = None
    """Metadata that the run must carry."""

    run_name: str | None = None
    """Name of the run, such as `ChatOpenAI`."""

    model: str | None = None
    """Name of the model that answered."""

    include_errors: bool = False
    """Whether runs that carry an error are read too."""

    include_tuned: bool = False
    """Whether runs of models tuned by this package, and its own calls, are read too."""

    limit: int | None = Field(default=None, ge=1)
    """Most runs to take."""

    sample: float | None = Field(default=None, gt=0, le=1)
    """Share of the traces to take, chosen by a seeded hash of the trace id."""

    seed: int = 0
    """Seed of `sample`."""

    snapshot: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    """Name under which the window and the ids of the runs are pinned on first use: the same name gives the
    same runs ever after."""

    refresh: bool = False
    """Whether the snapshot of this name is taken anew."""

    @field_serializer("feedback")
    def _name_predicate(self, feedback: FeedbackCondition | None) -> Any:
        # Code does not travel: a dump says which predicate it was.
        return getattr(feedback, "__qualname__", "predicate") if callable(feedback) else feedback


class RunSelection(SelectionFields, Handle):
    """Which recorded runs to train on. Every field narrows it; the default is all chat-model runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedSession:
    """One recorded call of a chat model, in OpenAI chat form: a row of a `ChatSessionFile`."""

    run_id: str
    messages: list[dict[str, Any]]
    """The prompt as the model saw it: OpenAI chat messages, without the answer."""
    answer: dict[str, Any]
    """The assistant message that the model gave: the training target."""
    correction: dict[str, Any] | None = None
    """What a person wrote in place of the answer, as an assistant message: the target where there is one."""
    candidates: list[dict[str, Any]] = field(default_factory=list)
    """Further answers to the same prompt (`n > 1`), the first one left out."""
    reasoning: list[str | None] | None = None
    """The text of the model's reasoning by assistant turn of `messages`, the answer's last; None where there
    is none. It is no part of the messages."""
    tools: list[dict[str, Any]] | None = None
    turn_tools: list[list[str]] | None = None
    """Names of the tools that each assistant turn of `messages` had, the answer's last, where turns differ;
    None where all of them had `tools`."""
    functions: list[dict[str, Any]] | None = None
    """Legacy function schemas, when the call sent `functions` instead of `tools`."""
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    model: str | None = None
    usage: dict[str, int] | None = None
    """`prompt_tokens`, `completion_tokens`, `total_tokens` as the model's host counted them."""
    trace_id: str | None = None
    thread_id: str | None = None
    node: str | None = None
    """LangGraph node."""
    tags: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    feedback: dict[str, float] = field(default_factory=dict)
    """Average score by key, the run's own before its root's."""
    version: int = SPOOL_VERSION


class ChatSessionFile(Handle):
    """Recorded sessions on disk.

    `num_runs == num_sessions + num_rejected + num_unselected`: no chat-model run is unaccounted for.
    """

    path: Location
    """JSON Lines, one `RecordedSession` a line."""

    sha256: str
    """SHA-256 of the sessions' bytes: the fingerprint of what was loaded."""

    num_sessions: int
    num_runs: int
    """Chat-model runs seen in the source."""

    num_rejected: int = 0
    num_unselected: int = 0
    """Runs that the selection left out."""

    rejections: Location | None = None
    """JSON Lines, one `{"run_id", "reason"}` a rejected run."""

    rejected_by_reason: Mapping[str, int] = Field(default_factory=dict)
    num_corrected: int = 0
    """Sessions whose target is a person's correction."""

    num_unreadable_corrections: int = 0
    """Corrections that are no answer of an assistant and were left: see docs/langsmith.md for their forms."""

    source: str = ""
    """Where the runs come from, for a person to read."""

    selection: RunSelection | None = None
    version: int = SPOOL_VERSION


Split = Literal["train", "validation", "test"]


Method = Literal["supervised", "dpo", "reinforcement"]


class TrainingData(Handle):
    """Rows that a host accepts, split, on disk, with an account of every run that came in.

    The fields are plain data. The methods are for a person: each brings in the room that does the work when
    it is called, and not before.
    """

    train: Location
    """JSON Lines in the host's training format, one row a line."""

    validation: Location | None = None
    test: Location | None = None
    """Rows held out of training, for `ModelComparison`."""

    report: Location | None = None
    """JSON Lines, one line a run that came in: `run_id`, `status` (kept, merged, duplicate, dropped,
    rejected), `reason`, `split`, `row` (0-based in its split's file, of the row that it is part of),
    `tokens`, `tags`, `redactions` (different secrets taken out of the row, by kind)."""

    card: Location | None = None
    """Markdown for a person: source, selection, splits, rejections, redactions, tokens, lineage."""

    fingerprint: str
    """SHA-256 over the splits' bytes: the same input gives the same fingerprint."""

    num_train: int
    num_validation: int = 0
    num_test: int = 0
    num_runs: int = 0
    num_merged: int = 0
    """Runs whose answer is trained on in the row of a later run of their thread or agent loop."""

    num_duplicates: int = 0
    num_dropped: int = 0
    """Runs that were over a cap, or not in the sample."""

    num_rejected: int = 0
    rejected_by_reason: Mapping[str, int] = Field(default_factory=dict)
    redactions: Mapping[str, int] = Field(default_factory=dict)
    """Secrets taken out of the rows, by kind: `api_key`, `token`, `password`, `private_key`, `card_number`;
    what own rules replaced counts as `rule`."""

    num_tokens: int | None = None
    """Tokens of all rows; None where nothing counts them and no run recorded them."""

    tokens_are_estimated: bool = False
    """Whether they are those that the runs recorded, of the model that answered then."""

    method: Method = "supervised"
    """Method of training that the rows are for."""

    version: int = SPOOL_VERSION

    @classmethod
    def from_jsonl(  # noqa: PLR0913 - a file each split, and how to look at them
        cls,
        train: str | os.PathLike[str],
        *,
        validation: str | os.PathLike[str] | None = None,
        test: str | os.PathLike[str] | None = None,
        method: Method = "supervised",
        target: str | None = None,
        on_error: Literal["raise", "reject"] = "raise",
    ) -> Self:
        """Take JSON Lines files of training rows that there are already, after a look at every row.

        The rows are spooled as they are, byte for byte but for how lines end; the files are read once, as a
        stream. In memory are two hashes a row: rows that stand twice, and held-out rows that are trained on,
        are warned about.

        Args:
            train: The rows to train on, in OpenAI's format for the method.
            validation: The rows that the host computes the validation loss on.
            test: The rows held out for `ModelComparison`.
            method: Method of training that the rows are for.
            target: `"provider:base"`, where they are to be trained on: adds that host's rules, counts tokens
                as that base does, and holds the numbers of rows to the host's limits.
            on_error: Whether a row that breaks a rule ends it, or is left out and stands in the report, which
                has a line for each line of the files, with `path:line` in the place of a run's id.

        Raises:
            InvalidRowsError: Rows break rules; tells the first twenty problems, each with path, line, field,
                code, what to do, and OpenAI's own words where they are known, and counts the others.
            TrainingDataError: There is no row to train on, or the target's host takes fewer rows.
            NotEnoughExamplesError: The target's host wants more training rows.
            SettingError: There is no such method, or the target's host does not train by it.
            UnknownProviderError: There is no such target.
            SourceNotFoundError: A file is missing.

        ```python
        data = TrainingData.from_jsonl("train.jsonl", test="test.jsonl", target="openai:gpt-4.1-mini")
        print(data.preview())
        ```
        """
        from langchain_finetune.converters.own_files.own_rows import read_own_rows  # noqa: PLC0415

        given: dict[Split, str | os.PathLike[str] | None] = {
            "train": train,
            "validation": validation,
            "test": test,
        }
        files = {split: Path(path) for split, path in given.items() if path is not None}
        data = read_own_rows(files, method=method, target=target, on_error=on_error)
        return cls.model_validate(dict(data))

    @classmethod
    async def afrom_jsonl(  # noqa: PLR0913 - as its twin
        cls,
        train: str | os.PathLike[str],
        *,
        validation: str | os.PathLike[str] | None = None,
        test: str | os.PathLike[str] | None = None,
        method: Method = "supervised",
        target: str | None = None,
        on_error: Literal["raise", "reject"] = "raise",
    ) -> Self:
        """As `from_jsonl`, in a thread."""
        return await asyncio.to_thread(
            cls.from_jsonl,
            train,
            validation=validation,
            test=test,
            method=method,
            target=target,
            on_error=on_error,
        )

    def preview(self, n: int = 5, split: Split | Literal["all"] = "train") -> "Preview":
        """Show the first rows: what is asked, what is answered, tokens and the run of each.

        Args:
            n: Rows of the split; 0 shows the counts alone.
            split: The split, or "all" for `n` rows of each.

        Returns:
            A table in a terminal and in a notebook. It holds what stands in the rows; no handle does.

        Raises:
            SettingError: There is no such split.
            SourceError: The rows are gone.
        """
        from langchain_finetune.converters.preview import preview  # noqa: PLC0415

        return preview(self, n, split)

    def push_to_langsmith(
        self,
        dataset_name: str,
        *,
        client: "langsmith.Client | None" = None,
        config: "RunnableConfig | None" = None,
    ) -> "PushedDataset":
        """Write the rows as examples of a LangSmith dataset, with their splits, as a version of it.

        The dataset is made where there is none. An example's id follows from the dataset and its row, so a
        row that is there already is not written again, by a second push, a retry or another process; one that
        has moved to another split is moved there. Examples that are no rows of these data stay.

        Args:
            dataset_name: The dataset, one of key and value.
            client: The LangSmith client; without one, it is made from the environment.
            config: As of a Runnable: callbacks such as `ProgressPrinter` see an event a batch.

        Returns:
            The dataset's id, address and version, and what was written.

        Raises:
            SettingError: No dataset is named, or it is no key-value dataset.
            TrainingDataError: A row is none for the method.
            AuthenticationFailedError: The key is not accepted.
            HostUnreachableError: LangSmith cannot be reached.
            HostError: LangSmith refuses an example.
        """
        from langchain_finetune.loaders.dataset_push import DatasetPush  # noqa: PLC0415

        return DatasetPush(dataset_name=dataset_name, client=client).invoke(self, config)

    async def apush_to_langsmith(
        self,
        dataset_name: str,
        *,
        client: "langsmith.Client | None" = None,
        config: "RunnableConfig | None" = None,
    ) -> "PushedDataset":
        """As `push_to_langsmith`."""
        from langchain_finetune.loaders.dataset_push import DatasetPush  # noqa: PLC0415

        return await DatasetPush(dataset_name=dataset_name, client=client).ainvoke(self, config)


class FineTunedModel(Handle):
    """A tuned model by name, place and lineage: JSON-safe, without a key.

    What LangServe and the routes of `langchain_finetune.serving` answer with, and what an alias stands for.

    ```python
    tuned = (loader | converter | trainer.as_served()).invoke({})
    tuned.to_chat_model().invoke("What's 56/7?")
    ```
    """

    type: Literal["fine_tuned_model"] = "fine_tuned_model"
    """Tells it from other JSON objects."""

    provider: str
    """The word before the colon of the trainer's target."""

    base: str
    model: str
    """The name that the model is called by at its host."""

    base_url: str
    """Where its host is, without user and password."""

    job_id: str
    fingerprint: str | None = None
    """Fingerprint of the `TrainingData`; None where the job does not carry it."""

    metrics: Mapping[str, float] = Field(default_factory=dict)
    """The figures of the last step that told any, by the host's names, such as `train_loss`."""

    served_url: str | None = None
    """Where a server of `add_fine_tune_routes` answers for the model in OpenAI's protocol, with no key of the
    host's; None where the model is called at its host."""

    def to_chat_model(self, *, api_key: str | None = None, **settings: Any) -> "ChatOpenAI":
        """Return the chat model, at `served_url` where there is one, and at its host otherwise.

        A key of the environment is only ever sent to where the environment, or the provider's entry, says
        that the provider is: what names another URL needs `api_key`.

        Args:
            api_key: The key; None is none for a served model, that of the state directory for the embedded
                server, and the environment's for other hosts.
            **settings: Further fields of the chat model, such as `temperature`.

        Raises:
            AuthenticationFailedError: There is no key, or the URL is not known to be the provider's.
            UnknownProviderError: There is no such provider.
        """
        # By its name, as in the package's own front: what a handle is opened with is a room above this one.
        room = import_module("langchain_finetune.trainers.served")
        return cast("ChatOpenAI", room.chat_model_of(self, api_key, settings))


class SubmittedJob(Handle):
    """A job that was ordered over HTTP, as `add_fine_tune_routes` answers for it: JSON-safe."""

    type: Literal["fine_tune_job"] = "fine_tune_job"
    """Tells it from other JSON objects."""

    id: str
    """The order's id, for `/jobs/{id}`; whoever knows it may look at the job."""

    status: str
    """`preparing` while runs are read and converted, `interrupted` where the server died before there was a
    job, `finishing` during the steps after the training, else the state of the job as its host tells it, in
    lower case."""

    provider: str
    base: str
    job_id: str | None = None
    """The job's id at its host; None while there is none."""

    is_reused: bool = False
    """Whether the job was there before this order."""

    is_handed_on: bool | None = None
    """Whether the steps after the training, such as a gate, handed the tuned model on; None where there are
    none, where they are not done, or where they return something else."""

    error: str | None = None
    """What failed and what to do."""

    error_code: str | None = None
    """The error's class, such as `SelectionError`."""

    model: FineTunedModel | None = None
    """What came out of a job that has succeeded."""
