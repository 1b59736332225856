"""The models that stand against each other: who they are, how they are asked, and what they said so far."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_openai.chat_models.base import BaseChatOpenAI

from langchain_finetune._spool import load_training_data
from langchain_finetune.errors import HostError, SourceNotFoundError, TrainingDataError
from langchain_finetune.evaluators._asking import Outcome
from langchain_finetune.evaluators._store import AnswerStore, Sheet
from langchain_finetune.evaluators.questions import Batch, Question, batches
from langchain_finetune.evaluators.tool_calls import Answer, given_answer
from langchain_finetune.handles import OWN_TRAFFIC_KEY, TrainingData
from langchain_finetune.hosts import LOCAL, host_of

Role = Literal["baseline", "forced", "contender"]

_OWN_CALL: Final = {OWN_TRAFFIC_KEY: "comparison"}
_SETTINGS_VERSION: Final = 2
_IDENTITY: Final = ("weights_sha256", "alias_of", "job_id")
_LOOK_SECONDS: Final = 20.0


@dataclass
class Contender:
    """A model, and what it said so far."""

    name: str
    """In tables; no two have the same."""
    model: BaseChatModel
    sheet: Sheet
    max_concurrency: int
    metadata: Mapping[str, Any]
    """What the trainer noted on the model."""
    role: Role = "contender"
    answers: dict[str, Answer] = field(default_factory=dict)
    """By the question's key."""
    errors: dict[str, Exception] = field(default_factory=dict)
    """By the question's key."""
    num_asked: int = 0

    @property
    def is_local(self) -> bool:
        """Whether the embedded server answers, which costs nothing."""
        return host_of(self.metadata.get("langchain_finetune_provider")) is LOCAL

    def asked(self, questions: Sequence[Question]) -> dict[str, Question]:
        """Return the questions that this model is asked, each once, by their keys."""
        return {
            question.key: question for question in questions if self.role != "forced" or is_forcible(question)
        }

    def open_batches(self, questions: Sequence[Question]) -> Iterator[Batch]:
        """Return what is still to be asked."""
        left = [question for key, question in self.asked(questions).items() if key not in self.answers]
        if self.role != "forced":
            yield from batches(left)
            return
        for is_single in (True, False):
            yield from batches(question for question in left if _has_one_call(question) is is_single)

    def bound_to(self, batch: Batch, limit: int) -> Runnable[Any, AIMessage]:
        """Return the model with the tools of a batch.

        Args:
            batch: Questions with the same tools.
            limit: Most tokens of an answer.
        """
        if isinstance(self.model, BaseChatOpenAI):
            forced = _forced(batch.settings) if self.role == "forced" else {}
            if "tool_choice" in forced and _has_one_call(batch.questions[0]):
                # A base that has to call goes on calling, its right call first, until the limit.
                forced["parallel_tool_calls"] = False
            # Models that reason refuse a temperature.
            steady = {} if (self.model.profile or {}).get("temperature") is False else {"temperature": 0}
            return self.model.bind(max_tokens=limit, **steady, **{**batch.settings, **forced})
        # Other chat models have settings of other names: they are asked as they are.
        tools = [dict(tool) for tool in batch.questions[0].tools]
        try:
            return self.model.bind_tools(tools) if tools else self.model
        except NotImplementedError:
            return self.model

    def marks(self, config: RunnableConfig) -> RunnableConfig:
        """Return the config of this model's calls: they are marked as this package's own."""
        return {
            **config,
            "max_concurrency": config.get("max_concurrency") or self.max_concurrency,
            "metadata": {**(config.get("metadata") or {}), **_OWN_CALL},
        }

    def take(self, key: str, outcome: Outcome, store: AnswerStore) -> None:
        """Take in an answer and keep it; an error is kept for the report alone."""
        self.num_asked += 1
        if isinstance(outcome.answer, Exception):
            self.errors[key] = outcome.answer
        else:
            self.errors.pop(key, None)
            self.answers[key] = given_answer(outcome.answer, round(outcome.seconds, 4))
            store.add(self.sheet, key, self.answers[key])

    def require_an_answer(self) -> None:
        """Refuse to call it a result where every question failed.

        Raises:
            HostError: No question was answered at all.
        """
        if self.errors and not self.answers:
            first = next(iter(self.errors.values()))
            msg = f"{self.name} answered none of {len(self.errors)} questions. The first error: {first}"
            raise HostError(msg) from first


def contender_of(name: str, model: BaseChatModel, limit: int, role: Role = "contender") -> Contender:
    """Enter a model: asks the host whose weights its name stands for, where it tells.

    Args:
        name: Its name in tables.
        model: The model.
        limit: Most tokens of an answer.
        role: What it stands for.
    """
    metadata = metadata_of(model)
    host = host_of(metadata.get("langchain_finetune_provider"))
    settings = {name: value for name, value in model.asdict().items() if name not in ("model", "model_name")}
    settings |= {
        "version": _SETTINGS_VERSION,
        "temperature": 0,
        "max_tokens": limit,
        "forced": role == "forced" and "as many calls as recorded",
    }
    sheet = Sheet(_identity(model), json.dumps(settings, sort_keys=True, default=str))
    # A model's own metadata wins over its call's: the mark has to be in both.
    marked = model.model_copy(update={"metadata": {**metadata, **_OWN_CALL}})
    return Contender(name, marked, sheet, host.max_concurrency, metadata, role)


def is_forcible(question: Question) -> bool:
    """Tell whether a question can be asked with a forced call: one was recorded, and there are tools."""
    return bool(question.expected.calls) and bool(_forced(question.settings))


def _has_one_call(question: Question) -> bool:
    return len(question.expected.calls) == 1


def _forced(settings: Mapping[str, Any]) -> dict[str, Any]:
    if settings.get("tools"):
        return {"tool_choice": "required"}
    functions = list(settings.get("functions") or ())
    # Legacy functions know no "required": a call can be forced where there is but one.
    return {"function_call": {"name": functions[0]["name"]}} if len(functions) == 1 else {}


def metadata_of(model: BaseChatModel) -> dict[str, Any]:
    """Return what the trainer noted on a model; empty where it is nobody's."""
    return dict(model.metadata or {})


def name_of(model: BaseChatModel) -> str:
    """Return the name of a model at its host."""
    for attribute in ("model_name", "model", "deployment_name"):
        if isinstance(name := getattr(model, attribute, None), str) and name:
            return name
    return type(model).__name__


def base_of(model: BaseChatModel) -> BaseChatModel | None:
    """Return the model that a tuned one was trained from, at the same host by the same clients."""
    base = metadata_of(model).get("langchain_finetune_base")
    if not (isinstance(base, str) and isinstance(model, BaseChatOpenAI)):
        return None
    return model.model_copy(update={"model_name": base})


def held_out_of(models: Sequence[BaseChatModel]) -> TrainingData:
    """Return the training data whose held-out rows the models are asked.

    Raises:
        TrainingDataError: No model names its training data.
        SourceNotFoundError: The data are not here any more.
    """
    for model in models:
        if isinstance(fingerprint := metadata_of(model).get("langchain_finetune_data"), str):
            if (data := load_training_data(fingerprint)) is not None:
                return data
            msg = (
                f"the training data {fingerprint[:16]} of {name_of(model)} is not here any more: run the "
                "pipe again, which converts the same runs to the same data, or give it: "
                "ModelComparison(data=...)."
            )
            raise SourceNotFoundError(msg)
    msg = (
        f"the metadata of {name_of(models[0])} names no training data: compare a model that FineTuneRunnable "
        "returned, or give the held-out rows: ModelComparison(data=...)."
    )
    raise TrainingDataError(msg)


def test_file_of(data: TrainingData) -> Path:
    """Return the held-out rows of training data.

    Raises:
        TrainingDataError: Nothing was held out.
        SourceNotFoundError: The file is gone.
    """
    if data.test is None:
        msg = (
            f"the training data {data.fingerprint[:16]} has no held-out rows: convert the runs with some of "
            "them, TrainingDataConverter(test_fraction=0.1)."
        )
        raise TrainingDataError(msg)
    if not data.test.exists():
        msg = f"the held-out rows {data.test} are not here any more: run the pipe again, to write them anew."
        raise SourceNotFoundError(msg)
    return data.test


def _identity(model: BaseChatModel) -> str:
    metadata = metadata_of(model)
    host = host_of(metadata.get("langchain_finetune_provider"))
    if host is LOCAL:
        place = host.name  # the embedded server may listen elsewhere tomorrow
    else:
        places = (getattr(model, name, None) for name in ("openai_api_base", "azure_endpoint"))
        place = next((each for each in places if isinstance(each, str)), type(model).__name__)
    described = _described(model)
    known = {name: described[name] for name in _IDENTITY if described.get(name)}
    return f"{place} {name_of(model)} {json.dumps(known, sort_keys=True)}"


def _described(model: BaseChatModel) -> Mapping[str, Any]:
    """Return what the host tells of a model beyond OpenAI's fields; nothing where it does not answer.

    The same name may stand for other weights tomorrow: another file at the same path, another job under
    the same alias.
    """
    client = getattr(model, "root_client", None)
    if not isinstance(model, BaseChatOpenAI) or client is None:
        return {}
    try:
        found = client.with_options(max_retries=0, timeout=_LOOK_SECONDS).models.retrieve(model.model_name)
    except Exception:  # noqa: BLE001  the questions themselves will tell what is wrong
        return {}
    return found.model_extra or {}
