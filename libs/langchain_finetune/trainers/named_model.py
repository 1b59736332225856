"""A chat model by `"provider:model"`, as `init_chat_model` names them, at every host that trains."""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

from langchain_openai import ChatOpenAI

from langchain_finetune.base_names import base_of, is_tuned
from langchain_finetune.errors import JobNotFoundError, NotSupportedError, UnknownBaseError
from langchain_finetune.hosts import CUSTOM, Host, Target, parse_target
from langchain_finetune.trainers.chat_model import ready_chat_model
from langchain_finetune.trainers.exchange import Exchange
from langchain_finetune.trainers.hosts import account
from langchain_finetune.trainers.hosts.connection import Connection
from langchain_finetune.trainers.hosts.openai_clients import ApiKey
from langchain_finetune.trainers.jobs.job_state import SUCCEEDED, JobState

Wire = dict[str, Any]


class _Found(NamedTuple):
    model: Mapping[str, Any]
    job: JobState


def chat_model(
    name: str, *, base_url: str | None = None, api_key: ApiKey | None = None, **settings: Any
) -> ChatOpenAI:
    """Return the chat model of a base or of a tuned model.

    What `init_chat_model` does not know: the embedded server is found, or started, and started again when it
    is gone; hosts are reached as `FineTuneRunnable` reaches them; and calls of a tuned model carry the mark
    by which a selection of runs leaves them out.

    ```python
    chat_model("local:ft:smollm2-135m-instruct:local::HIFG589k").invoke("What's 56/7?")
    ```

    Args:
        name: `"provider:model"`, split at the first colon; with a base URL, the model alone will do.
        base_url: Where the host is; None is what the environment says, or the host's own URL.
        api_key: Its key; None is the environment's.
        **settings: Further fields of the chat model, such as `temperature`.

    Raises:
        UnknownProviderError: There is no such provider.
        UnknownBaseError: The host has no such model.
        HostError: The host refused, or cannot be reached.
    """
    target = _target_of(name, base_url)
    connection = Connection(target.host, base_url=base_url, api_key=api_key)
    return _ready(connection.run(_find(connection, target)), connection, settings)


async def achat_model(
    name: str, *, base_url: str | None = None, api_key: ApiKey | None = None, **settings: Any
) -> ChatOpenAI:
    """Return the chat model of a base or of a tuned model, as `chat_model` does."""
    target = _target_of(name, base_url)
    connection = Connection(target.host, base_url=base_url, api_key=api_key)
    found = await connection.arun(_find(connection, target))
    # Making the clients of a chat model reads certificates, and may ask where the server is.
    return await asyncio.to_thread(_ready, found, connection, settings)


def host_models(provider: str, *, base_url: str | None = None, api_key: ApiKey | None = None) -> list[Wire]:
    """Return the models that a host of OpenAI's protocol lists, as it lists them.

    Args:
        provider: Its name.
        base_url: Where it is; None is what the environment says, or the host's own URL.
        api_key: Its key; None is the environment's.

    Raises:
        UnknownProviderError: There is no such provider.
        HostError: The host refused, cannot be reached, or lists none.
    """
    host = parse_target(f"{provider}:any").host
    return Connection(host, base_url=base_url, api_key=api_key).run(_models(host))


async def ahost_models(
    provider: str, *, base_url: str | None = None, api_key: ApiKey | None = None
) -> list[Wire]:
    """Return the models that a host of OpenAI's protocol lists, as `host_models` does."""
    host = parse_target(f"{provider}:any").host
    return await Connection(host, base_url=base_url, api_key=api_key).arun(_models(host))


def _models(host: Host) -> Exchange[list[Wire]]:
    if host.extra is not None:
        msg = f"{host.title} has an API of its own: its list of models is not read here."
        raise NotSupportedError(msg)
    return (yield from account.models())


def _target_of(name: str, base_url: str | None) -> Target:
    # `ft:...` is a model's whole name, and no provider's.
    is_bare = base_url is not None and (":" not in name or is_tuned(name))
    return Target(CUSTOM, name) if is_bare else parse_target(name)


def _find(connection: Connection, target: Target) -> Exchange[_Found]:
    name = target.base
    model = yield from connection.protocol.find_model(name)
    if model is None:
        msg = (
            f"{target.host.title} has no model {name!r} (any more): `langchain-finetune models list` shows "
            "the models that were trained from this machine."
        )
        raise UnknownBaseError(msg)
    job = JobState(id=name, status=SUCCEEDED, base=base_of(name), model=name)
    if isinstance(job_id := model.get("job_id"), str):
        try:
            made_by = yield from connection.protocol.retrieve_job(job_id)
        except JobNotFoundError:
            return _Found(model, job)
        # Its own name may be another than the one that was asked for: an alias, a checkpoint.
        job = JobState(id=job_id, status=SUCCEEDED, base=made_by.base, model=name, metadata=made_by.metadata)
    return _Found(model, job)


def _ready(found: _Found, connection: Connection, settings: Mapping[str, Any]) -> ChatOpenAI:
    ready = ready_chat_model(found.job, found.model, connection, settings)
    if is_tuned(found.job.model or "") or "job_id" in found.model:
        return ready
    # A base is not this package's own traffic.
    return ready.model_copy(update={"metadata": settings.get("metadata")})
