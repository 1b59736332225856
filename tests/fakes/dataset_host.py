"""A LangSmith that holds one dataset, over real HTTP: `/datasets` and `/examples`, paged and narrowed."""

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "lsv2_test_key"
PAGE = 100
NAME = "support-answers"
DATASET_ID = str(uuid.UUID(int=99))


def example(number: int, inputs: Any, outputs: Any, **fields: Any) -> dict[str, Any]:
    """Write an example as the API gives it."""
    return {
        "id": str(uuid.UUID(int=number)),
        "dataset_id": DATASET_ID,
        "created_at": "2026-01-05T10:00:00",
        "inputs": inputs,
        "outputs": outputs,
        "metadata": {"dataset_split": ["train"]},
        **fields,
    }


@dataclass
class DatasetHost:
    """What the host holds and what it was asked."""

    url: str = ""
    versions: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"latest": []})
    """Examples by the tag of the version."""
    queries: list[dict[str, list[str]]] = field(default_factory=list)
    status: int = 200
    """The status that every question for examples gets."""


@contextmanager
def dataset_host(*examples: dict[str, Any]) -> Iterator[DatasetHost]:
    """Serve a host on loopback."""
    host = DatasetHost(versions={"latest": list(examples)})
    handler = type("Handler", (_Handler,), {"host": host})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
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
    host: DatasetHost

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name of the base class
        """Stay quiet."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if url.path == "/info":
            self._send(200, {"version": "0.16.0"})
        elif self.headers.get("x-api-key") != KEY:
            self._send(401, {"detail": "Invalid token"})
        elif url.path == "/datasets":
            found = {"id": DATASET_ID, "name": NAME, "created_at": "2026-01-05T10:00:00", "data_type": "kv"}
            self._send(200, [found] if query.get("name") == [NAME] else [])
        elif url.path == "/sessions":  # the client asks for the workspace, to make links
            project = {
                "id": DATASET_ID,
                "name": "my-app",
                "tenant_id": DATASET_ID,
                "reference_dataset_id": None,
            }
            self._send(200, [project | {"start_time": "2026-01-05T10:00:00"}])
        elif url.path == "/examples":
            self._examples(query)
        else:
            self._send(404, {"detail": "Not found"})

    def _examples(self, query: dict[str, list[str]]) -> None:
        self.host.queries.append(query)
        limit = int(query["limit"][0])
        if self.host.status != 200 or limit > PAGE or query["dataset"] != [DATASET_ID]:
            self._send(self.host.status if self.host.status != 200 else 422, {"detail": "refused"})
            return
        wanted = json.loads(query.get("metadata", ["{}"])[0])
        found = [
            each
            for each in self.host.versions[query.get("as_of", ["latest"])[0]]
            if wanted.items() <= each["metadata"].items() and _is_in(each, query.get("splits"))
        ]
        start = int(query["offset"][0])
        self._send(200, found[start : start + limit])

    def _send(self, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _is_in(given: dict[str, Any], splits: list[str] | None) -> bool:
    return splits is None or bool(set(splits) & set(given["metadata"]["dataset_split"]))
