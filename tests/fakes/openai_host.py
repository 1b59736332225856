"""A host of OpenAI's fine-tuning protocol that keeps what it is told, on loopback HTTP or as a transport.

It refuses what OpenAI's published schemas do not allow, and its own answers are held to them too. A job
gets on by being looked at, so nothing here waits. Faults are put in by hand, each for a number of requests,
before or after the request is carried out.
"""

import itertools
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx2

from tests.fakes.loopback import (
    Moment,
    Onlooker,
    Request,
    Response,
    headers_of,
    parts_of,
    request_of,
    serve,
)
from tests.fakes.openai_answers import (
    HostError,
    checkpoint_of,
    completion,
    completion_stream,
    fields_of,
    new_job,
    page_of,
    schema_errors,
)
from tests.fakes.openai_plan import Fault, Manners, Plan

Answerer = Callable[[dict[str, Any]], dict[str, Any]]


class FakeHost:
    """The host.

    Args:
        key: The key that it takes.
        bases: Base models that it lists.
    """

    def __init__(self, key: str = "sk-fake", bases: tuple[str, ...] = ("gpt-4.1-mini-2025-04-14",)) -> None:
        self.key = key
        self.plan = Plan()
        self.manners = Manners()
        self.onlooker: Onlooker = lambda _moment, _request: False
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.files: dict[str, dict[str, Any]] = {}
        self.contents: dict[str, bytes] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.events: dict[str, list[dict[str, Any]]] = {}
        self.models: dict[str, dict[str, Any]] = {base: self._model(base) for base in bases}
        self.answer: Answerer = lambda _: {"role": "assistant", "content": "Hello."}
        self.checkpoints: dict[str, list[dict[str, Any]]] = {}
        self.event_page_size = 20
        self._looks: dict[str, Iterator[str]] = {}
        self._unlisted: dict[str, int] = {}
        self._by_idempotency_key: dict[str, tuple[bytes, str]] = {}
        self._lock = threading.RLock()

    # --- what a test asks ---

    def sent(self, method: str, path: str) -> list[Request]:
        """The requests that came in."""
        return [r for r in self.requests if r.method == method and re.fullmatch(path, r.path)]

    def fail(
        self,
        method: str,
        path: str,
        answer: Response | BaseException | int,
        *,
        is_after: bool = False,
        times: int = 1,
    ) -> None:
        """Let the next matching requests fail."""
        if isinstance(answer, int):
            answer = HostError(answer, "The server had an error while processing your request").response
        self.faults.append(Fault(method, path, answer, is_after, times))

    # --- the wire ---

    def transport(self) -> httpx2.MockTransport:
        """A transport for the client that reaches this host without a network."""
        return httpx2.MockTransport(self._over_transport)

    def _over_transport(self, request: httpx2.Request) -> httpx2.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        response = self.respond(request.method, str(request.url), headers, request.read())
        if isinstance(response, BaseException):
            raise response
        return httpx2.Response(response.status, headers=headers_of(response), content=response.content)

    def serve(self) -> AbstractContextManager[str]:
        """Serve over HTTP; gives the base URL."""
        return serve(self.carry_out, self._look_on)

    def _look_on(self, moment: Moment, request: Request) -> bool:
        return self.onlooker(moment, request)

    def respond(
        self, method: str, url: str, headers: dict[str, str], content: bytes
    ) -> Response | BaseException:
        """Answer one request, or break the connection."""
        return self.carry_out(request_of(method, url, headers, content))

    def carry_out(self, request: Request) -> Response | Exception:
        """Answer one request, or break the connection."""
        with self._lock:
            self.requests.append(request)
            fault = self._fault(request)
            if fault and not fault.is_after:
                return fault.answer
            try:
                response = self._route(request)
            except HostError as e:
                response = e.response
            return fault.answer if fault else response

    def _fault(self, request: Request) -> Fault | None:
        for fault in self.faults:
            if fault.times and fault.method == request.method and re.fullmatch(fault.path, request.path):
                fault.times -= 1
                return fault
        return None

    def _route(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {self.key}":
            raise HostError(401, f"Incorrect API key provided: {self.key[:3]}***", "invalid_api_key")
        for method, path, handler, schema in (
            ("POST", r"/files", self._upload, "OpenAIFile"),
            ("GET", r"/files", self._list_files, "ListFilesResponse"),
            ("GET", r"/files/([^/]+)", self._retrieve_file, "OpenAIFile"),
            ("DELETE", r"/files/([^/]+)", self._delete_file, "DeleteFileResponse"),
            ("POST", r"/fine_tuning/jobs", self._create_job, "FineTuningJob"),
            ("GET", r"/fine_tuning/jobs", self._list_jobs, "ListPaginatedFineTuningJobsResponse"),
            ("GET", r"/fine_tuning/jobs/([^/]+)", self._retrieve_job, "FineTuningJob"),
            ("POST", r"/fine_tuning/jobs/([^/]+)/cancel", self._cancel_job, "FineTuningJob"),
            ("POST", r"/fine_tuning/jobs/([^/]+)/pause", self._pause_job, "FineTuningJob"),
            ("POST", r"/fine_tuning/jobs/([^/]+)/resume", self._resume_job, "FineTuningJob"),
            (
                "GET",
                r"/fine_tuning/jobs/([^/]+)/checkpoints",
                self._list_checkpoints,
                "ListFineTuningJobCheckpointsResponse",
            ),
            ("GET", r"/files/([^/]+)/content", self._download, None),
            (
                "GET",
                r"/fine_tuning/jobs/([^/]+)/events",
                self._list_events,
                "ListFineTuningJobEventsResponse",
            ),
            ("GET", r"/models/(.+)", self._retrieve_model, "Model"),
            ("GET", r"/models", self._list_models, "ListModelsResponse"),
            ("POST", r"/chat/completions", self._complete, "CreateChatCompletionResponse"),
        ):
            if request.method == method and (match := re.fullmatch(path, request.path)):
                body = handler(request, *match.groups())
                if isinstance(body, Response):
                    return body
                if schema is not None:
                    self._hold_to(schema, body)
                return Response(200, body)
        raise HostError(404, f"Invalid URL ({request.method} {request.path})")

    def _hold_to(self, schema: str, body: Any) -> None:
        # A plan may ask for states and error objects that the schema lacks and that real jobs have.
        odd = ("is not one of", "is not valid under any of the given schemas")
        errors = [error for error in schema_errors(schema, body) if not any(text in error for text in odd)]
        assert not errors, f"the fake host's {schema} is none: {errors}"

    # --- files ---

    def _upload(self, request: Request) -> dict[str, Any]:
        parts = parts_of(request)
        if parts["purpose"].content != b"fine-tune":
            raise HostError(400, "purpose has to be fine-tune", param="purpose")
        content = parts["file"].content
        file_id = f"file-{len(self.contents):024x}"
        self.contents[file_id] = content
        self.files[file_id] = {
            "id": file_id,
            "object": "file",
            "bytes": len(content),
            "created_at": int(time.time()),
            "filename": parts["file"].filename,
            "purpose": "fine-tune",
            "status": "processed",
        }
        return self.files[file_id]

    def _list_files(self, request: Request) -> dict[str, Any]:
        if not self.manners.lists_files:
            raise HostError(404, "Invalid URL (GET /v1/files)")
        [purpose] = request.query.get("purpose", ["fine-tune"])
        files = [file for file in reversed(self.files.values()) if file["purpose"] == purpose]
        return {**page_of(files, request, default=10_000, most=10_000), "first_id": "", "last_id": ""}

    def _retrieve_file(self, _: Request, file_id: str) -> dict[str, Any]:
        if file_id not in self.files:
            raise HostError(404, f"No such File object: {file_id}", param="id")
        return self.files[file_id]

    def _delete_file(self, _: Request, file_id: str) -> dict[str, Any]:
        if self.files.pop(file_id, None) is None:
            raise HostError(404, f"No such File object: {file_id}", param="id")
        return {"id": file_id, "object": "file", "deleted": True}

    # --- jobs ---

    def _create_job(self, request: Request) -> dict[str, Any]:
        body = request.body
        if errors := schema_errors("CreateFineTuningJobRequest", body):
            raise HostError(400, errors[0])
        # The schema lets fields pass that it does not name; the host does not.
        if unknown := body.keys() - fields_of("CreateFineTuningJobRequest"):
            raise HostError(400, f"Unrecognized request arguments supplied: {', '.join(sorted(unknown))}")
        if body["model"].startswith("no-such"):
            message = f"Model {body['model']} is not available for fine-tuning or does not exist."
            raise HostError(400, message, "model_not_available", "model")
        for name in ("training_file", "validation_file"):
            if name in body and body[name] not in self.files:
                raise HostError(400, f"{name} {body[name]} does not exist", "invalid_file", name)
        once = request.headers.get("idempotency-key") if self.manners.honors_idempotency else None
        if once in self._by_idempotency_key:
            content, job_id = self._by_idempotency_key[once]
            if content != request.content:
                raise HostError(400, f"This Idempotency-Key created job {job_id}", "idempotency_key_reused")
            return self.jobs[job_id]
        job_id = f"ftjob-{len(self.jobs):024x}"
        if once:
            self._by_idempotency_key[once] = request.content, job_id
        self._unlisted[job_id] = self.manners.listings_behind
        plan = self.plan
        metadata = {} if self.manners.drops_metadata else body.get("metadata", {})
        self.jobs[job_id] = new_job(job_id, body, plan.states[0], metadata)
        self.events[job_id] = []
        self.add_event(job_id, f"Created fine-tuning job: {job_id}")
        self._looks[job_id] = self._life(job_id, plan)
        return self.jobs[job_id]

    def _life(self, job_id: str, plan: Plan) -> Iterator[str]:
        """Each look gets the job one state on."""
        steps = iter(range(1, plan.num_steps + 1))
        a_look = max(1, plan.num_steps // max(1, plan.states.count("running")))
        for state in plan.states[1:]:
            if state == "running":
                for step in itertools.islice(steps, a_look):
                    self.add_metrics(job_id, step, plan.num_steps)
            if state in ("succeeded", "failed", "cancelled"):
                self._end(job_id, state, plan)
            yield state
        for _ in range(plan.model_late_by):
            yield plan.states[-1]
        if plan.states[-1] == "succeeded" and plan.model_late_by:
            self._name_model(job_id)
        while True:
            yield plan.states[-1]

    def _end(self, job_id: str, state: str, plan: Plan) -> None:
        job = self.jobs[job_id]
        job["finished_at"] = int(time.time())
        job["error"] = plan.error
        for event in plan.last_events:
            self.add_event(job_id, **event)
        if state == "succeeded":
            job["trained_tokens"] = 1000
            if not plan.model_late_by:
                self._name_model(job_id)

    def _name_model(self, job_id: str) -> None:
        job = self.jobs[job_id]
        name = f"ft:{job['model']}:fake:{job['user_provided_suffix'] or ''}:{job_id[-8:]}"
        job["fine_tuned_model"] = name
        self.models.setdefault(name, self._model(name))

    def add_event(self, job_id: str, message: str, level: str = "info", **more: Any) -> None:
        """Add an event to a job."""
        events = self.events[job_id]
        event = {
            "id": f"ftevent-{job_id[-4:]}{len(events):020x}",
            "object": "fine_tuning.job.event",
            "created_at": int(time.time()),
            "level": level,
            "message": message,
            "type": "message",
            **more,
        }
        events.append(event)

    def add_metrics(self, job_id: str, step: int, total: int) -> None:
        """Add a training step to a job."""
        loss = round(2.0 / step, 3)
        data = {"step": step, "total_steps": total, "train_loss": loss}
        message = f"Step {step}/{total}: training loss={loss}"
        # Two seconds a step, on the host's own clock.
        self.add_event(job_id, message, type="metrics", data=data, created_at=1_790_000_000 + 2 * step)

    def _job(self, job_id: str) -> dict[str, Any]:
        if job_id not in self.jobs:
            raise HostError(404, f"Could not find fine tune: {job_id}", "fine_tune_not_found", "fine_tune_id")
        return self.jobs[job_id]

    def _retrieve_job(self, _: Request, job_id: str) -> dict[str, Any]:
        job = self._job(job_id)
        if job["status"] != "cancelled":
            job["status"] = next(self._looks[job_id])
        return job

    def _cancel_job(self, _: Request, job_id: str) -> dict[str, Any]:
        job = self._job(job_id)
        if job["status"] in ("succeeded", "failed"):
            raise HostError(400, f"Job {job_id} has already ended", "job_terminal")
        job["status"] = "cancelled"
        return job

    def _pause_job(self, _: Request, job_id: str) -> dict[str, Any]:
        job = self._job(job_id)
        if job["status"] != "running":
            raise HostError(400, f"Job {job_id} is not running", "job_not_running")
        self._looks[job_id] = itertools.chain(["paused"] * 3, self._looks[job_id])
        job["status"] = "paused"
        return job

    def _resume_job(self, _: Request, job_id: str) -> dict[str, Any]:
        job = self._job(job_id)
        if job["status"] != "paused":
            raise HostError(400, f"Job {job_id} is not paused", "job_not_paused")
        self._looks[job_id] = itertools.dropwhile(lambda state: state == "paused", self._looks[job_id])
        job["status"] = "queued"
        return job

    def add_checkpoint(self, job_id: str, step: int, **metrics: float) -> str:
        """Add a checkpoint to a job and return the name of its model."""
        base = self.jobs[job_id]["model"]
        name = f"ft:{base}:fake::{job_id[-8:]}:ckpt-step-{step}"
        self.models[name] = self._model(name)
        checkpoint = checkpoint_of(job_id, name, step, metrics)
        self.checkpoints.setdefault(job_id, []).append(checkpoint)
        self.add_event(job_id, f"Checkpoint created at step {step} with Snapshot ID: {name}")
        return name

    def _list_checkpoints(self, request: Request, job_id: str) -> dict[str, Any]:
        self._job(job_id)
        return page_of(list(reversed(self.checkpoints.get(job_id, []))), request, default=10)

    def add_result_file(self, job_id: str, content: bytes) -> str:
        """Give a job a result file and return its id."""
        file_id = f"file-result-{job_id[-4:]}"
        self.contents[file_id] = content
        self.jobs[job_id]["result_files"] = [file_id]
        return file_id

    def _download(self, _: Request, file_id: str) -> bytes:
        if file_id not in self.contents:
            raise HostError(404, f"No such File object: {file_id}", param="id")
        return self.contents[file_id]

    def _list_jobs(self, request: Request) -> dict[str, Any]:
        wanted = {
            match[1]: values[0]
            for name, values in request.query.items()
            if (match := re.fullmatch(r"metadata\[(.+)\]", name)) and not self.manners.ignores_filter
        }
        jobs = [
            job
            for job in reversed(self.jobs.values())
            if all(job["metadata"].get(name) == value for name, value in wanted.items())
            and not self._unlisted.get(job["id"])
        ]
        self._unlisted = {job_id: max(0, left - 1) for job_id, left in self._unlisted.items()}
        return page_of(jobs, request, default=20)

    def _list_events(self, request: Request, job_id: str) -> dict[str, Any]:
        self._job(job_id)
        return page_of(list(reversed(self.events[job_id])), request, most=self.event_page_size)

    # --- models ---

    def _model(self, name: str) -> dict[str, Any]:
        created = int(time.time())
        return {"id": name, "object": "model", "created": created, "owned_by": "fake", "shutdown_date": None}

    def _retrieve_model(self, _: Request, name: str) -> dict[str, Any]:
        if name not in self.models:
            raise HostError(404, f"The model '{name}' does not exist", "model_not_found", "model")
        return self.models[name]

    def _list_models(self, _: Request) -> dict[str, Any]:
        return {"object": "list", "data": list(self.models.values())}

    def _complete(self, request: Request) -> dict[str, Any] | Response:
        body = request.body
        if errors := schema_errors("CreateChatCompletionRequest", body):
            raise HostError(400, errors[0])
        self._retrieve_model(request, body["model"])
        if body.get("stream"):
            stream = completion_stream(body["model"], self.answer(body))
            return Response(200, stream, {"content-type": "text/event-stream"})
        return completion(body["model"], self.answer(body))
