"""One host as a trainer reaches it: its clients, and how an exchange is done with them."""

import asyncio
import json
import threading
import time
import traceback
from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import Any, Final, TypeVar

import openai

from langchain_finetune._spool import state_directory
from langchain_finetune.errors import AuthenticationFailedError
from langchain_finetune.hosts import LOCAL, Host
from langchain_finetune.trainers.exchange import Act, Call, Exchange, JobProgress, Sleep, arun, run, settle
from langchain_finetune.trainers.hosts.openai_clients import ApiKey, Endpoint, key_of
from langchain_finetune.trainers.hosts.protocol import HostProtocol, protocol_of
from langchain_finetune.trainers.hosts.refusals import unreadable_answer
from langchain_finetune.trainers.local.server import LocalServer, local_server

T = TypeVar("T")

_READS_ANSWERS: Final = "_process_response"

Tell = Callable[[JobProgress], Any]


def silence(_: JobProgress) -> None:
    """Tell nobody."""


class Connection:
    """The clients of one host.

    Args:
        host: The host.
        client: A client to use; it stays the caller's to close. Without one, the embedded server is found
            or started, or OpenAI's client reads its own environment.
        async_client: The same for the async methods. Of the two, the one that is missing is made after
            the other: same URL, key, organization and project.
        base_url: Where the host is, for a client made here.
        api_key: Its key, for a client made here.
        sleep: Waits, in seconds.
        asleep: Waits, in seconds, in async code.
    """

    def __init__(  # noqa: PLR0913 - a client, or what makes one
        self,
        host: Host,
        client: Any = None,
        async_client: Any = None,
        *,
        base_url: str | None = None,
        api_key: ApiKey | None = None,
        sleep: Callable[[float], None] = time.sleep,
        asleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        for given in (client, async_client):
            _require_key(given)
        self.host = host
        self.protocol: HostProtocol = protocol_of(host)
        self._given_client = client
        self._given_async_client = async_client
        self._base_url = base_url
        self._api_key = api_key
        self._sleep = sleep
        self._asleep = asleep
        # Finding or starting the embedded server can take seconds: it is done once.
        self._making = threading.Lock()

    @cached_property
    def server(self) -> LocalServer | None:
        """The embedded server, where that is what the clients reach."""
        given = (self._given_client, self._given_async_client, self._base_url)
        is_given = any(value is not None for value in given)
        return local_server(state_directory() / "server") if self.host is LOCAL and not is_given else None

    @property
    def client(self) -> Any:
        """The sync client."""
        with self._making:
            return self._client

    @property
    def async_client(self) -> Any:
        """The async client."""
        with self._making:
            return self._async_client

    @property
    def num_revivals(self) -> int:
        """How often the embedded server had to be started again so far."""
        return self.server.num_revivals if self.server else 0

    @cached_property
    def _client(self) -> Any:
        if self._given_client is not None:
            return self._given_client
        if self._given_async_client is not None:
            return self.protocol.make_sync_client(self.host, self._given_async_client)
        if self.server is not None:
            endpoint = self.server.endpoint()
            return openai.OpenAI(**endpoint._asdict(), http_client=self.server.http_client)
        return self.protocol.make_client(self.host, self._base_url, self._api_key)

    @cached_property
    def _async_client(self) -> Any:
        if self._given_async_client is not None:
            return self._given_async_client
        if self.server is not None:
            endpoint = self.server.endpoint()
            return openai.AsyncOpenAI(**endpoint._asdict(), http_client=self.server.async_http_client)
        return self.protocol.make_async_client(self.host, self._client)

    @property
    def endpoint(self) -> Endpoint:
        """Where the tuned models are called, and with which key."""
        return self.protocol.endpoint_of(self.client)

    def run(self, exchange: Exchange[T], tell: Tell = silence) -> T:
        """Do an exchange with the sync client."""

        def perform(act: Act) -> Any:
            if isinstance(act, Call):
                return self._answer(act)
            return self._sleep(act.seconds) if isinstance(act, Sleep) else tell(act.progress)

        return run(exchange, perform)

    async def arun(self, exchange: Exchange[T], tell: Tell = silence) -> T:
        """Do an exchange with the async client; `tell` may be sync or async."""

        async def perform(act: Act) -> Any:
            if isinstance(act, Call):
                return await self._aanswer(act)
            return await settle(self._asleep(act.seconds) if isinstance(act, Sleep) else tell(act.progress))

        return await arun(exchange, perform)

    def _answer(self, call: Call) -> Any:
        try:
            return self.protocol.require_answer(call.send(_for_call(self.client, call)), self.host)
        except self.protocol.CLIENT_ERROR as e:
            raise self.protocol.host_error(e, self.host) from e
        except Exception as e:
            if not _is_about_answer(e):
                raise
            raise unreadable_answer(self.host) from e

    async def _aanswer(self, call: Call) -> Any:
        client = await asyncio.to_thread(lambda: self.async_client)
        try:
            answer = await settle(call.send(_for_call(client, call)))
            return self.protocol.require_answer(answer, self.host)
        except self.protocol.CLIENT_ERROR as e:
            raise self.protocol.host_error(e, self.host) from e
        except Exception as e:
            if not _is_about_answer(e):
                raise
            raise unreadable_answer(self.host) from e


def _is_about_answer(error: Exception) -> bool:
    """Tell whether a client failed over an answer that it could not read.

    Where a host or a proxy sends a list, a text or null in place of an object, the SDKs that are generated
    like OpenAI's fail in their own code with whatever Python raises. All read answers in the same method.
    """
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return True
    return any(frame.f_code.co_name == _READS_ANSWERS for frame, _ in traceback.walk_tb(error.__traceback__))


def _for_call(client: Any, call: Call) -> Any:
    options: dict[str, Any] = {}
    if call.max_retries is not None:
        options["max_retries"] = call.max_retries
    if call.timeout is not None:
        options["timeout"] = call.timeout
    return client.with_options(**options) if options else client


def _require_key(client: Any) -> None:
    if client is not None and not key_of(client):
        msg = (
            "the client handed over has no key of its own, and the tuned model is called with the same key: "
            "hand over a client that holds one, `openai.OpenAI(api_key=...)`."
        )
        raise AuthenticationFailedError(msg)
