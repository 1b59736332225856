"""HTTP to the embedded server that starts it again where it is gone.

The server ends after a while without work, and a model lives on in its application. A connection that is
refused was never a request, so it is safe to start the server and send the request then, also for one
that must not be sent twice. Anything that breaks later is the caller's to judge.
"""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

import httpx2

# Loopback connections cost nothing to make. Kept ones would outlive the server, or the event loop that
# they were made in.
_LIMITS: Final = httpx2.Limits(max_connections=100, max_keepalive_connections=0)


class Endpoint(NamedTuple):
    """Where the embedded server is, and the key that it takes."""

    base_url: str
    api_key: str


class RevivingTransport(httpx2.BaseTransport):
    """Sends requests; where nobody listens, asks for the server and sends again.

    Args:
        revive: Returns where the server is now, starting it where it is gone.
    """

    def __init__(self, revive: Callable[[], Endpoint]) -> None:
        self._inner = httpx2.HTTPTransport(limits=_LIMITS)
        self._revive = revive

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request."""
        try:
            return self._inner.handle_request(request)
        except httpx2.ConnectError:
            return self._inner.handle_request(_redirected(request, self._revive()))

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()


class AsyncRevivingTransport(httpx2.AsyncBaseTransport):
    """Sends requests; where nobody listens, asks for the server and sends again.

    Args:
        revive: Returns where the server is now, starting it where it is gone; run in a thread.
    """

    def __init__(self, revive: Callable[[], Endpoint]) -> None:
        self._inner = httpx2.AsyncHTTPTransport(limits=_LIMITS)
        self._revive = revive

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request."""
        try:
            return await self._inner.handle_async_request(request)
        except httpx2.ConnectError:
            endpoint = await asyncio.to_thread(self._revive)
            return await self._inner.handle_async_request(_redirected(request, endpoint))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


def _redirected(request: httpx2.Request, endpoint: Endpoint) -> httpx2.Request:
    """Point a request at the server's present port."""
    now = httpx2.URL(endpoint.base_url)
    request.url = request.url.copy_with(host=now.host, port=now.port)
    request.headers["Host"] = now.netloc.decode("ascii")
    request.headers["Authorization"] = f"Bearer {endpoint.api_key}"
    return request
