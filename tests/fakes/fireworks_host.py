"""Fireworks AI's data sets, jobs and models, held to the types of its own SDK. Needs the SDK."""

import itertools
import re
from typing import TYPE_CHECKING, Any, NotRequired, Required, get_args, get_origin
from urllib.parse import parse_qs, urlsplit

from fireworks.types import (
    Dataset,
    DatasetCreateParams,
    DpoJob,
    DpoJobCreateParams,
    Model,
    SupervisedFineTuningJob,
    SupervisedFineTuningJobCreateParams,
)
from typing_extensions import get_type_hints

from tests.fakes.loopback import Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ID = re.compile(r"[a-z][a-z0-9-]{0,61}[a-z0-9]")
_KINDS: dict[str, tuple[Any, Any]] = {
    "supervisedFineTuningJobs": (SupervisedFineTuningJobCreateParams, SupervisedFineTuningJob),
    "dpoJobs": (DpoJobCreateParams, DpoJob),
}
STATES = ("CREATING", "VALIDATING", "RUNNING", "RUNNING", "WRITING_RESULTS", "COMPLETED")


class FireworksHost:
    """The host; a job gets on by being looked at, and so does a data set that was uploaded."""

    def __init__(self, key: str = "fw-fake", account: str = "acme") -> None:
        self.key, self.account = key, account
        self.states: tuple[str, ...] = STATES
        self.status: dict[str, str] = {}
        self.looks_until_ready = 1
        self.page_size = 2
        self.requests: list[Request] = []
        self.faults: list[tuple[str, str, int, bool]] = []
        """Method, path and status of the answers to come, and whether the request is carried out first."""
        self.data_sets: dict[str, dict[str, Any]] = {}
        self.contents: dict[str, bytes] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.models: dict[str, dict[str, Any]] = {}
        self._looks: dict[str, Iterator[str]] = {}
        self._upload_looks: dict[str, int] = {}
        self.add_model("accounts/fireworks/models/qwen3-8b")

    def add_model(self, name: str) -> None:
        """Add a model that there is."""
        self.models[name] = {"name": name, "state": "READY"}
        Model.model_validate(self.models[name])

    def respond(self, method: str, url: str, headers: dict[str, str], content: bytes) -> Response:
        """Answer one request."""
        parts = urlsplit(url)
        request = Request(method, parts.path, parse_qs(parts.query), headers, content)
        self.requests.append(request)
        fault = next((f for f in self.faults if f[0] == method and re.fullmatch(f[1], request.path)), None)
        if fault:
            self.faults.remove(fault)
            if fault[3]:
                self._route(request)
            return _refusal(fault[2], "try again")
        return self._route(request)

    def sent(self, method: str, path: str) -> list[Request]:
        """The requests that came in."""
        return [r for r in self.requests if r.method == method and re.fullmatch(path, r.path)]

    def _route(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return _refusal(401, f"wrong key {self.key}")
        mine = rf"/v1/(accounts/{self.account}/"
        routes: tuple[tuple[str, str, Callable[..., Any]], ...] = (
            ("POST", mine + r"datasets)", self._create_data_set),
            ("POST", mine + r"datasets/[^/:]+):upload", self._upload),
            ("GET", mine + r"datasets/[^/:]+)", self._get_data_set),
            ("DELETE", mine + r"datasets/[^/:]+)", self._delete_data_set),
            ("POST", mine + r"(supervisedFineTuningJobs|dpoJobs))", self._create_job),
            ("GET", mine + r"(supervisedFineTuningJobs|dpoJobs))", self._list_jobs),
            ("GET", mine + r"(?:supervisedFineTuningJobs|dpoJobs)/[^/:]+)", self._get_job),
            (
                "POST",
                mine + r"(?:supervisedFineTuningJobs|dpoJobs)/[^/:]+):(cancel|resume)",
                self._act_on_job,
            ),
            ("GET", r"/v1/(accounts/[^/]+/models/[^/]+)", self._get_model),
        )
        for method, path, handler in routes:
            if request.method == method and (match := re.fullmatch(path, request.path)):
                body = handler(request, *match.groups())
                return body if isinstance(body, Response) else Response(200, body)
        return _refusal(404, f"no such path {request.path}")

    # --- data sets ---

    def _create_data_set(self, request: Request, parent: str) -> Any:
        body = request.body
        _hold_to(DatasetCreateParams, body)
        assert _ID.fullmatch(body["datasetId"]), body["datasetId"]
        assert int(body["dataset"]["exampleCount"]) > 0
        name = f"{parent}/{body['datasetId']}"
        if name in self.data_sets:
            return _refusal(409, f"dataset {name} already exists")
        self.data_sets[name] = {**body["dataset"], "name": name, "state": "UPLOADING"}
        Dataset.model_validate(self.data_sets[name])
        return self.data_sets[name]

    def _upload(self, request: Request, name: str) -> dict[str, Any]:
        head, _, rest = request.content.partition(b"\r\n\r\n")
        self.contents[name] = rest[: rest.rindex(b"\r\n--", 0, rest.rindex(b"--\r\n"))]
        assert b'name="file"' in head
        self._upload_looks[name] = self.looks_until_ready
        return {"filename": "f"}

    def _get_data_set(self, _: Request, name: str) -> Any:
        if name not in self.data_sets:
            return _refusal(404, f"dataset {name} not found")
        if name in self.contents:
            self._upload_looks[name] -= 1
            if self._upload_looks[name] <= 0:
                self.data_sets[name]["state"] = "READY"
        return self.data_sets[name]

    def _delete_data_set(self, _: Request, name: str) -> dict[str, Any]:
        del self.data_sets[name]
        self.contents.pop(name, None)
        return {}

    # --- jobs ---

    def _create_job(self, request: Request, parent: str, kind: str) -> Any:
        body = request.body
        _hold_to(_KINDS[kind][0], body)
        id_field = "dpoJobId" if kind == "dpoJobs" else "supervisedFineTuningJobId"
        job_id = request.query[id_field][0]
        assert _ID.fullmatch(job_id), job_id
        name = f"{parent}/{job_id}"
        training = body.get("trainingConfig", body)
        if name in self.jobs:
            return _refusal(409, f"job {name} already exists")
        if training["baseModel"] not in self.models:
            return _refusal(404, f"model {training['baseModel']} not found")
        for field in ("dataset", "evaluationDataset"):
            if field in body and self.data_sets.get(body[field], {}).get("state") != "READY":
                return _refusal(400, f"dataset {body[field]} is not ready")
        output = training.get("outputModel", f"ft-{len(self.jobs)}")
        training["outputModel"] = f"accounts/{self.account}/models/{output}"
        self.jobs[name] = {**body, "name": name, "state": f"JOB_STATE_{self.states[0]}", "percent": 0}
        self._looks[name] = itertools.chain(self.states[1:], itertools.repeat(self.states[-1]))
        return self._shown(name)

    def _shown(self, name: str) -> dict[str, Any]:
        job = {key: value for key, value in self.jobs[name].items() if key != "percent"}
        if "dpoJobs" not in name:
            job["jobProgress"] = {"percent": self.jobs[name]["percent"], "epoch": 1}
            job["updateTime"] = "2026-11-22T00:00:00Z"
        _KINDS[name.split("/")[2]][1].model_validate(job)
        return job

    def _list_jobs(self, request: Request, parent: str, kind: str) -> dict[str, Any]:
        names = sorted(name for name in self.jobs if name.startswith(f"{parent}/"))
        start = int(request.query.get("pageToken", ["0"])[0])
        end = start + self.page_size
        token = {"nextPageToken": str(end)} if end < len(names) else {}
        return {kind: [self._shown(name) for name in names[start:end]], **token}

    def _get_job(self, _: Request, name: str) -> Any:
        if name not in self.jobs:
            return _refusal(404, f"job {name} not found")
        job = self.jobs[name]
        if job["state"] != "JOB_STATE_CANCELLED":
            state, before = next(self._looks[name]), job["state"]
            job["state"] = f"JOB_STATE_{state}"
            job["percent"] = min(100, job["percent"] + 30) if state == "RUNNING" else job["percent"]
            if self.status and state == "FAILED":
                job["status"] = self.status
            # Once: a model that was deleted does not come back.
            if state == "COMPLETED" and before != "JOB_STATE_COMPLETED":
                self.add_model(job.get("trainingConfig", job)["outputModel"])
        return self._shown(name)

    def _act_on_job(self, _: Request, name: str, action: str) -> dict[str, Any]:
        self.jobs[name]["state"] = "JOB_STATE_CANCELLED" if action == "cancel" else "JOB_STATE_RUNNING"
        return {} if action == "cancel" else self._shown(name)

    def _get_model(self, _: Request, name: str) -> Any:
        return self.models.get(name) or _refusal(404, f"model {name} not found")


def _hold_to(params: Any, body: dict[str, Any]) -> None:
    """Refuse what the SDK's typed arguments, by the names that go over the wire, do not have."""
    names = set()
    for name, hint in get_type_hints(params, include_extras=True).items():
        while get_origin(hint) in (Required, NotRequired):
            hint = get_args(hint)[0]  # noqa: PLW2901
        aliases = [info.alias for info in getattr(hint, "__metadata__", ()) if info.alias]
        names.add(aliases[0] if aliases else name)
    assert body.keys() <= names, f"{params.__name__} has no {body.keys() - names}"


def _refusal(status: int, message: str) -> Response:
    return Response(status, {"error": {"message": message, "code": "code"}})
