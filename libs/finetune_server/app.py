"""The app: the route table, the error envelope, and what lives as long as the server."""

import functools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import anyio.to_thread
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from finetune_server import __version__
from finetune_server.catalog import enter_known_bases
from finetune_server.config import Settings
from finetune_server.errors import ApiError
from finetune_server.gate import Activity, Gate
from finetune_server.inference.pool import EnginePool
from finetune_server.jobs.supervisor import Supervisor
from finetune_server.keys import KeyCheck
from finetune_server.openapi import Document, described
from finetune_server.request_errors import error_of_http, error_of_validation
from finetune_server.routes import chat_completions, files, jobs, models
from finetune_server.storage.store import Store


def create_app(settings: Settings, *, keys: KeyCheck) -> FastAPI:
    """Makes the server's app.

    Args:
        settings: The server's. Its state directory must be the caller's alone: `lifecycle.py` sees to it.
        keys: Who may come in.
    """
    app = FastAPI(
        title="langchain-finetune server",
        version=__version__,
        lifespan=_lifespan(settings),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.settings = settings
    app.state.start_error = None
    app.state.activity = Activity()
    app.add_middleware(
        Gate,
        keys=keys,
        activity=app.state.activity,
        max_body_bytes=settings.limits.max_body_bytes,
    )
    _add_routes(app)
    _add_error_handlers(app)
    _describe(app)
    return app


def _lifespan(settings: Settings) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            try:
                await _open(app, settings, stack)
            except Exception as error:
                app.state.start_error = error
                raise
            yield

    return lifespan


async def _open(app: FastAPI, settings: Settings, stack: AsyncExitStack) -> None:
    """Opens what the routes work on; closed in the opposite order."""
    store = await anyio.to_thread.run_sync(Store.open, settings.database_file)
    stack.callback(store.close)
    await anyio.to_thread.run_sync(enter_known_bases, store)
    app.state.store = store
    app.state.engines = EnginePool(settings.inference_log_file)
    stack.push_async_callback(app.state.engines.aclose)
    app.state.supervisor = Supervisor(settings, store)
    app.state.supervisor.start()
    stack.push_async_callback(anyio.to_thread.run_sync, app.state.supervisor.close)


def _add_routes(app: FastAPI) -> None:
    for router in (files.router, jobs.router, jobs.limits_router, models.router, chat_completions.router):
        app.include_router(router, prefix="/v1")
    app.add_api_route("/tokenize", chat_completions.tokenize, methods=["POST"])
    app.add_api_route("/healthz", _health, methods=["GET"], name="health")


async def _health() -> dict[str, str]:
    """Says that the server is up; needs no key."""
    return {"status": "ok", "version": __version__}


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(ApiError)
    async def answer_api_error(_request: Request, error: ApiError) -> JSONResponse:
        return _answer(error)

    @app.exception_handler(RequestValidationError)
    async def answer_validation_error(_request: Request, error: RequestValidationError) -> JSONResponse:
        return _answer(error_of_validation(error.errors()))

    @app.exception_handler(HTTPException)
    async def answer_http_error(request: Request, error: HTTPException) -> JSONResponse:
        return _answer(error_of_http(error.status_code, error.detail, request.method, request.url.path))


def _describe(app: FastAPI) -> None:
    written_by_fastapi = app.openapi

    @functools.cache
    def openapi() -> Document:
        return described(written_by_fastapi())

    # FastAPI's own way: https://fastapi.tiangolo.com/how-to/extending-openapi/
    app.openapi = openapi  # type: ignore[method-assign]


def _answer(error: ApiError) -> JSONResponse:
    return JSONResponse(error.body(), error.status, headers=error.headers())
