"""The child that runs transformers: the few endpoints of llama.cpp's server that are spoken with engines."""

import asyncio
import hmac
import socket
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

import anyio.to_thread
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from finetune_server.inference.engine_config import EngineConfig
from finetune_server.inference.torch_model import Event, TorchModel


def serve(config: EngineConfig, announce: Callable[[str], None]) -> None:
    """Load the model and its adapters, say where they answer, and do so until the process ends."""
    app = create_app(TorchModel(config), config.key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        announce(f"http://127.0.0.1:{listener.getsockname()[1]}")
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


def create_app(model: TorchModel, key: str) -> Starlette:
    """Make the app of one model."""
    # The model has one adapter on at a time, so one answer is written at a time.
    turn = asyncio.Lock()

    async def tokenize(request: Request) -> Response:
        body = await _body(request, key)
        tokens = model.tokenize(body["content"], is_control=body["parse_special"])
        return JSONResponse({"tokens": tokens})

    async def complete(request: Request) -> Response:
        events = _events(turn, model.answer(await _body(request, key)))
        return StreamingResponse(events, media_type="text/event-stream")

    return Starlette(
        routes=[
            Route("/tokenize", tokenize, methods=["POST"]),
            Route("/completion", complete, methods=["POST"]),
        ]
    )


async def _body(request: Request, key: str) -> dict[str, Any]:
    given = request.headers.get("authorization", "").encode()
    if not hmac.compare_digest(given, f"Bearer {key}".encode()):
        raise HTTPException(401)
    body: dict[str, Any] = orjson.loads(await request.body())
    return body


async def _events(turn: asyncio.Lock, answer: Generator[Event]) -> AsyncIterator[bytes]:
    async with turn:
        try:
            # A step that is under way when the client goes is waited for: nobody else may have the model yet.
            while (event := await anyio.to_thread.run_sync(next, answer, None)) is not None:
                yield b"data: " + orjson.dumps(event) + b"\n\n"
        finally:
            answer.close()
