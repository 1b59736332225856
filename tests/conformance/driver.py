"""One way to use the stock client, whether it is the synchronous one or the asynchronous one."""

import asyncio
import inspect
import json
import time
from collections.abc import AsyncIterable, Awaitable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx2
import openai
import pytest

from tests.conformance.wire_check import AsyncCheckedTransport, CheckedTransport, WireCheck

FEATURES = (
    "chat",
    "checkpoints",
    "expires_after",
    "idempotency",
    "json_schema",
    "logprobs",
    "metadata_filter",
    "model_delete",
    "model_limits",
    "n",
    "pause",
    "tools",
)
"""What a host may state that it lacks."""
ENDED = {"succeeded", "failed", "cancelled"}
_TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class Host:
    """Who is put to the test.

    Args:
        base_url: Where it is.
        api_key: What opens it.
        model: A base model that it fine-tunes.
        lacks: Features that it states it does not have.
        training_seconds: How long a small training may take there.
    """

    base_url: str
    api_key: str
    model: str
    lacks: frozenset[str]
    training_seconds: float

    def needs(self, feature: str) -> None:
        """Skips the test where the host lacks the feature."""
        assert feature in FEATURES
        if feature in self.lacks:
            pytest.skip(f"the host states that it lacks {feature}")

    def sync_client(self, wire: WireCheck) -> openai.OpenAI:
        """The stock client, checked; errors are not retried, so that a test sees them."""
        inner = httpx2.Client(
            transport=CheckedTransport(httpx2.HTTPTransport(), wire), timeout=_TIMEOUT_SECONDS
        )
        return openai.OpenAI(base_url=self.base_url, api_key=self.api_key, max_retries=0, http_client=inner)

    def async_client(self, wire: WireCheck) -> openai.AsyncOpenAI:
        """The stock asynchronous client, checked."""
        inner = httpx2.AsyncClient(
            transport=AsyncCheckedTransport(httpx2.AsyncHTTPTransport(), wire), timeout=_TIMEOUT_SECONDS
        )
        return openai.AsyncOpenAI(
            base_url=self.base_url, api_key=self.api_key, max_retries=0, http_client=inner
        )


class Driver:
    """The stock client, with every call to be awaited: `await client.files.retrieve(...)`.

    Args:
        target: The client, synchronous or not, or a part of it.
    """

    def __init__(self, target: Any) -> None:
        self._target = target

    def __getattr__(self, name: str) -> "Driver":
        return Driver(getattr(self._target, name))

    def with_options(self, **options: Any) -> "Driver":
        """The same client with another key, say."""
        return Driver(self._target.with_options(**options))

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the call gives; the first page of a list."""
        result = self._target(*args, **kwargs)
        return await result if inspect.isawaitable(result) else result


async def items(page: Any, at_most: int = 100) -> list[Any]:
    """What a page and those behind it hold, or what a stream tells."""
    found = []
    if isinstance(page, AsyncIterable):
        async for item in page:
            found.append(item)
            if len(found) == at_most:
                break
        return found
    for item in page:
        found.append(item)
        if len(found) == at_most:
            break
    return found


async def refused(asked: Awaitable[Any], status: int) -> openai.APIStatusError:
    """The error that answers a request, which must have that status."""
    with pytest.raises(openai.APIStatusError) as caught:
        await asked
    assert caught.value.status_code == status, caught.value
    return caught.value


def rows(number: int = 12) -> bytes:
    """A training file of that many valid examples."""
    lines = [
        {"messages": [{"role": "user", "content": f"Say {i}."}, {"role": "assistant", "content": str(i)}]}
        for i in range(number)
    ]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


async def upload(client: Driver, content: bytes | None = None) -> str:
    """The id of a new training file."""
    file = await client.files.create(file=("train.jsonl", content or rows()), purpose="fine-tune")
    return file.id


async def create_job(client: Driver, host: Host, content: bytes | None = None, **wanted: Any) -> Any:
    """A new job on a new file."""
    return await client.fine_tuning.jobs.create(
        model=host.model, training_file=await upload(client, content), **wanted
    )


async def wait_for_status(client: Driver, job_id: str, *statuses: str, seconds: float = 60) -> Any:
    """The job, once it is in one of these states."""
    deadline = time.monotonic() + seconds
    while (job := await client.fine_tuning.jobs.retrieve(job_id)).status not in statuses:
        assert time.monotonic() < deadline, f"job {job_id} is {job.status}, not {statuses}"
        assert job.status not in ENDED, f"job {job_id} is {job.status}: {job.error}"
        await asyncio.sleep(0.1)
    return job


async def clean_up(client: Driver, wire: WireCheck) -> None:
    """Ends the jobs and deletes the files that a client has made."""
    for job_id in tuple(wire.made["POST /fine_tuning/jobs"]):
        with suppress(openai.BadRequestError):
            await client.fine_tuning.jobs.cancel(job_id)
    for file_id in tuple(wire.made["POST /files"]):
        with suppress(openai.NotFoundError):
            await client.files.delete(file_id)
