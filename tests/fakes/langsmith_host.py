"""A small LangSmith over real HTTP: `/info`, `/sessions` and `/runs/query` with its paging and filters."""

import json
import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "lsv2_test_key"
PAGE = 100
TOKEN = re.compile(r'\s*(?:(\w+)\(|("(?:[^"\\]|\\.)*")|([\w.\-]+)|([,)]))')


@dataclass
class LangSmithHost:
    """What the host holds and what it was asked."""

    url: str = ""
    project: str = "my-app"
    project_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    runs: list[dict[str, Any]] = field(default_factory=list)
    queries: list[dict[str, Any]] = field(default_factory=list)
    failures: dict[int, int] = field(default_factory=dict)
    """The status to answer with, by the number of the query."""


class _Server(ThreadingHTTPServer):
    def __init__(self, host: LangSmithHost) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.host = host


@contextmanager
def langsmith_host(**fields: Any) -> Iterator[LangSmithHost]:
    """Serve a host on loopback."""
    host = LangSmithHost(**fields)
    server = _Server(host)
    host.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield host
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name of the base class
        """Stay quiet."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/info":
            self._send(200, {"version": "0.15.0"})
        elif not self._is_authorized():
            self._send(401, {"detail": "Invalid token"})
        elif url.path == "/sessions":
            self._send(200, _projects(self.server.host, parse_qs(url.query).get("name", [])))
        else:
            self._send(404, {"detail": "Not found"})

    def do_POST(self) -> None:
        host, body = self.server.host, json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self._is_authorized():
            self._send(401, {"detail": "Invalid token"})
            return
        host.queries.append(body)
        if status := host.failures.pop(len(host.queries), 0):
            self._send(status, {"detail": "broken"})
        elif body.get("limit", PAGE) > PAGE or len(body.get("id", ())) > PAGE:
            self._send(400, {"detail": f"limit must be at most {PAGE}"})
        else:
            self._send(200, _page(host, body))

    def _is_authorized(self) -> bool:
        return self.headers.get("x-api-key") == KEY

    def _send(self, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _projects(host: LangSmithHost, names: list[str]) -> list[dict[str, Any]]:
    found: dict[str, Any] = {"id": host.project_id, "name": host.project, "tenant_id": host.project_id}
    found |= {"start_time": "2026-01-01T00:00:00", "reference_dataset_id": None}
    return [found] if host.project in names else []


def _page(host: LangSmithHost, body: dict[str, Any]) -> dict[str, Any]:
    start = int(body.get("cursor") or 0)
    found = _select(host, body)
    end = start + PAGE
    rows = [{key: run[key] for key in body["select"] if key in run} for run in found[start:end]]
    return {"runs": rows, "cursors": {"next": str(end) if end < len(found) else None}}


def _select(host: LangSmithHost, body: dict[str, Any]) -> list[dict[str, Any]]:
    if "id" in body:  # the server ignores every other condition then
        return [run for run in host.runs if run["id"] in body["id"]]
    by_id = {run["id"]: run for run in host.runs}
    run_filter, trace_filter = _parsed(body.get("filter")), _parsed(body.get("trace_filter"))
    return [
        run
        for run in host.runs
        if body.get("session") == [host.project_id]
        and body.get("run_type") in (None, run["run_type"])
        and _time(run["start_time"]) >= _time(body.get("start_time") or "2000-01-01")
        and _holds(run_filter, run)
        and _holds(trace_filter, by_id[run["trace_id"]])
    ]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=None)


def _parsed(text: str | None) -> list[Any] | None:
    """Parse `and(eq(name, "x"), has(tags, "y"))` into nested lists."""
    if text is None:
        return None
    stack: list[list[Any]] = [[]]
    position = 0
    while position < len(text):
        match = TOKEN.match(text, position)
        assert match, f"the filter is broken at {text[position:]!r}"
        position = match.end()
        call, string, word, sign = match.groups()
        if call:
            stack.append([call])
        elif sign == ")":
            done = stack.pop()
            stack[-1].append(done)
        elif sign is None:
            stack[-1].append(json.loads(string) if string else word)
    assert len(stack) == len(stack[0]) == 1, f"the filter {text!r} is unbalanced"
    expression: list[Any] = stack[0][0]
    return expression


def _holds(expression: list[Any] | None, run: dict[str, Any]) -> bool:
    match expression:
        case None:
            holds = True
        case ["and", ["eq", "feedback_key", key], ["gte", "feedback_score", least]]:
            holds = (run.get("feedback_stats") or {}).get(key, {"avg": -1})["avg"] >= float(least)
        case ["and", ["eq", "metadata_key", key], ["eq", "metadata_value", value]]:
            holds = run["extra"]["metadata"].get(key) == value
        case ["and", *conditions]:
            holds = all(_holds(condition, run) for condition in conditions)
        case ["eq", name, value]:
            holds = run[name] == value
        case ["has", name, value]:
            holds = value in (run.get(name) or ())
        case ["lt", "start_time", value]:
            holds = _time(run["start_time"]) < _time(value)
        case _:
            raise AssertionError(expression)
    return holds
