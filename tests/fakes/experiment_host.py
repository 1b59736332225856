"""A LangSmith over real HTTP that takes datasets, experiments, runs and feedback, and holds them."""

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.loopback import Request, Response, parts_of, serve

KEY = "lsv2_test_key"
TENANT = str(uuid.UUID(int=7))
WHEN = "2026-01-05T10:00:00+00:00"


@dataclass
class ExperimentHost:
    """What the host holds."""

    url: str = ""
    status: int = 200
    """What every request but `/info` gets."""
    datasets: dict[str, dict[str, Any]] = field(default_factory=dict)
    examples: dict[str, dict[str, Any]] = field(default_factory=dict)
    sessions: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    feedback: list[dict[str, Any]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    """Requests that it has no answer for."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def runs_of(self, session: str) -> list[dict[str, Any]]:
        """The root runs of an experiment."""
        return [run for run in self.runs.values() if run.get("session_name") == session]


@contextmanager
def experiment_host(**fields: Any) -> Iterator[ExperimentHost]:
    """Serve a host on loopback."""
    host = ExperimentHost(**fields)
    with serve(lambda request: _answer(host, request), lambda *_: False) as url:
        host.url = url.removesuffix("/v1")
        yield host


def _answer(host: ExperimentHost, request: Request) -> Response:
    path = request.path.removeprefix("/api/v1")
    if path == "/info":
        flags = {"dataset_examples_multipart_enabled": False}
        config = {"use_multipart_endpoint": True, "size_limit": 100, "size_limit_bytes": 20_971_520}
        config |= {
            "scale_up_qsize_trigger": 1000,
            "scale_up_nthreads_limit": 2,
            "scale_down_nempty_trigger": 4,
        }
        return Response(200, {"version": "0.15.0", "instance_flags": flags, "batch_ingest_config": config})
    if request.headers.get("x-api-key") != KEY:
        return Response(401, {"detail": "Invalid token"})
    if host.status != 200:
        return Response(host.status, {"detail": "refused"})
    with host.lock:
        return _carry_out(host, request, path)


def _carry_out(host: ExperimentHost, request: Request, path: str) -> Response:  # noqa: C901, PLR0911  a table
    match request.method, path.strip("/").split("/"):
        case "GET", ["datasets"]:
            names = request.query.get("name", [])
            return Response(200, [each for each in host.datasets.values() if each["name"] in names])
        case "POST", ["datasets"]:
            return Response(200, _dataset(host, request.body))
        case "GET", ["datasets", dataset_id]:
            return Response(200, host.datasets[dataset_id])
        case "GET", ["examples"]:
            return Response(200, _examples(host, request))
        case "POST", ["examples", "bulk"]:
            return Response(200, [_example(host, each) for each in request.body])
        case "POST", ["sessions"]:
            return Response(200, _session(host, request.body))
        case "GET", ["sessions"]:
            names = request.query.get("name", [])
            found = [each for each in host.sessions.values() if not names or each["name"] in names]
            return Response(200, found[: int(request.query.get("limit", ["100"])[0])])
        case "PATCH", ["sessions", session_id]:
            # As in LangSmith: null leaves a field as it is.
            host.sessions[session_id] |= {key: it for key, it in request.body.items() if it is not None}
            return Response(200, host.sessions[session_id])
        case "POST", ["runs", "multipart"]:
            _ingest(host, request)
            return Response(202, {})
        case "POST", ["feedback"]:
            host.feedback.append(request.body)
            return Response(200, request.body)
        case _:
            host.unknown.append(f"{request.method} {path}")
            return Response(404, {"detail": "Not found"})


def _dataset(host: ExperimentHost, body: dict[str, Any]) -> dict[str, Any]:
    assert body["data_type"] == "kv"
    assert body["name"] not in {each["name"] for each in host.datasets.values()}
    made = {"id": str(uuid.uuid4()), "tenant_id": TENANT, "created_at": WHEN, "example_count": 0, **body}
    host.datasets[made["id"]] = made
    return made


def _example(host: ExperimentHost, body: dict[str, Any]) -> dict[str, Any]:
    assert body["dataset_id"] in host.datasets
    assert body["id"] not in host.examples, "an example is written once"
    made = {"created_at": WHEN, "modified_at": WHEN, **body}
    host.examples[made["id"]] = made
    return made


def _examples(host: ExperimentHost, request: Request) -> list[dict[str, Any]]:
    wanted = request.query["dataset"][0]
    found = [each for each in host.examples.values() if each["dataset_id"] == wanted]
    start, limit = int(request.query["offset"][0]), int(request.query["limit"][0])
    return found[start : start + limit]


def _session(host: ExperimentHost, body: dict[str, Any]) -> dict[str, Any]:
    assert body["reference_dataset_id"] in host.datasets
    assert body["name"] not in {each["name"] for each in host.sessions.values()}
    made = {"id": str(uuid.uuid4()), "tenant_id": TENANT, "start_time": WHEN, **body}
    host.sessions[made["id"]] = made
    return made


def _ingest(host: ExperimentHost, request: Request) -> None:
    parts = parts_of(request)
    for name, part in parts.items():
        kind, _, rest = name.partition(".")
        if kind in ("post", "patch"):
            run_id, _, what = rest.partition(".")
            value = json.loads(part.content)
            run = host.runs.setdefault(run_id, {})
            run |= {what: value} if what else value
        elif kind == "feedback":
            host.feedback.append(json.loads(part.content))
