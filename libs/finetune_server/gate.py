"""What every request passes: a name, the key, bounds, the log; and an envelope, should it fail."""

import logging
import time

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from finetune_server.errors import ApiError, is_disk_full
from finetune_server.ids import new_id
from finetune_server.keys import KeyCheck
from finetune_server.logs import fields
from finetune_server.peers import comes_from_this_machine

_OPEN_PATHS = frozenset({"/healthz"})
_UPLOAD_PATH = "/v1/files"
_MAX_LOGGED_CHARACTERS = 200
_log = logging.getLogger(__name__)


class Activity:
    """When the last request ended, and how many are under way; health checks do not count."""

    def __init__(self) -> None:
        self._num_open = 0
        self._last = time.monotonic()

    def begin(self) -> None:
        """A request has come."""
        self._num_open += 1

    def end(self) -> None:
        """A request has been answered."""
        self._num_open -= 1
        self._last = time.monotonic()

    def idle_seconds(self) -> float:
        """For how long there has been nothing to do."""
        return 0.0 if self._num_open else time.monotonic() - self._last


class Gate:
    """ASGI middleware around the whole app.

    Args:
        app: What lies behind.
        keys: Who may come in.
        activity: Told of every request.
        max_body_bytes: Of a request that is no upload; uploads count for themselves.
    """

    def __init__(self, app: ASGIApp, *, keys: KeyCheck, activity: Activity, max_body_bytes: int) -> None:
        self._app = app
        self._keys = keys
        self._activity = activity
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets a request in, or answers it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] in _OPEN_PATHS:
            await _Exchange(scope, send).run(self._app, receive)
        else:
            self._activity.begin()
            try:
                await self._admit(_Exchange(scope, send), receive)
            finally:
                self._activity.end()

    async def _admit(self, exchange: "_Exchange", receive: Receive) -> None:
        authorization = exchange.header(b"authorization")
        exchange.caller = self._keys.caller(authorization, is_local=exchange.is_local)
        if exchange.caller is None:
            await exchange.refuse(_wrong_key(has_key=bool(authorization)))
        elif exchange.path == _UPLOAD_PATH:
            await exchange.run(self._app, receive)
        elif exchange.content_length() > self._max_body_bytes:
            await exchange.refuse(body_too_large(self._max_body_bytes))
        else:
            await exchange.run(self._app, self._bounded(receive))

    def _bounded(self, receive: Receive) -> Receive:
        num_bytes = 0

        async def receive_bounded() -> Message:
            nonlocal num_bytes
            message = await receive()
            num_bytes += len(message.get("body", b""))
            if num_bytes > self._max_body_bytes:
                # The one exception that FastAPI lets through while it reads a body.
                raise HTTPException(413, body_too_large(self._max_body_bytes).message)
            return message

        return receive_bounded


class _Exchange:
    """One request and its answer: named, timed, logged."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._started = time.perf_counter()
        self._status = 0
        self._id = new_id("req")
        self.path: str = scope["path"]
        self.is_local = comes_from_this_machine(scope)
        self.caller: str | None = None

    def header(self, name: bytes) -> str:
        """A request header, empty where it is missing."""
        found = (value for key, value in self._scope["headers"] if key == name)
        return next(found, b"").decode("latin-1")

    def content_length(self) -> int:
        """What the client announced, 0 where it did not."""
        length = self.header(b"content-length")
        return int(length) if length.isascii() and length.isdecimal() else 0

    async def run(self, app: ASGIApp, receive: Receive) -> None:
        """Has the app answer; an error that it did not expect becomes a 500, told to the log only."""
        try:
            await app(self._scope, receive, self.send)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            _log.exception("request failed", extra=fields(id=self._id))
            if not self._status:
                await self._answer(_server_error(error, self._id))
        finally:
            self._log_answer()

    async def refuse(self, error: ApiError) -> None:
        """Answers without the app."""
        await self._answer(error)
        self._log_answer()

    async def send(self, message: Message) -> None:
        """Passes a part of the answer on, with the request's name in its headers."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self._id.encode())]
        await self._send(message)

    async def _answer(self, error: ApiError) -> None:
        response = JSONResponse(error.body(), error.status, headers=error.headers())
        await response(self._scope, _nothing_more, self.send)

    def _log_answer(self) -> None:
        client = self._scope.get("client")
        told = fields(
            id=self._id,
            method=self._scope["method"],
            path=self.path[:_MAX_LOGGED_CHARACTERS],
            status=self._status,
            ms=round((time.perf_counter() - self._started) * 1000, 1),
            peer=client[0] if client else None,
            caller=self.caller,
        )
        _log.info("request", extra=told)


def body_too_large(max_bytes: int) -> ApiError:
    """The answer to a body over the bound."""
    return ApiError(
        413, f"The body is larger than the {max_bytes} bytes that this server takes.", code="body_too_large"
    )


async def _nothing_more() -> Message:
    return {"type": "http.disconnect"}


def _wrong_key(*, has_key: bool) -> ApiError:
    fault = "Incorrect API key provided." if has_key else "You didn't provide an API key."
    hint = (
        "Send as a Bearer token, on the server's own machine, the line in `api_key` in its state directory; "
        "from elsewhere or through a proxy, a key that `langchain-finetune keys create NAME` made."
    )
    message = f"{fault} {hint}"
    return ApiError(401, message, code="invalid_api_key")


def _server_error(error: Exception, request_id: str) -> ApiError:
    if is_disk_full(error):
        message = "The server's disk is full. Free some of it and repeat the request."
        return ApiError(507, message, type="server_error", code="insufficient_storage")
    message = f"The server had an error while processing your request. Its log has more, under {request_id}."
    return ApiError(500, message, type="server_error", code="internal_error")
