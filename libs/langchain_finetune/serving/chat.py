"""A chat request of OpenAI's protocol, passed on to the host of a tuned model with the server's own key."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Any, Final

import openai
from fastapi import Request
from langchain_openai import ChatOpenAI
from starlette.responses import Response, StreamingResponse

from langchain_finetune.serving.limits import Limits
from langchain_finetune.serving.told import scrubbed
from langchain_finetune.serving.wire import (
    STREAM_HEADERS,
    BadRequest,
    json_response,
    log_and_tell,
    read_body,
)

_PASSED_ON: Final = frozenset(
    {
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "n",
        "parallel_tool_calls",
        "presence_penalty",
        "response_format",
        "seed",
        "stop",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
    }
)
"""Fields of a request that change the answer; others, such as `store` or `service_tier`, change the bill or
what the host keeps, and are the server's to choose."""

_OF_THE_CLIENT: Final = frozenset({400, 404, 413, 422, 429})
"""Refusals of a host that are about the request; the others are about the server's account."""


Find = Callable[[str], Awaitable[ChatOpenAI]]
"""Finds the chat model that a name of a route stands for."""


async def answered(
    request: Request, find: Find, name: str, limits: Limits, secrets: Iterable[str] = ()
) -> Response:
    """Answer a chat request with the model that a name stands for."""
    try:
        body = await read_body(request, limits.max_body_bytes)
        return await pass_on(await find(name), body)
    except Exception as e:  # noqa: BLE001 - told without its words where it is unexpected
        return _told(e, secrets)


async def listed(find: Find, name: str, secrets: Iterable[str] = ()) -> Response:
    """Answer with the list of models that a name stands for, which is one."""
    try:
        await find(name)
    except Exception as e:  # noqa: BLE001 - told without its words where it is unexpected
        return _told(e, secrets)
    model = {"id": name, "object": "model", "created": 0, "owned_by": "langchain-finetune"}
    return json_response({"object": "list", "data": [model]})


def _told(error: Exception, secrets: Iterable[str]) -> Response:
    if isinstance(error, BadRequest):
        return error_response(error.status_code, str(error))
    told = log_and_tell(error, secrets)
    return error_response(told.status_code, told.message, told.code)


async def pass_on(model: ChatOpenAI, body: Mapping[str, Any]) -> Response:
    """Ask the model and return the host's answer as it is, a stream as it comes.

    Args:
        model: Whom to ask, where, and with which key; `model` of the body is whatever the client calls it.
        body: The request.

    Raises:
        BadRequest: It has a field that is not passed on, or no messages.
    """
    fields = {name: value for name, value in body.items() if name != "model"}
    if refused := sorted(set(fields) - _PASSED_ON):
        raise BadRequest(
            400, f"{', '.join(name[:50] for name in refused[:10])}: not passed on by this server."
        )
    if not isinstance(fields.get("messages"), list):
        raise BadRequest(400, "`messages` has to be a list.")
    client = model.root_async_client
    messages = fields.pop("messages")
    opened = AsyncExitStack()
    try:
        answer = await opened.enter_async_context(
            client.chat.completions.with_streaming_response.create(
                model=model.model_name, messages=messages, extra_body=fields
            )
        )
        kind = answer.headers.get("content-type", "application/json")
        if not kind.startswith("text/event-stream"):
            async with opened:
                return Response(await answer.read(), 200, {"Cache-Control": "no-store"}, kind)
    except openai.APIError as e:
        await opened.aclose()
        return _refusal(e, client)
    except BaseException:
        await opened.aclose()
        raise
    return StreamingResponse(_parts(answer, opened), media_type=kind, headers=STREAM_HEADERS)


async def _parts(answer: Any, opened: AsyncExitStack) -> AsyncGenerator[bytes]:
    # A client that goes away ends the generator, and with it the request to the host.
    async with opened:
        async for part in answer.iter_bytes():
            yield part


def error_response(status_code: int, message: str, code: str | None = None) -> Response:
    """Write an error in OpenAI's envelope."""
    kind = "invalid_request_error" if status_code < 500 else "server_error"  # noqa: PLR2004 - whose doing it is
    error = {"message": message, "type": kind, "param": None, "code": code}
    return json_response({"error": error}, status_code)


def _refusal(error: openai.APIError, client: openai.AsyncOpenAI) -> Response:
    status = getattr(error, "status_code", None)
    if status not in _OF_THE_CLIENT:
        return error_response(502, "the host of the model refused, or cannot be reached.", "host_error")
    told = error.body.get("message") if isinstance(error.body, Mapping) else None
    message = scrubbed(str(told or "the host of the model refused the request."), _keys(client))
    answer = error_response(status, message, str(error.code) if error.code else None)
    headers = getattr(getattr(error, "response", None), "headers", {})
    if retry_after := headers.get("retry-after"):
        answer.headers["Retry-After"] = retry_after
    return answer


def _keys(client: openai.AsyncOpenAI) -> Iterable[str]:
    return [client.api_key] if client.api_key else []
