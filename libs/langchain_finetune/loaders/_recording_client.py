"""A langsmith client that sends nothing: what it would post to LangSmith goes to a file.

The client is the real one, so what is recorded has gone through its own serialization, its `hide_inputs` and
its anonymizer. Only the HTTP session under it is ours, and that one knows no network.
"""

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

import langsmith
import requests
from typing_extensions import override

from langchain_finetune.loaders._run_json import loads
from langchain_finetune.loaders._run_writer import RunWriter

_HOST: Final = "http://run-store.invalid"
_RUN: Final = re.compile(r"/runs(/[^/]+)?$")

Hide = Callable[[dict[str, Any]], dict[str, Any]] | bool | None


def recording_client(
    writer: RunWriter,
    *,
    hide_inputs: Hide,
    hide_outputs: Hide,
    anonymizer: Callable[[dict[str, Any]], dict[str, Any]] | None,
) -> langsmith.Client:
    """Return a client whose runs go to a file."""
    client = langsmith.Client(
        _HOST,
        api_key="none",
        session=FileSession(writer),
        auto_batch_tracing=False,  # a run is on the disk when the application goes on
        hide_inputs=hide_inputs,
        hide_outputs=hide_outputs,
        anonymizer=anonymizer,
        info={},
    )
    # LANGSMITH_TRACING_SAMPLING_RATE is for what is paid for at LangSmith: here it would lose runs.
    client.tracing_sample_rate = None
    return client


def _answer(status: HTTPStatus) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    response._content = b"{}"  # noqa: SLF001  # what `Response.content` reads, where there was no socket
    return response


_ACCEPTED: Final = _answer(HTTPStatus.ACCEPTED)
_NOT_FOUND: Final = _answer(HTTPStatus.NOT_FOUND)


class FileSession(requests.Session):
    """Takes in the requests by which the langsmith client sends runs; every other one is not found."""

    def __init__(self, writer: RunWriter) -> None:
        super().__init__()
        self._writer = writer

    @override
    def request(self, method: Any, url: Any, *_: Any, data: Any = None, **__: Any) -> requests.Response:
        if method in ("POST", "PATCH") and _RUN.search(url):
            self._record(method, data)
            return _ACCEPTED
        return _NOT_FOUND

    def _record(self, method: str, data: bytes) -> None:
        run = loads(data)
        if method == "POST":
            self._writer.begin(run)
        else:
            self._writer.end(run)

    @override
    def close(self) -> None:
        """Hold nothing open."""


def is_recorded(run: Any) -> bool:
    """Say whether a run of langsmith's own is sent to a file."""
    return isinstance(getattr(getattr(run, "ls_client", None), "session", None), FileSession)
