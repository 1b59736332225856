"""`/v1/chat/completions`, plain and streamed, and `/tokenize`."""

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import APIRouter, Depends, Request
from starlette.responses import Response, StreamingResponse

from finetune_server import __version__
from finetune_server.chat.answer import Answer, ChoiceWriter, Wire
from finetune_server.chat.merge import merged
from finetune_server.chat.plan import Plan, check_engine, completion_requests, plan_answer, unreadable
from finetune_server.chat.request import ChatRequest, TokenizeRequest
from finetune_server.errors import ApiError, UnknownBase, model_not_found
from finetune_server.inference.completion import CompletionRequest, EngineDiedError, EngineError, EngineFacts
from finetune_server.inference.pool import EnginePool, Target
from finetune_server.rendering.messages import UnreadableMessageError
from finetune_server.rendering.render import Segment, render_prompt_segments
from finetune_server.routes.dependencies import StoreOf
from finetune_server.storage.store import Store

router = APIRouter()

_Result = TypeVar("_Result")


async def _engines(request: Request) -> EnginePool:
    engines: EnginePool = request.app.state.engines
    return engines


EnginesOf = Annotated[EnginePool, Depends(_engines)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """A request that is ready to be answered."""

    engines: EnginePool
    target: Target
    requests: Sequence[CompletionRequest]
    writers: Sequence[ChoiceWriter]
    answer: Answer

    async def whole(self) -> Wire:
        """Write the whole answer."""
        async with aclosing(self._parts()) as parts:
            async for _ in parts:
                pass
        return self.answer.whole(self.writers)

    async def chunks(self, *, has_usage: bool) -> AsyncGenerator[Wire]:
        """Write the answer chunk by chunk."""
        more = {"usage": None} if has_usage else {}
        async with aclosing(self._parts()) as parts:
            async for part in parts:
                yield self.answer.chunk([part], **more)
        if has_usage:
            yield self.answer.chunk([], usage=self.answer.usage(writer.completed for writer in self.writers))

    async def _parts(self) -> AsyncGenerator[Wire]:
        streams = [self.engines.stream(self.target, request) for request in self.requests]
        async with aclosing(merged(streams)) as pieces:
            async for index, piece in pieces:
                for part in self.writers[index].feed(piece):
                    yield part


@router.post("/chat/completions")
async def create_chat_completion(
    body: ChatRequest, request: Request, store: StoreOf, engines: EnginesOf
) -> Response:
    """Answers a conversation."""
    target = _target(body.model, store)
    plan = plan_answer(body)
    if not body.stream:
        return _json(await _until_disconnect(request, _whole(body, plan, target, engines)))
    has_usage = bool(body.stream_options and body.stream_options.include_usage)
    chunks = _chunks(body, plan, target, engines, has_usage=has_usage)
    # An error before the first chunk is an HTTP error; behind it, it can only be an event.
    first = await _until_disconnect(request, anext(chunks))
    return StreamingResponse(
        _events(first, chunks), media_type="text/event-stream", headers={"cache-control": "no-cache"}
    )


@router.post("/tokenize")
async def tokenize(body: TokenizeRequest, store: StoreOf, engines: EnginesOf) -> Response:
    """Counts the tokens of a conversation as it would be shown to the model, or of a text."""
    target = _target(body.model, store)
    segments = _segments(body)

    async def count() -> tuple[tuple[int, ...], EngineFacts]:
        return await engines.encode(target, segments), await engines.facts(target)

    tokens, facts = await _tried_twice(count)
    return _json({"count": len(tokens), "max_model_len": facts.context_length, "tokens": tokens})


def _target(model_id: str, store: Store) -> Target:
    model = store.find_model(model_id)
    if model is None:
        raise model_not_found(model_id)
    return Target(model, store.list_models)


def _segments(body: TokenizeRequest) -> list[Segment]:
    if (body.prompt is None) == (body.messages is None):
        message = "Give either 'messages' or 'prompt'."
        raise ApiError(400, message, param="messages", code="missing_required_parameter")
    if body.prompt is not None:
        return [Segment(body.prompt, is_trained=False)]
    try:
        return render_prompt_segments(
            body.messages or [],
            body.tools,
            body.functions,
            add_generation_prompt=body.add_generation_prompt,
        )
    except UnreadableMessageError as error:
        raise unreadable(error) from error


async def _whole(body: ChatRequest, plan: Plan, target: Target, engines: EnginePool) -> Wire:
    async def write() -> Wire:
        return await (await _work(body, plan, target, engines)).whole()

    return await _tried_twice(write)


async def _tried_twice(attempt: Callable[[], Awaitable[_Result]]) -> _Result:
    """Try once more when the engine dies: the client has got nothing yet."""
    try:
        try:
            return await attempt()
        except EngineDiedError:
            return await attempt()
    except (EngineError, UnknownBase) as error:
        raise _api_error(error) from error


async def _chunks(
    body: ChatRequest, plan: Plan, target: Target, engines: EnginePool, *, has_usage: bool
) -> AsyncGenerator[Wire]:
    for is_last_try in (False, True):
        has_begun = False
        try:
            work = await _work(body, plan, target, engines)
            async with aclosing(work.chunks(has_usage=has_usage)) as chunks:
                async for chunk in chunks:
                    has_begun = True
                    yield chunk
        except (EngineError, UnknownBase) as error:
            if is_last_try or has_begun or not isinstance(error, EngineDiedError):
                raise _api_error(error) from error
        else:
            return


async def _work(body: ChatRequest, plan: Plan, target: Target, engines: EnginePool) -> _Work:
    facts = await engines.facts(target)
    check_engine(body, facts)
    prompt = await engines.encode(target, plan.segments)
    fingerprint = hashlib.sha256(f"{facts.base_sha256} {facts.name} {__version__}".encode()).hexdigest()
    return _Work(
        engines=engines,
        target=target,
        requests=completion_requests(plan, prompt, facts),
        writers=[
            ChoiceWriter(
                index,
                may_call=plan.tools.calls != "none",
                is_legacy=plan.tools.is_legacy,
                num_top=plan.num_logprobs,
            )
            for index in range(plan.num_choices)
        ],
        answer=Answer(
            id=f"chatcmpl-{secrets.token_hex(12)}",
            created=int(time.time()),
            model=body.model,
            system_fingerprint=f"fp_{fingerprint[:10]}",
            num_prompt_tokens=len(prompt),
        ),
    )


def _api_error(error: EngineError | UnknownBase) -> ApiError:
    if isinstance(error, UnknownBase):
        return ApiError(404, str(error), param="model", code="model_not_found")
    return ApiError(
        500,
        str(error),
        type="server_error",
        code="inference_engine_failed",
        is_retryable=isinstance(error, EngineDiedError),
    )


async def _events(first: Wire, chunks: AsyncGenerator[Wire]) -> AsyncGenerator[bytes]:
    async with aclosing(chunks):
        yield _event(first)
        try:
            async for chunk in chunks:
                yield _event(chunk)
        except ApiError as error:
            yield _event(error.body())
        else:
            yield b"data: [DONE]\n\n"


def _event(value: Any) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


def _json(value: Any) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")


async def _until_disconnect(request: Request, awaitable: Awaitable[_Result]) -> _Result:
    """Wait for the result, but not longer than the client does: what it does not read, nobody computes."""
    work = asyncio.ensure_future(awaitable)
    watch = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ApiError(499, "The client closed the connection.", code="client_closed_request")
        return work.result()
    finally:
        for task in (work, watch):
            task.cancel()
        await asyncio.wait({work, watch})


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
