"""Requests and answers as LangServe's clients write and read them, on FastAPI alone."""

import logging
import traceback
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from typing import Any, Final

import orjson
from fastapi import Request
from starlette.responses import Response, StreamingResponse

from langchain_finetune._parsing import loads
from langchain_finetune.errors import FineTuneError
from langchain_finetune.serving.events import server_sent, to_json
from langchain_finetune.serving.told import Told, told_of

logger = logging.getLogger(__name__)

_JSON: Final = "application/json"

STREAM_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""A stream is not kept, and a proxy passes its parts on at once."""


class BadRequest(Exception):
    """A request that cannot be read.

    Args:
        status_code: The HTTP status.
        message: What is wrong with it.
    """

    def __init__(self, status_code: int, message: str) -> None:
        super().__init__(message)
        self.status_code = status_code


async def read_body(request: Request, max_bytes: int) -> dict[str, Any]:
    """Read the JSON object of a request.

    A page in a browser may send anything but JSON to a server that it may not ask: so JSON has to be said.

    Raises:
        BadRequest: It is too large, of another type, or no JSON object.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _JSON:
        raise BadRequest(415, f"send JSON, with the header `Content-Type: {_JSON}`.")
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > max_bytes:
            raise BadRequest(413, f"the body is larger than {max_bytes} bytes.")
    try:
        body = loads(bytes(content))
    except (ValueError, RecursionError) as e:
        raise BadRequest(400, "the body is no JSON.") from e
    if not isinstance(body, dict):
        raise BadRequest(422, "the body is no JSON object.")
    return body


def required(body: Mapping[str, Any], name: str) -> Any:
    """Return a field of a body.

    Raises:
        BadRequest: It is missing.
    """
    if name not in body:
        raise BadRequest(422, f"the body has no `{name}`.")
    return body[name]


def config_of(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the config of a body, empty where it has none.

    Raises:
        BadRequest: It is no object, or its `configurable` is none.
    """
    config = body.get("config") or {}
    if not isinstance(config, Mapping) or not isinstance(config.get("configurable") or {}, Mapping):
        raise BadRequest(422, "`config` and its `configurable` have to be objects.")
    return config


def configs_of(body: Mapping[str, Any], count: int) -> list[Mapping[str, Any]]:
    """Return the config of each input of a batch: one for all, or a list of as many.

    Raises:
        BadRequest: There are more or fewer, or one is no object.
    """
    given = body.get("config")
    configs = given if isinstance(given, list) else [given] * count
    if len(configs) != count:
        raise BadRequest(422, f"there are {count} inputs and {len(configs)} configs.")
    return [config_of({"config": config}) for config in configs]


def json_response(value: Any, status_code: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Write an answer; handles and messages are written as the JSON that they have."""
    content = orjson.dumps(value, default=to_json)
    return Response(content, status_code, {"Cache-Control": "no-store", **(headers or {})}, _JSON)


def invoked(output: Any) -> Response:
    """Write the answer to `/invoke`."""
    return json_response({"output": output, "metadata": _metadata()})


def batched(outputs: list[Any]) -> Response:
    """Write the answer to `/batch`."""
    responses = [_metadata() for _ in outputs]
    metadata = {"responses": responses, "run_ids": [each["run_id"] for each in responses]}
    return json_response({"output": outputs, "metadata": metadata})


def streamed(chunks: AsyncIterator[Any], secrets: Iterable[str] = ()) -> Response:
    """Write the answer to `/stream` or `/stream_events`: each chunk as it comes, then the end."""
    return event_stream(_as_events(chunks, secrets))


def event_stream(parts: AsyncIterator[bytes]) -> Response:
    """Send server-sent events."""
    return StreamingResponse(parts, media_type="text/event-stream", headers=STREAM_HEADERS)


async def _as_events(chunks: AsyncIterator[Any], secrets: Iterable[str]) -> AsyncGenerator[bytes]:
    try:
        async for chunk in chunks:
            yield server_sent("data", chunk)
    except Exception as e:  # noqa: BLE001 - the answer has begun: what goes wrong is an event
        told = log_and_tell(e, secrets)
        yield server_sent("error", {"status_code": told.status_code, "message": told.message})
    yield b"event: end\ndata: \n\n"


def refused(error: Exception, secrets: Iterable[str] = ()) -> Response:
    """Write the answer to a request that is not carried out."""
    if isinstance(error, BadRequest):
        return json_response({"detail": str(error), "code": "BadRequest"}, error.status_code)
    told = log_and_tell(error, secrets)
    return json_response({"detail": told.message, "code": told.code}, told.status_code, retry_header(told))


def retry_header(told: Told) -> dict[str, str]:
    """Return the header that says when to come back, where somebody said it."""
    seconds = told.retry_after_seconds
    return {} if seconds is None else {"Retry-After": str(max(1, round(seconds)))}


def log_and_tell(error: Exception, secrets: Iterable[str] = ()) -> Told:
    """Return what a client is told of an error; the log gets what the client does not."""
    told = told_of(error, secrets)
    if told.status_code < 500:  # noqa: PLR2004 - the client's own doing
        return told
    if isinstance(error, FineTuneError):
        logger.error("a request failed: %s: %s", told.code, error)
    else:
        # An error that nobody expected may quote a prompt or a key.
        place = traceback.extract_tb(error.__traceback__)[-1]
        logger.error("a request failed: %s at %s:%s", type(error).__name__, place.filename, place.lineno)
    return told


def _metadata() -> dict[str, Any]:
    return {"run_id": str(uuid.uuid4()), "feedback_tokens": []}
