"""A pipe on FastAPI: orders, their jobs, events and models, in the form that LangServe's clients speak."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from functools import wraps
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, FastAPI, Request
from langchain_core.runnables import Runnable
from pydantic import SecretStr
from starlette.responses import Response

from langchain_finetune.errors import SettingError
from langchain_finetune.handles import FineTunedModel, SubmittedJob
from langchain_finetune.serving.access import key_check
from langchain_finetune.serving.chat import answered, listed
from langchain_finetune.serving.desk import OrderDesk
from langchain_finetune.serving.limits import Limits
from langchain_finetune.serving.pages import docs_page, page_response, playground_page
from langchain_finetune.serving.pipeline import split
from langchain_finetune.serving.schemas import (
    ORDER_BODY,
    ORDERS_BODY,
    config_schema,
    input_schema,
    output_schema,
)
from langchain_finetune.serving.told import secrets_of
from langchain_finetune.serving.wire import (
    BadRequest,
    batched,
    config_of,
    configs_of,
    event_stream,
    invoked,
    json_response,
    read_body,
    refused,
    required,
    streamed,
)
from langchain_finetune.trainers.exchange import JOB_EVENT


def add_fine_tune_routes(  # noqa: PLR0913 - what strangers may do, each with a name of its own
    app: FastAPI | APIRouter,
    pipeline: Runnable[Any, Any],
    path: str = "/finetune",
    *,
    projects: Iterable[str] = (),
    configurable: Iterable[str] = (),
    api_keys: Iterable[str | SecretStr] = (),
    dependencies: Sequence[Any] = (),
    public_url: str | None = None,
    limits: Limits | None = None,
) -> None:
    """Serve a pipe on FastAPI: an order is answered at once, and its job is followed by its id.

    `POST {path}/invoke`, `/batch`, `/stream` and `/stream_events` speak LangServe's protocol, so that its
    `RemoteRunnable` is a client; LangServe itself is not needed. What is answered is a `FineTunedModel` where
    the same input has been trained on, and a `SubmittedJob` otherwise, followed at `{path}/jobs/{id}` and
    `{path}/jobs/{id}/events`. The tuned model answers at `{path}/jobs/{id}/v1` in OpenAI's protocol.

    A client that goes away ends nothing. See docs/serving.md for what is refused.

    ```python
    app = FastAPI()
    add_fine_tune_routes(app, loader | converter | trainer, api_keys=[os.environ["APP_KEY"]])
    ```

    Args:
        app: Where the routes are added.
        pipeline: A pipe with one `FineTuneRunnable` among its steps. Those after it, such as a gate and a
            `Promotion`, are done when the job has succeeded, whoever is there.
        path: What the routes begin with.
        projects: LangSmith projects and datasets that a request may name besides the loader's own.
        configurable: Fields of `config.configurable` that a request may set; none that chooses a place, a
            client or a key is ever taken.
        api_keys: Keys that open the routes, as `Authorization: Bearer …`; without any, and without
            `dependencies`, everybody who reaches the server may order trainings.
        dependencies: FastAPI dependencies of every route but the pages, such as the application's own login.
        public_url: The server's URL as clients know it, where a proxy hides it.
        limits: The bounds of what one client may take.

    Raises:
        NotServableError: The pipe has no trainer, or several.
        SettingError: A key is too short, or the path does not begin with a slash.
    """
    if not path.startswith("/") or path.endswith("/"):
        msg = f"the path {path!r} has to begin with a slash and not to end with one, such as '/finetune'."
        raise SettingError(msg)
    limits = limits or Limits()
    desk = OrderDesk(path, split(pipeline), projects=projects, configurable=configurable, limits=limits)
    shell = _Shell(desk, path, public_url, limits)
    check = key_check(api_keys)
    guarded = [*dependencies, *([Depends(check)] if check else [])]
    app.include_router(shell.router(guarded))
    app.include_router(shell.pages(), include_in_schema=False)


def _refusing(endpoint: Callable[..., Awaitable[Response]]) -> Callable[..., Awaitable[Response]]:
    """Answer for whatever an endpoint raises: what is unexpected reaches no client in its own words."""

    @wraps(endpoint)
    async def call(self: "_Shell", *args: Any, **kwargs: Any) -> Response:
        try:
            return await endpoint(self, *args, **kwargs)
        except Exception as e:  # noqa: BLE001 - told without its words where it is unexpected
            return refused(e, self.secrets)

    return call


class _Shell:
    """The routes as thin functions around the desk."""

    def __init__(self, desk: OrderDesk, path: str, public_url: str | None, limits: Limits) -> None:
        self._desk = desk
        self._path = path
        self._public_url = public_url
        self._limits = limits
        self.secrets = secrets_of(desk.pipe.trainer)
        self._chat_route = f"{path} chat completions"

    def router(self, dependencies: Sequence[Any]) -> APIRouter:
        """Return the routes that are for clients."""
        router = APIRouter(prefix=self._path, dependencies=list(dependencies), tags=[self._path.strip("/")])
        post, get = router.post, router.get
        post("/invoke", summary="Order a training, or get its model", openapi_extra=ORDER_BODY)(self.invoke)
        post("/batch", summary="Order several trainings", openapi_extra=ORDERS_BODY)(self.batch)
        post("/stream", summary="Order, answered as a stream", openapi_extra=ORDER_BODY)(self.stream)
        post("/stream_events", summary="Order, answered as events of LangChain", openapi_extra=ORDER_BODY)(
            self.stream_events
        )
        get("/input_schema", summary="JSON schema of an input")(self.input_schema)
        get("/output_schema", summary="JSON schema of an output")(self.output_schema)
        get("/config_schema", summary="JSON schema of a config")(self.config_schema)
        get("/jobs/{order_id}", summary="What has become of an order")(self.job)
        get("/jobs/{order_id}/events", summary="Follow a job: server-sent events")(self.events)
        post("/jobs/{order_id}/cancel", summary="End an order, and the job that it made")(self.cancel)
        get("/jobs/{order_id}/v1/models", summary="The tuned model, in OpenAI's protocol")(self.models)
        post(
            "/jobs/{order_id}/v1/chat/completions",
            name=self._chat_route,
            summary="Ask the tuned model, in OpenAI's protocol",
        )(self.chat)
        return router

    def pages(self) -> APIRouter:
        """Return the pages for people, which hold nothing that a key is for."""
        router = APIRouter(prefix=self._path)
        router.get("/playground")(self.playground)
        router.get("/playground/")(self.playground)
        router.get("/docs")(self.docs)
        return router

    @_refusing
    async def invoke(self, request: Request) -> Response:
        return invoked(await self._ordered(request))

    @_refusing
    async def stream(self, request: Request) -> Response:
        return streamed(_each([await self._ordered(request)]))

    @_refusing
    async def stream_events(self, request: Request) -> Response:
        return streamed(_each(_chain_events(self._path, await self._ordered(request))))

    @_refusing
    async def batch(self, request: Request) -> Response:
        body = await read_body(request, self._limits.max_body_bytes)
        inputs = required(body, "inputs")
        if not isinstance(inputs, list) or len(inputs) > self._limits.max_inputs:
            raise BadRequest(422, f"`inputs` has to be a list of at most {self._limits.max_inputs}.")
        placed = await self._desk.place_all(inputs, configs_of(body, len(inputs)))
        return batched([self._output(request, found) for found in placed])

    async def input_schema(self) -> Response:
        return json_response(input_schema(self._desk.pipe.first))

    async def output_schema(self) -> Response:
        return json_response(output_schema())

    async def config_schema(self) -> Response:
        return json_response(config_schema(self._desk.configurable))

    @_refusing
    async def job(self, request: Request, order_id: str) -> Response:
        return json_response(self._told(request, await self._desk.look(order_id)))

    @_refusing
    async def cancel(self, request: Request, order_id: str) -> Response:
        return json_response(self._told(request, await self._desk.cancel(order_id)))

    @_refusing
    async def events(self, request: Request, order_id: str) -> Response:
        parts = await self._desk.events(
            order_id, request.headers.get("last-event-id"), lambda found: self._told(request, found)
        )
        return event_stream(parts)

    async def models(self, order_id: str) -> Response:
        return await listed(self._desk.tuned, order_id, self.secrets)

    async def chat(self, request: Request, order_id: str) -> Response:
        return await answered(request, self._desk.tuned, order_id, self._limits, self.secrets)

    async def playground(self, request: Request) -> Response:
        return page_response(playground_page(self._root(request), self._path))

    async def docs(self, request: Request) -> Response:
        return page_response(docs_page(self._root(request), self._path, self.router(())))

    async def _ordered(self, request: Request) -> FineTunedModel | SubmittedJob:
        body = await read_body(request, self._limits.max_body_bytes)
        return self._output(request, await self._desk.place(required(body, "input"), config_of(body)))

    def _output(self, request: Request, found: SubmittedJob) -> FineTunedModel | SubmittedJob:
        told = self._told(request, found)
        return told.model or told

    def _told(self, request: Request, found: SubmittedJob) -> SubmittedJob:
        """Return an order's state with the URL at which this server answers for its model."""
        if found.model is None:
            return found
        url = f"{self._root(request)}/jobs/{found.id}/v1"
        return found.model_copy(update={"model": found.model.model_copy(update={"served_url": url})})

    def _root(self, request: Request) -> str:
        """Return the URL of the routes, wherever the router was mounted."""
        root = str(request.url_for(self._chat_route, order_id="-")).partition("/jobs/-/")[0]
        return root if self._public_url is None else self._public_url.rstrip("/") + urlsplit(root).path


async def _each(chunks: Iterable[Any]) -> AsyncGenerator[Any]:
    for chunk in chunks:
        yield chunk


def _chain_events(name: str, output: FineTunedModel | SubmittedJob) -> list[dict[str, Any]]:
    """Return what `astream_events` tells of an order: its start, the job, its end."""
    run_id = getattr(output, "id", None) or output.job_id
    common = {"run_id": str(run_id), "tags": [], "metadata": {}, "parent_ids": []}
    told = output.model_dump(mode="json")
    return [
        {"event": "on_chain_start", "name": name, "data": {}, **common},
        {"event": "on_custom_event", "name": JOB_EVENT, "data": told, **common},
        {"event": "on_chain_end", "name": name, "data": {"output": told}, **common},
    ]
