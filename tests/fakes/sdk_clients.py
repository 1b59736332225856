"""Clients of hosts with an SDK of their own, which are on the older httpx, and fakes without a network."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from typing import Any

import httpx

from langchain_finetune.trainers.fine_tune import FineTuneRunnable
from tests.fakes.loopback import _Handler


def http_clients(host: Any) -> tuple[httpx.Client, httpx.AsyncClient]:
    """A sync and an async HTTP client that reach a fake host."""

    def answer(request: httpx.Request) -> httpx.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        response = host.respond(request.method, str(request.url), headers, request.read())
        kind = {"content-type": "application/json"}
        return httpx.Response(response.status, headers=kind | response.headers, content=response.content)

    async def aanswer(request: httpx.Request) -> httpx.Response:
        await request.aread()
        return answer(request)

    return (
        httpx.Client(transport=httpx.MockTransport(answer)),
        httpx.AsyncClient(transport=httpx.MockTransport(aanswer)),
    )


def sdk_trainer(target: str, client: Any, async_client: Any, **settings: Any) -> FineTuneRunnable:
    """A trainer by an SDK's clients, which sleeps between its looks for no time."""
    given = {"poll_interval": 0.001, "client": client, "async_client": async_client, **settings}
    trainer = FineTuneRunnable(target, **given)
    trainer._connection._sleep = lambda _: None

    async def at_once(_: float) -> None:
        """Go on."""

    trainer._connection._asleep = at_once
    return trainer


class _SdkHandler(_Handler):
    """Hands a request over with its whole URL: these hosts have paths of their own."""

    def _answer(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._send(self.server.host.respond(self.command, self.path, headers, self._content(headers)))

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _answer  # noqa: N815  http.server's names


@contextmanager
def served(host: Any) -> Iterator[str]:
    """Serve a fake host over HTTP; gives its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _SdkHandler)
    server.daemon_threads = True
    server.host = host
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
