"""A tuned model as JSON can hold it: the stage that returns one, and the way from and to a chat model."""

import asyncio
import os
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.runnables import RunnableConfig
from langchain_openai import ChatOpenAI
from pydantic import GetCoreSchemaHandler, RootModel, SkipValidation
from pydantic_core import CoreSchema
from typing_extensions import override

from langchain_finetune._stage import Stage
from langchain_finetune.errors import (
    AliasError,
    AuthenticationFailedError,
    HostError,
    NotServableError,
    UnknownProviderError,
)
from langchain_finetune.handles import OWN_TRAFFIC_KEY, FineTunedModel, TrainingData
from langchain_finetune.hosts import HOSTS, LOCAL, Host
from langchain_finetune.trainers.exchange import JOB_EVENT, JobProgress
from langchain_finetune.trainers.hosts.openai_clients import url_of
from langchain_finetune.trainers.job import FineTuneJob
from langchain_finetune.trainers.jobs.key import DATA_FIELD
from langchain_finetune.trainers.local.chat_model import LocalChatOpenAI

_OPENAI_URL: Final = "https://api.openai.com/v1"

_NO_KEY: Final = "none"
"""What a served model is called with where nobody gave a key: the client insists on some."""

_PROVIDER: Final = "langchain_finetune_provider"
_BASE: Final = "langchain_finetune_base"


class ChatModelOutput(RootModel[Any]):
    """The schema of an output that is a chat model: anything, and no part of a response.

    ChatOpenAI itself has fields that JSON schema cannot express. A graph may show this schema; whoever builds
    a response with it, as LangServe does at start-up, is told then and not at the first request.
    """

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        # Complete means that it is built, and now to be a field of another model.
        if "__pydantic_core_schema__" in vars(cls) and cls.__pydantic_complete__:
            msg = (
                "FineTuneRunnable returns a chat model, which no response can hold: serve "
                "`trainer.as_served()` in its place, or the whole pipe with `add_fine_tune_routes`."
            )
            raise NotServableError(msg)
        return handler(source)


def is_tuned(model: ChatOpenAI) -> bool:
    """Tell whether a chat model came out of a job of this package's."""
    return OWN_TRAFFIC_KEY in (model.metadata or {})


def tuned_model_of(model: ChatOpenAI, metrics: Mapping[str, float] | None = None) -> FineTunedModel:
    """Return what JSON can hold of a chat model that a trainer returned.

    Args:
        model: The chat model.
        metrics: The figures of the last step.

    Raises:
        AliasError: It did not come out of a job of this package's.
    """
    metadata = model.metadata or {}
    if not is_tuned(model):
        msg = f"the model {model.model_name!r} was not tuned here: give what FineTuneRunnable returns."
        raise AliasError(msg)
    return FineTunedModel(
        provider=metadata.get(_PROVIDER, "custom"),
        base=metadata.get(_BASE, ""),
        model=model.model_name,
        base_url=_without_user(str(model.root_client.base_url)),
        job_id=metadata[OWN_TRAFFIC_KEY],
        fingerprint=metadata.get(DATA_FIELD),
        metrics=metrics or {},
    )


def chat_model_of(tuned: FineTunedModel, api_key: str | None, settings: Mapping[str, Any]) -> ChatOpenAI:
    """Return the chat model of a tuned model: see `FineTunedModel.to_chat_model`."""
    given: dict[str, Any] = {
        "stream_usage": True,
        **settings,
        "model": tuned.model,
        "metadata": {**(settings.get("metadata") or {}), **_metadata(tuned)},
    }
    if tuned.served_url:
        return ChatOpenAI(**given, base_url=tuned.served_url, api_key=api_key or _NO_KEY)
    host = HOSTS.get(tuned.provider)
    if host is None:
        msg = f"there is no provider {tuned.provider!r}: known are {', '.join(HOSTS)}."
        raise UnknownProviderError(msg)
    if host is LOCAL and api_key is None:
        # The server of this state directory, wherever it listens by now.
        return LocalChatOpenAI(**given)
    return ChatOpenAI(
        **given, base_url=tuned.base_url, api_key=api_key or _key_of_environment(tuned.base_url, host)
    )


def _metadata(tuned: FineTunedModel) -> dict[str, str]:
    metadata = {OWN_TRAFFIC_KEY: tuned.job_id, _PROVIDER: tuned.provider, _BASE: tuned.base}
    return {**metadata, **({DATA_FIELD: tuned.fingerprint} if tuned.fingerprint else {})}


def _key_of_environment(base_url: str, host: Host) -> str:
    """Return the environment's key of a host, for a URL that is known to be the host's.

    Whoever sends a `FineTunedModel` chooses its URL: the key must not follow it anywhere.
    """
    variable = host.key_variable
    known = url_of(host) or os.environ.get("OPENAI_BASE_URL") or _OPENAI_URL if variable else None
    key = os.environ.get(variable or "")
    if known is None or not key or not _is_same_place(known, base_url):
        reason = f"{variable} is not set" if variable and not key else "that is not known to be its URL"
        msg = (
            f"there is no key to call {host.title} at {base_url} with: {reason}. "
            "Give `to_chat_model(api_key=...)`."
        )
        raise AuthenticationFailedError(msg)
    return key


def _is_same_place(one: str, other: str) -> bool:
    first, second = urlsplit(one), urlsplit(other)
    return (first.scheme, first.hostname, first.port) == (second.scheme, second.hostname, second.port)


def _without_user(url: str) -> str:
    """Return a URL without user, password, query and fragment: any of them may hold what opens it."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


def figures_of(metrics: list[dict[str, float]]) -> dict[str, float]:
    """Return the last step's figures, and of those that only some steps tell, the newest."""
    return {name: value for row in metrics for name, value in row.items()}


class ServedFineTune(Stage[Any, FineTunedModel]):
    """A trainer whose output JSON can hold: made by `FineTuneRunnable.as_served()`."""

    trainer: SkipValidation[Any]
    """The `FineTuneRunnable`."""

    @override
    def get_name(self, suffix: str | None = None, *, name: str | None = None) -> str:
        return super().get_name(suffix, name=name or self.name or self.trainer.get_name())

    @override
    def _accept(self, given: Any) -> TrainingData:
        accepted: TrainingData = self.trainer._accept(given)  # noqa: SLF001 - the same stage, with another output
        return accepted

    @override
    def _run(self, accepted: TrainingData, config: RunnableConfig) -> FineTunedModel:
        def tell(progress: JobProgress) -> None:
            dispatch_custom_event(JOB_EVENT, progress, config=config)

        job: FineTuneJob = self.trainer.submit(accepted)
        return served(job, job.result(tell))

    @override
    async def _arun(self, accepted: TrainingData, config: RunnableConfig) -> FineTunedModel:
        async def tell(progress: JobProgress) -> None:
            await adispatch_custom_event(JOB_EVENT, progress, config=config)

        job: FineTuneJob = await self.trainer.asubmit(accepted)
        return await aserved(job, await job.aresult(tell))


def served(job: FineTuneJob, model: ChatOpenAI) -> FineTunedModel:
    """Return the model of a job that has succeeded; figures that the host does not tell are left out."""
    try:
        metrics = job.metrics()
    except HostError:
        metrics = []
    return tuned_model_of(model, figures_of(metrics))


async def aserved(job: FineTuneJob, model: ChatOpenAI) -> FineTunedModel:
    """Return the model of a job that has succeeded; figures that the host does not tell are left out."""
    try:
        metrics = await job.ametrics()
    except HostError:
        metrics = []
    # The chat model's client may be made only now, which reads certificates.
    return await asyncio.to_thread(tuned_model_of, model, figures_of(metrics))
