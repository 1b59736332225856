"""The comparison as a stage: the tuned model in, a report out."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, RootModel, create_model
from typing_extensions import override

from langchain_finetune._spool import load_training_data, read_jsonl, sha256_of, state_directory
from langchain_finetune._stage import Stage
from langchain_finetune.errors import HostError, SourceNotFoundError, TrainingDataError
from langchain_finetune.evaluators._store import AnswerStore, Sheet
from langchain_finetune.evaluators.questions import Batch, Question, batches, questions_from, token_limit
from langchain_finetune.evaluators.report import ComparisonReport
from langchain_finetune.evaluators.tool_calls import Answer, given_answer, is_exact
from langchain_finetune.handles import OWN_TRAFFIC_KEY
from langchain_finetune.hosts import LOCAL, host_of

COMPARE_EVENT: Final = "langchain_finetune_compare"
"""Name of the custom event after each answer; its data is `{"done", "total", "model"}`."""

_OWN_CALL: Final = {OWN_TRAFFIC_KEY: "comparison"}
_SETTINGS_VERSION: Final = 1
_MOST_ERRORS: Final = 5


class ModelComparison(Stage[ChatOpenAI, ComparisonReport]):
    """Ask the base and the tuned model what was held out of training, and count exact answers.

    A row counts when the answer makes the recorded tool calls, in name and JSON-equal arguments, or, where
    none was recorded, says the recorded text. Every answer is kept by model, test file and settings as soon
    as it is there: a comparison that was broken off goes on where it was, and one that is repeated asks
    nothing.

    After each answer the custom event `langchain_finetune_compare` is sent. Up to `max_concurrency` of the
    config questions are asked at the same time; without it, what suits the host.

    ```python
    pipeline = RunExportLoader("runs.jsonl") | TrainingDataConverter(test_fraction=0.2) | trainer
    report = (pipeline | ModelComparison()).invoke({})
    print(report)
    ```

    Raises:
        TrainingDataError: The model's training data has no held-out rows, or is not known.
        HostError: No question was answered at all.
    """

    baseline: ChatOpenAI | None = None
    """The model to compare with; None is the base that the tuned model was trained from."""

    @override
    def _accept(self, given: Any) -> ChatOpenAI:
        if isinstance(given, ChatOpenAI):
            return given
        kind = type(given).__name__
        msg = f"ModelComparison takes the chat model that FineTuneRunnable returns, not a {kind}."
        raise TypeError(msg)

    @override
    def get_input_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        # ChatOpenAI itself has fields that JSON schema cannot express.
        return create_model(self.get_name("Input"), __base__=RootModel[Any])

    @override
    def _run(self, accepted: ChatOpenAI, config: RunnableConfig) -> ComparisonReport:
        trial = Trial.of(accepted, self.baseline)
        with AnswerStore(state_directory() / "comparisons.sqlite") as store:
            for candidate in trial.candidates:
                candidate.answers.update(store.answers(candidate.sheet))
                for batch in trial.open_batches(candidate):
                    asked = candidate.bound_to(batch, trial.limit)
                    prompts, settings = _prompts(batch), candidate.config(config)
                    for index, outcome in asked.batch_as_completed(prompts, settings, return_exceptions=True):
                        candidate.take(batch.questions[index], outcome, store)
                        dispatch_custom_event(COMPARE_EVENT, trial.progress(candidate), config=config)
        return trial.report()

    @override
    async def _arun(self, accepted: ChatOpenAI, config: RunnableConfig) -> ComparisonReport:
        trial = await asyncio.to_thread(Trial.of, accepted, self.baseline)
        with AnswerStore(state_directory() / "comparisons.sqlite") as store:
            for candidate in trial.candidates:
                candidate.answers.update(store.answers(candidate.sheet))
                for batch in trial.open_batches(candidate):
                    asked = candidate.bound_to(batch, trial.limit)
                    outcomes = _outcomes(asked, _prompts(batch), candidate.config(config))
                    async with aclosing(outcomes):
                        async for index, outcome in outcomes:
                            candidate.take(batch.questions[index], outcome, store)
                            await adispatch_custom_event(
                                COMPARE_EVENT, trial.progress(candidate), config=config
                            )
        return trial.report()


@dataclass
class Candidate:
    """One of the two models, and what it said so far."""

    model: ChatOpenAI
    sheet: Sheet
    max_concurrency: int
    answers: dict[int, Answer] = field(default_factory=dict)
    errors: list[Exception] = field(default_factory=list)
    num_asked: int = 0

    def bound_to(self, batch: Batch, limit: int) -> Runnable[Any, AIMessage]:
        """Return the model with the tools of a batch."""
        return self.model.bind(temperature=0, max_tokens=limit, **batch.settings)

    def config(self, config: RunnableConfig) -> RunnableConfig:
        """Return the config of this model's calls: they are marked as this package's own."""
        return {
            **config,
            "max_concurrency": config.get("max_concurrency") or self.max_concurrency,
            "metadata": {**(config.get("metadata") or {}), **_OWN_CALL},
        }

    def take(self, question: Question, outcome: AIMessage | Exception, store: AnswerStore) -> None:
        """Take in an answer and keep it; an error is kept for the report alone."""
        self.num_asked += 1
        if isinstance(outcome, Exception):
            self.errors.append(outcome)
        else:
            self.answers[question.row] = given_answer(outcome)
            store.add(self.sheet, question.row, self.answers[question.row])

    def hits(self, questions: list[Question]) -> set[int]:
        """Return the rows that were answered as recorded."""
        return {
            question.row
            for question in questions
            if question.row in self.answers and is_exact(question.expected, self.answers[question.row])
        }


@dataclass
class Trial:
    """A comparison under way."""

    tuned: Candidate
    base: Candidate
    questions: list[Question]
    test: Path
    limit: int
    """Most tokens of an answer."""
    job_id: str | None
    started: float

    @classmethod
    def of(cls, model: ChatOpenAI, baseline: ChatOpenAI | None) -> "Trial":
        """Prepare the comparison of a tuned model."""
        started = time.monotonic()
        test = _test_file(model)
        questions = questions_from(read_jsonl(test))
        limit, test_sha256 = token_limit(questions), sha256_of(test)
        tuned, base = (
            _candidate(contender, test_sha256, limit) for contender in (model, baseline or _base_of(model))
        )
        job_id = _metadata(model).get(OWN_TRAFFIC_KEY)
        return cls(tuned, base, questions, test, limit, job_id, started)

    @property
    def candidates(self) -> tuple[Candidate, Candidate]:
        """The base first: it is the one that people wait to see beaten."""
        return self.base, self.tuned

    def open_batches(self, candidate: Candidate) -> Iterator[Batch]:
        """Return what is still to be asked."""
        yield from batches(question for question in self.questions if question.row not in candidate.answers)

    def progress(self, candidate: Candidate) -> dict[str, Any]:
        """Return the data of an event."""
        done = len(candidate.answers) + len(candidate.errors)
        return {"done": done, "total": len(self.questions), "model": candidate.model.model_name}

    def report(self) -> ComparisonReport:
        """Return what was found."""
        for candidate in self.candidates:
            _require_an_answer(candidate)
        rows = {question.row for question in self.questions}
        base, tuned = (candidate.hits(self.questions) for candidate in self.candidates)
        errors = [error for candidate in self.candidates for error in candidate.errors]
        return ComparisonReport(
            base=self.base.model.model_name,
            tuned=self.tuned.model.model_name,
            num_held_out=len(rows),
            base_exact=len(base) / len(rows),
            tuned_exact=len(tuned) / len(rows),
            tuned_misses=tuple(sorted(rows - tuned)),
            regressions=tuple(sorted(base - tuned)),
            num_asked=self.base.num_asked + self.tuned.num_asked,
            num_failed=len(errors),
            errors=tuple(dict.fromkeys(f"{type(e).__name__}: {e}" for e in errors))[:_MOST_ERRORS],
            test=self.test,
            test_sha256=self.tuned.sheet.test_sha256,
            seconds=round(time.monotonic() - self.started, 3),
            job_id=self.job_id,
        )


async def _outcomes(
    asked: Runnable[Any, AIMessage], prompts: list[list[BaseMessage]], config: RunnableConfig
) -> AsyncGenerator[tuple[int, AIMessage | Exception], None]:
    """Ask all, yield what comes as it comes; core's own twin of this asks on after a cancellation."""
    gate = asyncio.Semaphore(config.get("max_concurrency") or 1)

    async def ask(index: int, prompt: list[BaseMessage]) -> tuple[int, AIMessage | Exception]:
        async with gate:
            try:
                return index, await asked.ainvoke(prompt, config)
            except Exception as e:  # noqa: BLE001  one question that fails is in the report
                return index, e

    tasks = [asyncio.create_task(ask(index, prompt)) for index, prompt in enumerate(prompts)]
    try:
        for task in asyncio.as_completed(tasks):
            yield await task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _prompts(batch: Batch) -> list[list[BaseMessage]]:
    return [question.messages for question in batch.questions]


def _metadata(model: ChatOpenAI) -> dict[str, Any]:
    return dict(model.metadata or {})


def _test_file(model: ChatOpenAI) -> Path:
    """Return the rows held out of the training of a model."""
    fingerprint = _metadata(model).get("langchain_finetune_data")
    if not isinstance(fingerprint, str):
        msg = (
            f"the metadata of {model.model_name} names no training data: compare a model that "
            "FineTuneRunnable returned."
        )
        raise TrainingDataError(msg)
    data = load_training_data(fingerprint)
    if data is None:
        msg = (
            f"the training data {fingerprint[:16]} of {model.model_name} is not here any more: run the pipe "
            "from its loader on to make it again."
        )
        raise SourceNotFoundError(msg)
    if data.test is None:
        msg = (
            f"the training data of {model.model_name} has no held-out rows: give the converter a share for "
            "them, TrainingDataConverter(test_fraction=0.1)."
        )
        raise TrainingDataError(msg)
    return data.test


def _base_of(model: ChatOpenAI) -> ChatOpenAI:
    """Return the model that a tuned one was trained from, at the same host by the same clients."""
    base = _metadata(model).get("langchain_finetune_base")
    if not isinstance(base, str):
        msg = f"the metadata of {model.model_name} names no base: give one, ModelComparison(baseline=...)."
        raise TrainingDataError(msg)
    return model.model_copy(update={"model_name": base})


def _candidate(model: ChatOpenAI, test_sha256: str, limit: int) -> Candidate:
    metadata = _metadata(model)
    host = host_of(metadata.get("langchain_finetune_provider"))
    # The embedded server may listen elsewhere tomorrow.
    place = host.name if host is LOCAL else model.openai_api_base or host.name
    settings = {name: value for name, value in model.asdict().items() if name not in ("model", "model_name")}
    settings |= {"version": _SETTINGS_VERSION, "temperature": 0, "max_tokens": limit}
    sheet = Sheet(
        f"{place} {model.model_name}", test_sha256, json.dumps(settings, sort_keys=True, default=str)
    )
    # A model's own metadata wins over its call's: the mark has to be in both.
    marked = model.model_copy(update={"metadata": {**metadata, **_OWN_CALL}})
    return Candidate(marked, sheet, host.max_concurrency)


def _require_an_answer(candidate: Candidate) -> None:
    if candidate.errors and not candidate.answers:
        msg = (
            f"{candidate.model.model_name} answered none of {len(candidate.errors)} questions. "
            f"The first error: {candidate.errors[0]}"
        )
        raise HostError(msg) from candidate.errors[0]
