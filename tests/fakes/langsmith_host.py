"""A LangSmith over real HTTP: both query APIs, projects, feedback and ingestion, its limits and its failures.

It refuses what the real one refuses: unknown columns, more than a page, a query without its project. What is
not known of the real one is played both ways by its fields.
"""

import json
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from langsmith.types.run_select_field import RunSelectField

from tests.fakes.langsmith_filters import holds, instant, parsed
from tests.fakes.loopback import Request, Response, parts_of, serve

KEY = "lsv2_test_key"
WORKSPACE = "11111111-2222-3333-4444-555555555555"
NEW = {"version": "0.17.2", "instance_flags": {"sdb_query_enabled": True}}
OLD = {"version": "0.15.0", "instance_flags": {}}
COLUMNS_V1 = frozenset(
    (
        "id",
        "trace_id",
        "parent_run_id",
        "parent_run_ids",
        "session_id",
        "dotted_order",
        "name",
        "run_type",
        "start_time",
        "end_time",
        "inputs",
        "outputs",
        "extra",
        "error",
        "status",
        "tags",
        "feedback_stats",
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
    )
)
CUT = "cut"
INGESTION = {
    "use_multipart_endpoint": True,
    "scale_up_qsize_trigger": 1000,
    "scale_up_nthreads_limit": 4,
    "scale_down_nempty_trigger": 4,
    "size_limit": 100,
    "size_limit_bytes": 20_971_520,
}


@dataclass
class Failure:
    """An answer that is none."""

    status: int | str
    """An HTTP status, or `CUT`: the connection is reset."""
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = field(default_factory=lambda: {"detail": "broken"})


@dataclass
class LangSmithHost:
    """What the host holds and what it was asked."""

    url: str = ""
    info: dict[str, Any] = field(default_factory=lambda: OLD)
    project: str = "my-app"
    project_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    project_start: str = "2026-01-01T00:00:00"
    runs: list[dict[str, Any]] = field(default_factory=list)
    feedback: list[dict[str, Any]] = field(default_factory=list)
    queries: list[dict[str, Any]] = field(default_factory=list)
    """Bodies of the queries for runs."""
    requests: list[Request] = field(default_factory=list)
    failures: dict[int, list[Failure]] = field(default_factory=dict)
    """What to answer instead, by the number of the query for runs; one after the other."""
    page_v1: int = 100
    page_v2: int = 1000
    most_ids: int = 1000
    excludes_start: bool = False
    """Whether the second API takes `min_start_time` as exclusive."""
    needs_workspace: bool = False
    key_header: str = "x-api-key"
    clock: Callable[[], float] | None = None
    """With a clock, more than fifteen queries in ten seconds are refused."""
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    reached: Callable[[int], None] = lambda _: None
    """Told the number of each query before it is answered."""
    num_limited: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    recent: deque[float] = field(default_factory=deque)

    def fails(self, number: int, *statuses: int | str, **headers: str) -> None:
        """Answer the query of this number with failures."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.failures[number] = [Failure(status, named) for status in statuses]


class RefusedError(Exception):
    """What the host answers with an error."""

    def __init__(self, status: int, detail: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


@contextmanager
def langsmith_host(**fields: Any) -> Iterator[LangSmithHost]:
    """Serve a host on loopback."""
    host = LangSmithHost(**fields)
    with serve(lambda request: _answer(host, request), lambda *_: False) as url:
        host.url = url.removesuffix("/v1")
        yield host


def _answer(host: LangSmithHost, request: Request) -> Response | Exception:
    with host.lock:
        host.requests.append(request)
        try:
            return _carry_out(host, request)
        except RefusedError as e:
            return Response(e.status, {"detail": e.detail})


def _carry_out(host: LangSmithHost, request: Request) -> Response | Exception:
    path = request.path.removeprefix("/api/v1")
    if path == "/info":
        return Response(200, {"batch_ingest_config": INGESTION, **host.info})
    _authorize(host, request)
    match request.method, path:
        case "GET", "/sessions":
            answer: Response | Exception = Response(200, _projects(host, request.query["name"]))
        case "GET", "/feedback":
            answer = Response(200, _feedback(host, request))
        case "POST", "/feedback":
            answer = Response(200, _add_feedback(host, request.body))
        case "POST", "/runs/query":
            answer = _query(host, request.body, _page_v1)
        case "POST", "/api/v2/runs/query":
            answer = _query(host, request.body, _page_v2)
        case "POST", "/runs/multipart":
            _ingest_parts(host, request)
            answer = Response(202, {})
        case _:
            raise RefusedError(404, "Not found")
    return answer


def _authorize(host: LangSmithHost, request: Request) -> None:
    if request.headers.get(host.key_header) != KEY:
        raise RefusedError(401, "Invalid token")
    if host.needs_workspace and request.headers.get("x-tenant-id") != WORKSPACE:
        raise RefusedError(403, {"error": "org_scoped_key_requires_workspace"})


def _projects(host: LangSmithHost, names: list[str]) -> list[dict[str, Any]]:
    found: dict[str, Any] = {"id": host.project_id, "name": host.project, "tenant_id": host.project_id}
    found |= {"start_time": host.project_start, "reference_dataset_id": None}
    return [found] if host.project in names else []


def _query(host: LangSmithHost, body: dict[str, Any], page: Any) -> Response | Exception:
    host.queries.append(body)
    number = len(host.queries)
    host.reached(number)
    if waiting := host.failures.get(number):
        failure = waiting.pop(0)
        if waiting:
            host.failures[number + 1] = [*waiting, *host.failures.get(number + 1, ())]
        if failure.status == CUT:
            return ConnectionResetError()
        return Response(int(failure.status), failure.body, failure.headers)
    if host.clock is not None:
        while host.recent and host.recent[0] <= host.clock() - 10:
            host.recent.popleft()
        if len(host.recent) >= 15:
            host.num_limited += 1
            return Response(429, {"detail": "Rate limit exceeded"})
        host.recent.append(host.clock())
    return Response(200, page(host, body))


def _page_v1(host: LangSmithHost, body: dict[str, Any]) -> dict[str, Any]:
    if unknown := set(body["select"]) - COLUMNS_V1:
        place = [{"loc": ["body", "select", 0], "msg": f"unknown column {sorted(unknown)}"}]
        raise RefusedError(422, place)
    if body.get("limit", host.page_v1) > 100 or len(body.get("id", ())) > 100:
        raise RefusedError(400, "limit must be at most 100")
    if "id" in body:  # the server ignores every other condition then
        found = [run for run in host.runs if run["id"] in body["id"]]
    else:
        if not body.get("session"):
            raise RefusedError(400, "at least one of session, id, parent_run, trace is required")
        start = instant(body.get("start_time") or "2000-01-01")
        found = _found(host, body, body["session"], lambda run: instant(run["start_time"]) >= start)
    rows, end = _rows(found, body, host.page_v1)
    shown = [{name: run[name] for name in body["select"] if name in run} for run in rows]
    return {"runs": shown, "cursors": {"next": end}}


def _page_v2(host: LangSmithHost, body: dict[str, Any]) -> dict[str, Any]:
    if host.info == OLD:
        raise RefusedError(404, "Not found")
    selects = body.get("selects", ["ID"])
    if unknown := set(selects) - set(get_args(RunSelectField)):
        raise RefusedError(422, [{"loc": ["body", "selects"], "msg": f"unknown {sorted(unknown)}"}])
    size = body.get("page_size", 100)
    if not 1 <= size <= 1000 or len(body.get("ids", ())) > host.most_ids:
        raise RefusedError(400, "page_size must be between 1 and 1000")
    for project in body["project_ids"]:
        uuid.UUID(project)
    low = instant(body.get("min_start_time") or (host.now - timedelta(days=1)).isoformat())
    low += timedelta(microseconds=host.excludes_start)
    high = instant(body.get("max_start_time") or host.now.isoformat())
    wanted = body.get("ids")
    lower = {**body, "run_type": body["run_type"].lower()} if "run_type" in body else body
    found = _found(
        host,
        lower,
        body["project_ids"],
        lambda run: low <= instant(run["start_time"]) <= high and (wanted is None or run["id"] in wanted),
    )
    rows, end = _rows(found, body, min(size, host.page_v2))
    return {"items": [_shown_v2(run, selects) for run in rows], "next_cursor": end}


def _shown_v2(run: dict[str, Any], selects: list[str]) -> dict[str, Any]:
    parents = run.get("parent_run_ids") or ([run["parent_run_id"]] if run.get("parent_run_id") else [])
    renamed = {**run, "project_id": run.get("session_id"), "parent_run_ids": parents}
    renamed["run_type"] = run["run_type"].upper()
    renamed["status"] = str(run.get("status") or "success").upper()
    return {name.lower(): renamed[name.lower()] for name in selects if name.lower() in renamed}


def _found(
    host: LangSmithHost, body: dict[str, Any], projects: list[str], fits: Callable[[dict[str, Any]], bool]
) -> list[dict[str, Any]]:
    try:
        own, root, tree = (parsed(body.get(name)) for name in ("filter", "trace_filter", "tree_filter"))
    except ValueError as e:
        raise RefusedError(400, "Invalid filter") from e
    by_id = {run["id"]: run for run in host.runs}
    return sorted(
        (
            run
            for run in host.runs
            if host.project_id in projects
            and body.get("run_type") in (None, run["run_type"])
            and body.get("is_root") in (None, not run.get("parent_run_id"))
            and fits(run)
            and holds(own, run)
            and holds(root, by_id.get(run["trace_id"], run))
            and (
                tree is None or any(holds(tree, it) for it in host.runs if it["trace_id"] == run["trace_id"])
            )
        ),
        key=lambda run: instant(run["start_time"]),
        reverse=True,
    )


def _rows(
    found: list[dict[str, Any]], body: dict[str, Any], size: int
) -> tuple[list[dict[str, Any]], str | None]:
    start = int(body.get("cursor") or 0)
    end = start + size
    return found[start:end], str(end) if end < len(found) else None


def _feedback(host: LangSmithHost, request: Request) -> list[dict[str, Any]]:
    runs, limit = request.query["run"], int(request.query["limit"][0])
    if limit > 100 or len(runs) > 100:
        raise RefusedError(422, "limit must be at most 100")
    offset = int(request.query["offset"][0])
    return [record for record in host.feedback if record["run_id"] in runs][offset : offset + limit]


def _add_feedback(host: LangSmithHost, record: dict[str, Any]) -> dict[str, Any]:
    host.feedback.append({**record, "id": str(uuid.uuid4())})
    for run in host.runs:
        if run["id"] == record["run_id"] and record.get("score") is not None:
            run["feedback_stats"] = {
                **(run["feedback_stats"] or {}),
                record["key"]: {"n": 1, "avg": record["score"]},
            }
    return record


def _ingest_parts(host: LangSmithHost, request: Request) -> None:
    for name, part in parts_of(request).items():
        _, run_id, *place = name.split(".")
        value = json.loads(part.content)
        _ingest(host, {"id": run_id, place[0]: value} if place else {**value, "id": run_id})


def _ingest(host: LangSmithHost, sent: dict[str, Any]) -> None:
    run = next((run for run in host.runs if run["id"] == sent["id"]), None)
    if run is None:
        run = {"feedback_stats": None, "tags": [], "parent_run_id": None}
        host.runs.append(run)
    run |= {name: value for name, value in sent.items() if value is not None}
    run["session_id"] = host.project_id
