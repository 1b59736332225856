"""The stock client's transport, which holds every answer to OpenAI's schemas: no test can forget to."""

import json
import re
from collections.abc import Iterable
from typing import Any

import httpx2

from tests.openai_schemas import check_schema

RAW = "the bytes of a file"
"""Stands for a schema where OpenAI's answer is no JSON."""

ENDPOINTS = {
    "POST /files": "OpenAIFile",
    "GET /files": "ListFilesResponse",
    "GET /files/{id}": "OpenAIFile",
    "GET /files/{id}/content": RAW,
    "DELETE /files/{id}": "DeleteFileResponse",
    "POST /fine_tuning/jobs": "FineTuningJob",
    "GET /fine_tuning/jobs": "ListPaginatedFineTuningJobsResponse",
    "GET /fine_tuning/jobs/{id}": "FineTuningJob",
    "POST /fine_tuning/jobs/{id}/cancel": "FineTuningJob",
    "POST /fine_tuning/jobs/{id}/pause": "FineTuningJob",
    "POST /fine_tuning/jobs/{id}/resume": "FineTuningJob",
    "GET /fine_tuning/jobs/{id}/events": "ListFineTuningJobEventsResponse",
    "GET /fine_tuning/jobs/{id}/checkpoints": "ListFineTuningJobCheckpointsResponse",
    "GET /fine_tuning/model_limits": "ListFineTuningModelLimitsResponse",
    "GET /models": "ListModelsResponse",
    "GET /models/{id}": "Model",
    "DELETE /models/{id}": "DeleteModelResponse",
    "POST /chat/completions": "CreateChatCompletionResponse",
}
_STREAMS = {"POST /chat/completions": "CreateChatCompletionStreamResponse"}
_PATTERNS = {
    name: re.compile(re.escape(name).replace(r"\{id\}", "[^/]+").replace(r"\ ", " ")) for name in ENDPOINTS
}


class WireCheck:
    """What one client has sent and got.

    Faults are kept and not raised: the openai client would take an error of its transport for a broken
    connection, which a test may expect.

    Args:
        base_url: Of the host.
    """

    def __init__(self, base_url: str) -> None:
        self._root = httpx2.URL(base_url).raw_path.decode().rstrip("/")
        self.faults: list[str] = []
        self.answered: set[str] = set()
        """Endpoints that have answered without an error."""
        self.made: dict[str, list[str]] = {"POST /files": [], "POST /fine_tuning/jobs": []}
        """The ids of what was created, for it to be cleaned up."""

    def check(self, request: httpx2.Request, response: httpx2.Response) -> None:
        """Holds an answer, read to its end, to its schema."""
        try:
            self._check(self._endpoint(request), response)
        except (AssertionError, ValueError) as error:
            self.faults.append(f"{request.method} {request.url} -> {response.status_code}: {error}")

    def _endpoint(self, request: httpx2.Request) -> str | None:
        # As it was sent: a model's name may hold an encoded slash.
        path = request.url.raw_path.decode().partition("?")[0].removeprefix(self._root)
        asked = f"{request.method} {path}"
        return next((name for name, pattern in _PATTERNS.items() if pattern.fullmatch(asked)), None)

    def _check(self, endpoint: str | None, response: httpx2.Response) -> None:
        if response.is_error:
            check_schema("ErrorResponse", response.json())
            return
        assert endpoint is not None, "no schema of this endpoint is known"
        assert response.status_code == httpx2.codes.OK
        self.answered.add(endpoint)
        kind = response.headers.get("content-type", "").partition(";")[0]
        if kind == "text/event-stream":
            for event in _events(response.text):
                check_schema(_STREAMS[endpoint], event)
        elif ENDPOINTS[endpoint] != RAW:
            assert kind == "application/json", kind
            answer = response.json()
            check_schema(ENDPOINTS[endpoint], answer)
            if endpoint in self.made:
                self.made[endpoint].append(answer["id"])


def _events(text: str) -> Iterable[Any]:
    told = [line.removeprefix("data:").strip() for line in text.splitlines() if line]
    assert told[-1:] == ["[DONE]"], "the stream has no end"
    return [json.loads(event) for event in told[:-1]]


class CheckedTransport(httpx2.BaseTransport):
    """Sends requests and has the answers checked.

    Args:
        inner: Sends.
        wire: Checks.
    """

    def __init__(self, inner: httpx2.BaseTransport, wire: WireCheck) -> None:
        self._inner = inner
        self._wire = wire

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request."""
        response = self._inner.handle_request(request)
        response.read()
        self._wire.check(request, response)
        return response

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()


class AsyncCheckedTransport(httpx2.AsyncBaseTransport):
    """Sends requests and has the answers checked.

    Args:
        inner: Sends.
        wire: Checks.
    """

    def __init__(self, inner: httpx2.AsyncBaseTransport, wire: WireCheck) -> None:
        self._inner = inner
        self._wire = wire

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request."""
        response = await self._inner.handle_async_request(request)
        await response.aread()
        self._wire.check(request, response)
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()
