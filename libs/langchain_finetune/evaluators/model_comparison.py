"""The comparison as a stage: the tuned model in, a report out."""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableConfig
from pydantic import BaseModel, ConfigDict, PrivateAttr, RootModel, create_model, field_validator
from typing_extensions import override

from langchain_finetune._spool import state_directory
from langchain_finetune._stage import Stage
from langchain_finetune.evaluators._asking import COMPARE_EVENT, aask, ask
from langchain_finetune.evaluators._store import AnswerStore
from langchain_finetune.evaluators.comparing import Plan, Trial
from langchain_finetune.evaluators.contenders import name_of
from langchain_finetune.evaluators.metrics.named import DEFAULT_METRICS, read_metrics
from langchain_finetune.evaluators.own_data import read_data
from langchain_finetune.evaluators.report import ComparisonReport
from langchain_finetune.handles import Handle, TrainingData

__all__ = ["COMPARE_EVENT", "ModelComparison", "Models"]

logger = logging.getLogger("langchain_finetune")


class Models(Handle):
    """The models of a comparison as they cross a `|` and stand in a trace: by their names alone."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    names: tuple[str, ...]
    _models: dict[str, BaseChatModel] = PrivateAttr(default_factory=dict)

    @classmethod
    def of(cls, models: dict[str, BaseChatModel]) -> "Models":
        """Name models."""
        handle = cls(names=tuple(models))
        handle._models.update(models)
        return handle

    @property
    def by_name(self) -> dict[str, BaseChatModel]:
        """The models themselves."""
        return self._models


class ModelComparison(Stage[Any, ComparisonReport]):
    """Ask the base and the tuned model what was held out of training, and measure the answers.

    Takes the chat model that `FineTuneRunnable` returns: its metadata lead to the held-out rows and to its
    base. Or several models, as a list or as a dict by the names that they have in the report. Every trained
    answer of every held-out row is asked for, with all that comes before it as the prompt.

    Answers are kept by model (where it is, its name, and its weights where the host tells them), settings and
    question, as soon as they are there: a comparison that was broken off goes on where it was, and one that
    is repeated asks nothing. After each answer the custom event `langchain_finetune_compare` is sent. Up to
    `max_concurrency` of the config questions are asked at the same time; without it, what suits the host.

    ```python
    pipeline = RunExportLoader("runs.jsonl") | TrainingDataConverter(test_fraction=0.2) | trainer
    report = (pipeline | ModelComparison()).invoke({})
    print(report)
    report.write_html("report.html")
    ```

    Raises:
        TrainingDataError: The model's training data has no held-out rows, or is not known.
        SourceNotFoundError: The held-out rows are not here any more.
        HostError: A model answered no question at all.
        MetricError: A function given as a metric failed.
    """

    baseline: Any = None
    """The model to compare with; None is the base that the tuned model was trained from, and where none of
    the models has one, the first of them."""

    metrics: tuple[Any, ...] = DEFAULT_METRICS
    """What answers are measured by; the first is the headline, by which gates decide. Names (`METRICS`),
    metrics, a chat model as a judge, functions `(example, answer) -> float | bool | dict`, and evaluators of
    openevals as they are."""

    data: TrainingData | Path | None = None
    """The held-out rows, or a JSON Lines file of them; None is what the models' metadata lead to."""

    forced_baseline: bool | None = None
    """Whether the baseline is also asked with forced calls, so that it is not beaten for its manners alone.
    None: at the embedded server, where an answer costs nothing."""

    check_adapter: bool = True
    """Whether the report says when the tuned model answers just like its base."""

    seed: int = 0
    """Seed of the bootstrap."""

    langsmith: bool = False
    """Whether the answers and scores also go to LangSmith, as one experiment for each model."""

    langsmith_client: Any = None
    """A `langsmith.Client`; None makes one from the environment."""

    @field_validator("baseline")
    @classmethod
    def _take_a_chat_model(cls, baseline: Any) -> Any:
        return None if baseline is None else _chat_model(baseline)

    @field_validator("metrics", mode="before")
    @classmethod
    def _know_the_metrics(cls, metrics: Any) -> Any:
        given = metrics if isinstance(metrics, list | tuple) else (metrics,)
        read_metrics(given)
        return tuple(given)

    @override
    def _accept(self, given: Any) -> Models:
        if isinstance(given, Models):
            return given
        if isinstance(given, Mapping):
            named = {str(name): _chat_model(model) for name, model in given.items()}
        elif isinstance(given, list | tuple):
            named = dict(_named(_chat_model(model) for model in given))
        else:
            named = dict(_named([_chat_model(given)]))
        if not named:
            msg = "there is no model to compare: give a chat model, a list or a dict of them."
            raise ValueError(msg)
        return Models.of(named)

    @override
    def get_input_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        # ChatOpenAI itself has fields that JSON schema cannot express.
        return create_model(self.get_name("Input"), __base__=RootModel[Any])

    @override
    def _run(self, accepted: Models, config: RunnableConfig) -> ComparisonReport:
        trial = Trial.of(self._plan(accepted))
        with AnswerStore(state_directory() / "comparisons.sqlite") as store:
            return self._finish(ask(trial.rounds(store), config))

    @override
    async def _arun(self, accepted: Models, config: RunnableConfig) -> ComparisonReport:
        trial = await asyncio.to_thread(Trial.of, self._plan(accepted))
        with AnswerStore(state_directory() / "comparisons.sqlite") as store:
            report = await aask(trial.rounds(store), config)
        return await asyncio.to_thread(self._finish, report)

    def _plan(self, models: Models) -> Plan:
        return Plan(
            models=models.by_name,
            baseline=self.baseline,
            metrics=read_metrics(self.metrics),
            data=read_data(self.data),
            forces_baseline=self.forced_baseline,
            checks_adapter=self.check_adapter,
            seed=self.seed,
        )

    def _finish(self, report: ComparisonReport) -> ComparisonReport:
        for text in report.warnings:
            logger.warning("%s", text)
        if not self.langsmith:
            return report
        from langchain_finetune.evaluators._experiments import publish  # noqa: PLC0415  heavy, and on request

        return publish(report, self.langsmith_client)


def _chat_model(given: Any) -> BaseChatModel:
    if isinstance(given, BaseChatModel):
        return given
    if callable(make := getattr(given, "to_chat_model", None)):
        return _chat_model(make())
    kind = type(given).__name__
    msg = (
        "ModelComparison takes the chat model that FineTuneRunnable returns, or a list or dict of chat "
        f"models, not a {kind}."
    )
    raise TypeError(msg)


def _named(models: Any) -> Iterator[tuple[str, BaseChatModel]]:
    seen: dict[str, int] = {}
    for model in models:
        name = name_of(model)
        seen[name] = seen.get(name, 0) + 1
        yield (name if seen[name] == 1 else f"{name} #{seen[name]}"), model
