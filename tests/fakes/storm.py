"""A fake host in bad weather: a share of the requests fails, seeded, in every way that a network knows."""

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import unquote

import httpx2

from tests.fakes.openai_host import FakeHost

_RESET = "connection reset by peer"
_HTML = {"content-type": "text/html"}
_DATES = {"retry-after": "Sun, 22 Nov 2026 10:00:20 GMT", "date": "Sun, 22 Nov 2026 10:00:00 GMT"}
_ERROR = {"error": {"message": "Not now.", "type": "server_error", "param": None, "code": None}}


class BrokenStream(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A body that ends in a reset."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self._content
        raise httpx2.ReadError(_RESET)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content
        raise httpx2.ReadError(_RESET)


class Clock:
    """Time that passes only while someone sleeps."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.pauses.append(seconds)
        self.seconds += seconds

    async def asleep(self, seconds: float) -> None:
        """Let time pass."""
        self.sleep(seconds)


class Storm:
    """Stands before a fake host and lets requests fail.

    Args:
        host: The host.
        seed: Of which requests fail, and how.
        clock: Moves on when a request times out.
        share: Of the requests that fail.
        most: Requests after which the host is broken for good: who still asks then never ends.
    """

    def __init__(
        self, host: FakeHost, seed: int, clock: Clock, share: float = 1 / 3, most: int = 20_000
    ) -> None:
        self.host = host
        self.random = random.Random(seed)
        self.clock = clock
        self.share = share
        self.most = most
        self.num_requests = 0
        self.failed: Counter[str] = Counter()
        self.num_hidden_models = 6
        """Requests for a tuned model that still do not find it."""

        self.before: Callable[[httpx2.Request], Any] = lambda _: None
        """Called with each request that reaches the host."""

    def transport(self) -> httpx2.MockTransport:
        """A transport for a client."""
        return httpx2.MockTransport(self._answer)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.num_requests += 1
        assert self.num_requests < self.most, "it asks for ever"
        is_after = self.random.random() < 0.3
        how = self.random.choice(list(self._ways())) if self.random.random() < self.share else None
        if how is not None:
            self.failed[how] += 1
            if is_after:
                self._reach(request)
            return self._ways()[how]()
        return self._reach(request)

    def _reach(self, request: httpx2.Request) -> httpx2.Response:
        self.before(request)
        if self.num_hidden_models and (
            "/models/ft:" in unquote(str(request.url)) or b'"ft:' in request.read()
        ):
            self.num_hidden_models -= 1
            error = {"message": "The model does not exist", "code": "model_not_found", "param": "model"}
            return httpx2.Response(404, json={"error": {**error, "type": "invalid_request_error"}})
        headers = {name.lower(): value for name, value in request.headers.items()}
        answer = self.host.respond(request.method, str(request.url), headers, request.read())
        assert not isinstance(answer, Exception)
        headers = {"content-type": "application/json", **answer.headers}
        return httpx2.Response(answer.status, headers=headers, content=answer.content)

    def _ways(self) -> dict[str, Callable[[], httpx2.Response]]:
        def answer(status: int, headers: dict[str, str] | None = None, **body: Any) -> Any:
            return lambda: httpx2.Response(status, headers=headers or {}, **(body or {"json": _ERROR}))

        def broken(error: type[httpx2.RequestError]) -> Any:
            def break_off() -> httpx2.Response:
                self.clock.seconds += 30.0 if issubclass(error, httpx2.TimeoutException) else 0.0
                raise error(_RESET)

            return break_off

        json = {"content-type": "application/json"}
        cut = b'{"id": "ftjob-0", "object": "fine_tuning.job", "sta'
        return {
            "429": answer(429),
            "429 seconds": answer(429, {"retry-after": "17"}),
            "429 milliseconds": answer(429, {"retry-after-ms": "1500"}),
            "429 date": answer(429, _DATES),
            "429 odd": answer(429, {"retry-after": "soon"}),
            "500": answer(500),
            "502": answer(502, _HTML, content=b"<html>Bad gateway</html>"),
            "503": answer(503, {"retry-after": "3"}),
            "connect": broken(httpx2.ConnectError),
            "connect timeout": broken(httpx2.ConnectTimeout),
            "read timeout": broken(httpx2.ReadTimeout),
            "reset": broken(httpx2.ReadError),
            "closed": broken(httpx2.RemoteProtocolError),
            "reset in the body": lambda: httpx2.Response(200, headers=json, stream=BrokenStream(cut)),
            "truncated": answer(200, json, content=cut),
            "html": answer(200, _HTML, content=b"<html>Sign in</html>"),
            "nothing": answer(200, json, content=b""),
            "no utf-8": answer(200, json, content=b"\xff\xfe"),
            "a list": answer(200, json, content=b"[]"),
            "null": answer(200, json, content=b"null"),
            "a text": answer(200, json, content=b'"hello"'),
            "an empty object": answer(200, json, content=b"{}"),
        }
