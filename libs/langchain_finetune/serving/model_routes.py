"""The models behind aliases on FastAPI: in OpenAI's protocol, and in LangServe's."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any, Final

from fastapi import APIRouter, Depends, FastAPI, Request
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    convert_to_messages,
)
from langchain_core.runnables import RunnableConfig
from langchain_openai import ChatOpenAI
from pydantic import SecretStr
from starlette.responses import Response

from langchain_finetune._served import refuse_settings
from langchain_finetune.errors import AliasNotFoundError, SettingError
from langchain_finetune.handles import FineTunedModel
from langchain_finetune.serving.access import key_check
from langchain_finetune.serving.aliases import AliasStore
from langchain_finetune.serving.chat import answered, listed
from langchain_finetune.serving.limits import Limits
from langchain_finetune.serving.schemas import config_schema
from langchain_finetune.serving.wire import (
    BadRequest,
    batched,
    config_of,
    configs_of,
    invoked,
    json_response,
    read_body,
    refused,
    required,
    streamed,
)

_MOST_MODELS: Final = 64

_DUMPED: Final[Mapping[str, type[BaseMessage]]] = {
    "ai": AIMessage,
    "AIMessageChunk": AIMessageChunk,
    "human": HumanMessage,
    "system": SystemMessage,
    "tool": ToolMessage,
}

_MESSAGES: Final = {
    "title": "Messages",
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": ["object", "array", "string"]}}],
}


def add_model_routes(  # noqa: PLR0913 - what strangers may do, each with a name of its own
    app: FastAPI | APIRouter,
    path: str = "/model",
    *,
    aliases: Iterable[str] | None = None,
    store: AliasStore | None = None,
    open_model: Callable[[FineTunedModel], ChatOpenAI] = FineTunedModel.to_chat_model,
    api_keys: Iterable[str | SecretStr] = (),
    dependencies: Sequence[Any] = (),
    limits: Limits | None = None,
) -> None:
    """Serve the models that aliases stand for: clients ask a name, whatever model it is by now.

    `{path}/{alias}/v1` speaks OpenAI's protocol, for `ChatOpenAI(base_url=...)` with tools, structured output
    and everything else; `{path}/{alias}` speaks LangServe's, for `RemoteRunnable`. A promotion or a rollback
    holds for the next request, in every process.

    ```python
    add_model_routes(app, aliases=["calculator@production"], api_keys=[os.environ["APP_KEY"]])
    ```

    Args:
        app: Where the routes are added.
        path: What the routes begin with.
        aliases: The aliases that are served; None is every one of the store.
        store: Where they are kept; None is that of the state directory.
        open_model: Returns the chat model of a tuned one, where the key is not the environment's.
        api_keys: Keys that open the routes, as `Authorization: Bearer …`.
        dependencies: FastAPI dependencies of every route.
        limits: The bounds of what one client may take.

    Raises:
        SettingError: A key is too short, or the path does not begin with a slash.
    """
    if not path.startswith("/") or path.endswith("/"):
        msg = f"the path {path!r} has to begin with a slash and not to end with one, such as '/model'."
        raise SettingError(msg)
    shelf = _Shelf(store or AliasStore(), None if aliases is None else frozenset(aliases), open_model)
    check = key_check(api_keys)
    guarded = [*dependencies, *([Depends(check)] if check else [])]
    app.include_router(_Shell(shelf, limits or Limits()).router(path, guarded))


class _Shelf:
    """The chat models behind aliases, made once each."""

    def __init__(
        self,
        store: AliasStore,
        allowed: frozenset[str] | None,
        open_model: Callable[[FineTunedModel], ChatOpenAI],
    ) -> None:
        self._store = store
        self._allowed = allowed
        self._open_model = open_model
        self._open: OrderedDict[tuple[str, ...], ChatOpenAI] = OrderedDict()

    async def tuned(self, alias: str) -> FineTunedModel:
        """Return what an alias stands for now.

        Raises:
            AliasNotFoundError: It stands for nothing, or is not served.
        """
        if self._allowed is not None and alias not in self._allowed:
            # In the words of an alias that is not there: what else the store holds is nobody's business.
            msg = f"no model is served as {alias[:100]!r}."
            raise AliasNotFoundError(msg)
        return await asyncio.to_thread(self._store.resolve, alias)

    async def chat_model(self, alias: str) -> ChatOpenAI:
        """Return the chat model that an alias stands for now.

        Raises:
            AliasNotFoundError: It stands for nothing, or is not served.
        """
        tuned = await self.tuned(alias)
        key = (tuned.provider, tuned.model, tuned.base_url, tuned.job_id)
        if key not in self._open:
            # Making the clients of a chat model reads certificates.
            self._open[key] = await asyncio.to_thread(self._open_model, tuned)
            while len(self._open) > _MOST_MODELS:
                self._open.popitem(last=False)
        return self._open[key]


def _refusing(endpoint: Callable[..., Awaitable[Response]]) -> Callable[..., Awaitable[Response]]:
    """Answer for whatever an endpoint raises: what is unexpected reaches no client in its own words."""

    @wraps(endpoint)
    async def call(*args: Any, **kwargs: Any) -> Response:
        try:
            return await endpoint(*args, **kwargs)
        except Exception as e:  # noqa: BLE001 - told without its words where it is unexpected
            return refused(e)

    return call


class _Shell:
    """The routes as thin functions around the shelf."""

    def __init__(self, shelf: _Shelf, limits: Limits) -> None:
        self._shelf = shelf
        self._limits = limits

    def router(self, path: str, dependencies: Sequence[Any]) -> APIRouter:
        """Return the routes."""
        router = APIRouter(prefix=path, dependencies=list(dependencies), tags=[path.strip("/")])
        post, get = router.post, router.get
        get("/{alias}", summary="Which model an alias stands for")(self.alias)
        get("/{alias}/v1/models", summary="The alias as a model, in OpenAI's protocol")(self.models)
        post("/{alias}/v1/chat/completions", summary="Ask the model, in OpenAI's protocol")(self.chat)
        post("/{alias}/invoke", summary="Ask the model, in LangServe's protocol")(self.invoke)
        post("/{alias}/batch", summary="Ask the model several times")(self.batch)
        post("/{alias}/stream", summary="Ask the model, answered as a stream")(self.stream)
        post("/{alias}/stream_events", summary="Ask the model, answered as events")(self.stream_events)
        get("/{alias}/input_schema", summary="JSON schema of an input")(self.input_schema)
        get("/{alias}/output_schema", summary="JSON schema of an output")(self.output_schema)
        get("/{alias}/config_schema", summary="JSON schema of a config")(self.config_schema)
        return router

    @_refusing
    async def alias(self, alias: str) -> Response:
        tuned = await self._shelf.tuned(alias)
        told = {"alias": alias, "provider": tuned.provider, "base": tuned.base, "model": tuned.model}
        return json_response({**told, "job_id": tuned.job_id, "metrics": dict(tuned.metrics)})

    async def models(self, alias: str) -> Response:
        return await listed(self._shelf.chat_model, alias)

    async def chat(self, request: Request, alias: str) -> Response:
        return await answered(request, self._shelf.chat_model, alias, self._limits)

    @_refusing
    async def invoke(self, request: Request, alias: str) -> Response:
        body = await read_body(request, self._limits.max_body_bytes)
        messages, config = messages_of(required(body, "input")), _config(config_of(body))
        model = await self._shelf.chat_model(alias)
        return invoked(await model.ainvoke(messages, config))

    @_refusing
    async def batch(self, request: Request, alias: str) -> Response:
        body = await read_body(request, self._limits.max_body_bytes)
        inputs = required(body, "inputs")
        if not isinstance(inputs, list) or len(inputs) > self._limits.max_inputs:
            raise BadRequest(422, f"`inputs` has to be a list of at most {self._limits.max_inputs}.")
        prompts: list[Any] = [messages_of(given) for given in inputs]
        configs = [_config(config) for config in configs_of(body, len(inputs))]
        model = await self._shelf.chat_model(alias)
        return batched(await model.abatch(prompts, configs))

    @_refusing
    async def stream(self, request: Request, alias: str) -> Response:
        body = await read_body(request, self._limits.max_body_bytes)
        messages, config = messages_of(required(body, "input")), _config(config_of(body))
        model = await self._shelf.chat_model(alias)
        return streamed(model.astream(messages, config))

    @_refusing
    async def stream_events(self, request: Request, alias: str) -> Response:
        body = await read_body(request, self._limits.max_body_bytes)
        messages, config = messages_of(required(body, "input")), _config(config_of(body))
        model = await self._shelf.chat_model(alias)
        return streamed(_events(model, messages, config))

    @_refusing
    async def input_schema(self, alias: str) -> Response:
        await self._shelf.tuned(alias)
        return json_response(_MESSAGES)

    @_refusing
    async def output_schema(self, alias: str) -> Response:
        await self._shelf.tuned(alias)
        return json_response({"title": "AIMessage", "type": "object"})

    @_refusing
    async def config_schema(self, alias: str) -> Response:
        await self._shelf.tuned(alias)
        return json_response(config_schema(()))


def messages_of(given: Any) -> list[BaseMessage]:
    """Read the messages of an input as LangServe's clients write it: text, messages, or a prompt's value.

    Raises:
        BadRequest: It is none of these.
    """
    if isinstance(given, Mapping):
        given = given["messages"] if "messages" in given else given.get("text")
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, list) or not given:
        raise BadRequest(422, "the input has to be a text or a list of messages.")
    try:
        return convert_to_messages([_message(item) for item in given])
    except (ValueError, TypeError, NotImplementedError, KeyError, AttributeError) as e:
        raise BadRequest(422, "a message of the input cannot be read: give role and content of each.") from e


def _message(item: Any) -> Any:
    if isinstance(item, list):
        return tuple(item)
    kind = item.get("type") if isinstance(item, Mapping) else None
    # As `RemoteRunnable` dumps them; the reader of role and content would keep the rest as odd settings.
    known = _DUMPED.get(kind) if isinstance(kind, str) else None
    return known.model_validate(item) if known else item


def _config(given: Mapping[str, Any]) -> RunnableConfig:
    refuse_settings(given.get("configurable") or {}, ())
    return RunnableConfig()


async def _events(
    model: ChatOpenAI, messages: list[BaseMessage], config: RunnableConfig
) -> AsyncGenerator[Any]:
    async for event in model.astream_events(messages, config, version="v2"):
        yield event
