"""HTTP on loopback for a fake host: whole requests in, answers, broken connections and onlookers out."""

import json
import re
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, list[str]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes = b""

    @property
    def body(self) -> Any:
        return json.loads(self.content)


@dataclass
class Response:
    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


Moment = Literal["arriving", "read", "done", "answered"]
"""Of a request over HTTP: its head is there, all of it is there, it is carried out, its answer is sent."""

Onlooker = Callable[[Moment, "Request"], bool]
"""Sees each request at each moment, and tells whether nothing more is to be done with it."""


CarryOut = Callable[[Request], Response | Exception]


@contextmanager
def serve(carry_out: CarryOut, onlooker: Onlooker) -> Iterator[str]:
    """Serve over HTTP; gives the base URL."""
    server = _Server(carry_out, onlooker)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Part(NamedTuple):
    filename: str | None
    content: bytes


def parts_of(request: Request) -> dict[str, Part]:
    """The parts of a multipart body by their names, byte for byte."""
    boundary = request.headers["content-type"].partition("boundary=")[2].encode()
    parts = {}
    for piece in request.content.split(b"--" + boundary)[1:-1]:
        head, _, content = piece.removeprefix(b"\r\n").removesuffix(b"\r\n").partition(b"\r\n\r\n")
        names = dict(re.findall(r'(name|filename)="([^"]*)"', head.decode()))
        parts[names["name"]] = Part(names.get("filename"), content)
    return parts


def headers_of(response: Response) -> dict[str, str]:
    return {"content-type": "application/json", **response.headers}


def request_of(method: str, url: str, headers: dict[str, str], content: bytes) -> Request:
    parts = urlsplit(url)
    path = unquote(parts.path).removeprefix("/v1")
    return Request(method, path, parse_qs(parts.query), headers, content)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, carry_out: CarryOut, onlooker: Onlooker) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.carry_out = carry_out
        self.onlooker = onlooker

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that is gone; anything else is a defect of the fake."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = request_of(self.command, self.path, headers, b"")
        if self.server.onlooker("arriving", request):
            self._reset()
            return
        request.content = self._content(headers)
        response: Response | Exception = ConnectionResetError()
        if not self.server.onlooker("read", request):
            response = self.server.carry_out(request)
        if isinstance(response, Exception) or self.server.onlooker("done", request):
            self._reset()
            return
        self._send(response)
        self.server.onlooker("answered", request)

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        for name, value in {**headers_of(response), "content-length": str(len(response.content))}.items():
            self.send_header(name, value)
        # A kept connection would be closed whenever a client is collected, in the midst of another test.
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(response.content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815  the names that http.server calls

    def _content(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") != "chunked":
            return self._read(int(headers.get("content-length", 0)))
        content = b""
        while size := int(self._read_line(), 16):
            content += self._read(size)
            self._read_line()
        self._read_line()
        return content

    def _read(self, size: int) -> bytes:
        content = self.rfile.read(size)
        if len(content) < size:
            raise ConnectionResetError
        return content

    def _read_line(self) -> bytes:
        line = self.rfile.readline()
        if not line.endswith(b"\n"):
            raise ConnectionResetError
        return line

    def _reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True
        self.connection.close()
        self.rfile.close()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
