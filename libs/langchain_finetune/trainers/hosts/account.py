"""What an account at a host of OpenAI's protocol holds, to be read: files, jobs, models, limits.

Like `openai_protocol`, each function is an exchange; here nothing is created or changed.
"""

import hashlib
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import httpx2
import openai

from langchain_finetune.errors import AuthenticationFailedError, HostError
from langchain_finetune.hosts import OPENAI
from langchain_finetune.trainers.exchange import Call, Exchange
from langchain_finetune.trainers.hosts.connection import Connection
from langchain_finetune.trainers.hosts.refusals import is_transient

_PURPOSE: Final = "fine-tune"
_JOBS_PAGE: Final = 100
_FILES_PAGE: Final = 1000
_CHUNK_BYTES: Final = 1 << 20
_NOT_FOUND: Final = frozenset({404, 410})

Wire = dict[str, Any]
List = Callable[[Any], Any]
"""Lists something with a client and returns the first page."""


class Download(openai.BaseModel):
    """What came over the wire."""

    num_bytes: int
    sha256: str


def connection_to(client: Any) -> Connection:
    """Return a connection to the account of a client, sync or async; of None, to OpenAI's own."""
    return Connection(OPENAI, None, client) if is_async(client) else Connection(OPENAI, client)


def is_async(client: Any) -> bool:
    """Tell whether a client is an async one."""
    return isinstance(client, openai.AsyncOpenAI)


def model_limits(*names: str) -> Exchange[Wire | None]:
    """Return the account's limits for jobs on a base, by the first name listed; None where none is.

    The route stands in OpenAI's [guide](https://developers.openai.com/api/docs/guides/rate-limits), not in
    its SDK.
    """
    ask: List = lambda client: client.get("/fine_tuning/model_limits", cast_to=openai.BaseModel)  # noqa: E731
    try:
        answer = plain((yield Call(ask)))
    except AuthenticationFailedError:
        raise
    except HostError as e:
        if is_transient(e):
            raise
        return None
    listed = answer.get("data")
    items = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    by_name = {str(item.get("id")): item for item in items}
    return next((by_name[name] for name in names if name in by_name), None)


def tokenize(model: str, row: Mapping[str, Any]) -> Exchange[int]:
    """Return the tokens of a training row, as the embedded server renders it.

    Raises:
        HostError: The host has no such route, or cannot read the row.
    """
    body = {key: row[key] for key in ("messages", "tools", "functions") if row.get(key)}
    body |= {"model": model, "add_generation_prompt": False}
    answer = plain((yield Call(lambda client: client.post("/tokenize", body=body, cast_to=openai.BaseModel))))
    count = answer.get("count")
    if not isinstance(count, int):
        msg = "the host answered a request for a number of tokens without one."
        raise HostError(msg, status_code=502)
    return count


def jobs(most: int | None = None) -> Exchange[list[Wire]]:
    """Return the jobs of the account, newest first.

    Args:
        most: How many will do; None is all of them.
    """
    return (yield from _all(lambda client: client.fine_tuning.jobs.list(limit=_JOBS_PAGE), most))


def files() -> Exchange[list[Wire]]:
    """Return all training files of the account, newest first."""
    return (yield from _all(lambda client: client.files.list(purpose=_PURPOSE, limit=_FILES_PAGE)))


def models() -> Exchange[list[Wire]]:
    """Return all models that the account may use."""
    return (yield from _all(lambda client: client.models.list()))


def find_file(file_id: str) -> Exchange[Wire | None]:
    """Return the description of a file, None where there is no such file (any more)."""
    try:
        return plain((yield Call(lambda client: client.files.retrieve(file_id))))
    except HostError as e:
        if e.status_code in _NOT_FOUND:
            return None
        raise


def download(file_id: str, take: Callable[[bytes], None]) -> Exchange[Download]:
    """Read a file's bytes piece by piece.

    Args:
        file_id: Its id.
        take: Called with each piece, in order.
    """
    answer: Download = yield Call(lambda client: _reading(client, file_id, take))
    return answer


def plain(item: Any) -> Wire:
    """Return what the client made of an answer as the JSON object that it was."""
    # States and shapes that the client's types do not know are no reason to warn.
    return item.to_dict(warnings=False) if isinstance(item, openai.BaseModel) else {}


def _all(ask: List, most: int | None = None) -> Exchange[list[Wire]]:
    found: dict[str, Wire] = {}
    page = yield Call(ask)
    while True:
        items = [plain(item) for item in page.data or []]
        new = {str(item["id"]): item for item in items if item.get("id")}
        is_news = not new.keys() <= found.keys()
        found.update(new)
        # A host that does not know the cursor sends the same page again and again.
        is_enough = most is not None and len(found) >= most
        if is_enough or not is_news or not page.has_next_page():
            return list(found.values())
        page = yield _next_page(page)


def _next_page(page: Any) -> Call:
    return Call(lambda _: page.get_next_page())


def _reading(client: Any, file_id: str, take: Callable[[bytes], None]) -> Any:
    stream = client.files.with_streaming_response.content(file_id)
    return _aread(stream, take) if is_async(client) else _read(stream, take)


def _read(stream: Any, take: Callable[[bytes], None]) -> Download:
    tally = _Tally(take)
    with stream as response, _told_as_the_clients(response):
        pieces: Iterable[bytes] = response.iter_bytes(_CHUNK_BYTES)
        for piece in pieces:
            tally.add(piece)
    return tally.total()


async def _aread(stream: Any, take: Callable[[bytes], None]) -> Download:
    tally = _Tally(take)
    async with stream as response:
        with _told_as_the_clients(response):
            pieces: AsyncIterable[bytes] = response.iter_bytes(_CHUNK_BYTES)
            async for piece in pieces:
                tally.add(piece)
    return tally.total()


@contextmanager
def _told_as_the_clients(response: Any) -> Iterator[None]:
    # What breaks behind the headers comes from the HTTP library as it is.
    try:
        yield
    except httpx2.HTTPError as e:
        raise openai.APIConnectionError(request=response.http_request) from e


class _Tally:
    """Hands pieces on, and counts and hashes them on the way."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._num_bytes = 0
        self._digest = hashlib.sha256()

    def add(self, piece: bytes) -> None:
        self._take(piece)
        self._num_bytes += len(piece)
        self._digest.update(piece)

    def total(self) -> Download:
        return Download(num_bytes=self._num_bytes, sha256=self._digest.hexdigest())
