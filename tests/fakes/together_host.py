"""Together AI's fine-tunes, held to the types of its own SDK. Needs the SDK."""

import itertools
import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from together.lib.types.fine_tuning import FinetuneRequest
from together.types import FileResponse, FinetuneModelLimits, FinetuneResponse

from tests.fakes.loopback import Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_START = datetime(2026, 11, 22, tzinfo=UTC)
STATES = ("pending", "queued", "running", "running", "compressing", "uploading", "completed")


class TogetherHost:
    """The host; a job gets on by being looked at."""

    def __init__(self, key: str = "tgp-fake", base: str = "Qwen/Qwen3-8B") -> None:
        self.key, self.base = key, base
        self.states: tuple[str, ...] = STATES
        self.last_message: str | None = None
        self.requests: list[Request] = []
        self.faults: list[tuple[str, str, int]] = []
        """Method, path and status of the answers to come, each after the request is carried out."""
        self.files: dict[str, dict[str, Any]] = {}
        self.contents: dict[str, bytes] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.events: dict[str, list[dict[str, Any]]] = {}
        self.metrics: dict[str, list[dict[str, float]]] = {}
        self._looks: dict[str, Iterator[str]] = {}
        self._ticks = itertools.count()

    def respond(self, method: str, url: str, headers: dict[str, str], content: bytes) -> Response:
        """Answer one request."""
        parts = urlsplit(url)
        request = Request(method, parts.path, {}, headers, content)
        self.requests.append(request)
        response = self._route(request, f"{parts.scheme}://{parts.netloc}" if parts.netloc else "")
        for fault in self.faults:
            if method == fault[0] and re.fullmatch(fault[1], request.path):
                self.faults.remove(fault)
                return Response(fault[2], {"error": {"message": "try again", "type": "server_error"}})
        return response

    def sent(self, method: str, path: str) -> list[Request]:
        """The requests that came in."""
        return [r for r in self.requests if r.method == method and re.fullmatch(path, r.path)]

    def _route(self, request: Request, origin: str) -> Response:
        if request.method == "PUT" and (match := re.fullmatch(r"/bucket/(.+)", request.path)):
            self.contents[match[1]] = request.content
            return Response(200, {})
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return _refusal(401, f"Invalid API key provided: {self.key}")
        if request.method == "POST" and request.path == "/v1/files":
            return self._offer_upload(request, origin)
        routes: tuple[tuple[str, str, Callable[..., Any]], ...] = (
            ("GET", r"/v1/files", lambda _: {"data": list(self.files.values())}),
            ("GET", r"/v1/files/([^/]+)", self._retrieve_file),
            ("POST", r"/v1/files/([^/]+)/preprocess", self._finish_upload),
            ("DELETE", r"/v1/files/([^/]+)", self._delete_file),
            ("GET", r"/v1/fine-tunes/models/limits", lambda _: self._limits()),
            ("POST", r"/v1/fine-tunes/estimate-price", lambda _: self._price()),
            ("POST", r"/v1/fine-tunes", self._create_job),
            ("GET", r"/v1/fine-tunes", lambda _: {"data": list(self.jobs.values())}),
            ("GET", r"/v1/fine-tunes/([^/]+)", self._retrieve_job),
            ("POST", r"/v1/fine-tunes/([^/]+)/cancel", self._cancel_job),
            ("GET", r"/v1/fine-tunes/([^/]+)/events", self._list_events),
            ("GET", r"/v1/fine-tunes/([^/]+)/metrics", self._list_metrics),
        )
        for method, path, handler in routes:
            if request.method == method and (match := re.fullmatch(path, request.path)):
                body = handler(request, *match.groups())
                return body if isinstance(body, Response) else Response(200, body)
        return _refusal(404, f"no such path {request.path}")

    # --- files ---

    def _offer_upload(self, request: Request, origin: str) -> Response:
        fields = dict(re.findall(rb'name="(\w+)"\r\n(?:[^\r]+\r\n)*\r\n([^\r]*)\r\n', request.content))
        named = {name.decode(): value.decode() for name, value in fields.items()}
        assert named["purpose"] == "fine-tune", named
        assert named["file_type"] == "jsonl", named
        file_id = f"file-{len(self.files):08d}"
        same = [file for file in self.files.values() if file["checksum"] == named["checksum"]]
        if same:
            return Response(409, {"file_id": same[0]["id"], "error": {"message": "exists"}})
        self.files[file_id] = {"id": file_id, "filename": named["file_name"], "checksum": named["checksum"]}
        origin = origin or f"http://{request.headers['host']}"
        headers = {"location": f"{origin}/bucket/{file_id}", "x-together-file-id": file_id}
        return Response(302, b"", headers)

    def _finish_upload(self, _: Request, file_id: str) -> dict[str, Any]:
        file = self.files[file_id] | {
            "bytes": len(self.contents[file_id]),
            "created_at": 1_790_000_000,
            "FileType": "jsonl",
            "object": "file",
            "purpose": "fine-tune",
            "processing_status": "COMPLETED",
        }
        FileResponse.model_validate(file)
        self.files[file_id] = file
        return file

    def _retrieve_file(self, _: Request, file_id: str) -> Any:
        return self.files.get(file_id) or _refusal(404, f"file {file_id} not found")

    def _delete_file(self, _: Request, file_id: str) -> dict[str, Any]:
        del self.files[file_id]
        return {"id": file_id, "deleted": True}

    # --- jobs ---

    def _limits(self) -> dict[str, Any]:
        lora = {
            "default_rank": 8,
            "max_batch_size": 32,
            "max_batch_size_dpo": 16,
            "max_rank": 64,
            "min_batch_size": 8,
            "target_modules": ["q_proj"],
        }
        limits = {
            "default_gradient_accumulation_steps": 1,
            "lora_training": lora,
            "max_learning_rate": 1.0,
            "max_num_checkpoints": 10,
            "max_num_epochs": 20,
            "max_num_evals": 10,
            "max_seq_length_dpo": 8192,
            "max_seq_length_sft": 8192,
            "merge_output_lora": True,
            "min_learning_rate": 1e-9,
            "min_max_seq_length": 64,
            "model_name": self.base,
            "supports_full_training": False,
            "supports_reasoning": False,
            "supports_tools": True,
            "supports_vision": False,
        }
        FinetuneModelLimits.model_validate(limits)
        return limits

    def _price(self) -> dict[str, Any]:
        return {
            "allowed_to_proceed": True,
            "estimated_eval_token_count": 0,
            "estimated_total_price": 1.0,
            "estimated_train_token_count": 1000,
            "estimation_available": True,
            "user_limit": 100.0,
        }

    def _create_job(self, request: Request) -> Any:
        body = request.body
        if unknown := body.keys() - FinetuneRequest.model_fields.keys():
            return _refusal(400, f"unknown fields {sorted(unknown)}")
        FinetuneRequest.model_validate(body)
        if body["model"] != self.base:
            return _refusal(404, f"model {body['model']} is not available for fine-tuning")
        if len(body.get("suffix") or "") > 40:
            return _refusal(400, "suffix is longer than 40")
        if body["training_file"] not in self.files:
            return _refusal(400, "no such training file")
        job_id = f"ft-{len(self.jobs):08x}"
        now = (_START + timedelta(seconds=len(self.jobs))).isoformat()
        self.jobs[job_id] = {
            "id": job_id,
            "status": self.states[0],
            "user_id": "u-1",
            "created_at": now,
            "updated_at": now,
            "model": body["model"],
            "model_output_name": f"acme/Qwen3-8B-{body['suffix']}-{job_id[-8:]}",
            "adapter_output_name": None,
            "suffix": body["suffix"],
            "training_file": body["training_file"],
            "training_method": body["training_method"],
            "random_seed": body.get("random_seed"),
            "n_epochs": body["n_epochs"],
        }
        self.events[job_id], self.metrics[job_id] = [], []
        self._add_event(job_id, "job_pending", "Fine-tune request created")
        self._looks[job_id] = itertools.chain(self.states[1:], itertools.repeat(self.states[-1]))
        return self.jobs[job_id]

    def _job(self, job_id: str) -> Any:
        return self.jobs.get(job_id) or _refusal(404, f"job {job_id} not found")

    def _retrieve_job(self, _: Request, job_id: str) -> Any:
        job = self._job(job_id)
        if isinstance(job, Response) or job["status"] == "cancelled":
            return job
        job["status"] = next(self._looks[job_id])
        if job["status"] == "running":
            step = len(self.metrics[job_id]) + 1
            self.metrics[job_id].append({"train/global_step": step, "train/loss": 2.0 / step})
        if job["status"] == "error" and self.last_message:
            self._add_event(job_id, "job_error", self.last_message, "error")
            self.last_message = None
        FinetuneResponse.model_validate(job)
        return {**job, "events": self.events[job_id]}

    def _cancel_job(self, _: Request, job_id: str) -> Any:
        job = self._job(job_id)
        if not isinstance(job, Response):
            job["status"] = "cancelled"
        return job

    def _add_event(self, job_id: str, kind: str, message: str, level: str = "info") -> None:
        at = (_START + timedelta(seconds=next(self._ticks))).isoformat()
        event = {"created_at": at, "message": message, "object": "fine-tune-event", "type": kind}
        self.events[job_id].append({**event, "level": level})

    def _list_events(self, _: Request, job_id: str) -> Any:
        job = self._job(job_id)
        return job if isinstance(job, Response) else {"data": self.events[job_id]}

    def _list_metrics(self, _: Request, job_id: str) -> Any:
        return {"metrics": self.metrics[job_id]}


def _refusal(status: int, message: str) -> Response:
    return Response(status, {"error": {"message": message, "type": "invalid_request_error", "code": None}})


def last_body(host: TogetherHost) -> dict[str, Any]:
    """What the last job was created with."""
    body: dict[str, Any] = json.loads(host.sent("POST", "/v1/fine-tunes")[-1].content)
    return body
