"""The real openai client against a fake host, without a network."""

from typing import Any

import httpx2
import openai

from langchain_finetune.hosts import OPENAI
from langchain_finetune.trainers.fine_tune import FineTuneRunnable
from langchain_finetune.trainers.hosts.connection import Connection
from tests.fakes.openai_host import FakeHost


def clients(host: FakeHost, **options: Any) -> dict[str, Any]:
    """A sync and an async client of a host."""
    given = {"api_key": "sk-fake", "base_url": "http://host/v1", "max_retries": 0, **options}
    transport = host.transport()
    return {
        "client": openai.OpenAI(http_client=httpx2.Client(transport=transport), **given),
        "async_client": openai.AsyncOpenAI(http_client=httpx2.AsyncClient(transport=transport), **given),
    }


def connection_to(host: FakeHost, **options: Any) -> Connection:
    """A connection to a host."""
    return Connection(OPENAI, **clients(host, **options))


def trainer_at(
    host: FakeHost, target: str = "openai:gpt-4.1-mini-2025-04-14", **settings: Any
) -> FineTuneRunnable:
    """A trainer at a host that it does not wait long for; its chat models have no network either."""
    transport = host.transport()
    chat_model_kwargs = {
        "http_client": httpx2.Client(transport=transport),
        "http_async_client": httpx2.AsyncClient(transport=transport),
        "max_retries": 0,
        **settings.pop("chat_model_kwargs", {}),
    }
    given = {"poll_interval": 0.001, "chat_model_kwargs": chat_model_kwargs, **clients(host), **settings}
    return FineTuneRunnable(target, **given)


def trainer_of(host: FakeHost, target: str, url: str = "http://host/v1", **settings: Any) -> FineTuneRunnable:
    """A trainer at a host with a URL of its own, which sleeps between its looks for no time."""
    trainer = trainer_at(host, target, **clients(host, base_url=url), **settings)
    trainer._connection._sleep = lambda _: None
    trainer._connection._asleep = _at_once
    return trainer


async def _at_once(_: float) -> None:
    """Go on."""
