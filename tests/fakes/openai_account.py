"""A host with an account that has a past: files to be listed and read, old jobs, limits, a tokenizer."""

import re
from typing import Any

from tests.fakes.loopback import Request, Response
from tests.fakes.openai_answers import HostError, page_of, schema_errors
from tests.fakes.openai_host import FakeHost

OLD_BASE = "gpt-4o-mini-2024-07-18"
OLD_MODEL = "ft:gpt-4o-mini-2024-07-18:acme::abc123"


class FakeAccount(FakeHost):
    """The host, with what an account can read of it."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.limits: list[dict[str, Any]] | None = None
        """None is a host without the route."""
        self.tokens_per_row: int | None = None
        """None is a host without a tokenizer."""
        self.page_size = 100

    def add_file(self, content: bytes, name: str = "train.jsonl") -> str:
        """A file that was uploaded long ago."""
        file_id = f"file-old{len(self.contents)}"
        self.contents[file_id] = content
        self.files[file_id] = {
            "id": file_id,
            "object": "file",
            "bytes": len(content),
            "created_at": 1_700_000_000,
            "filename": name,
            "purpose": "fine-tune",
            "status": "processed",
        }
        return file_id

    def add_job(self, content: bytes = b"", *, is_listed: bool = True, **fields: Any) -> str:
        """A job that succeeded long ago, and its model."""
        job_id = f"ftjob-old{len(self.jobs)}"
        file_id = fields.pop("training_file", None) or self.add_file(content)
        job = {
            "id": job_id,
            "object": "fine_tuning.job",
            "created_at": 1_700_000_000 + len(self.jobs),
            "error": {},
            "fine_tuned_model": OLD_MODEL,
            "finished_at": 1_700_000_100,
            "hyperparameters": {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 1.8},
            "model": OLD_BASE,
            "organization_id": "org-fake",
            "result_files": [],
            "status": "succeeded",
            "trained_tokens": 1000,
            "training_file": file_id,
            "validation_file": None,
            "seed": 42,
            "method": {"type": "supervised"},
            "metadata": {},
            "user_provided_suffix": None,
            **fields,
        }
        self.jobs[job_id] = job
        self.events[job_id] = []
        self._looks[job_id] = iter(lambda: job["status"], object())
        if is_listed and job["fine_tuned_model"]:
            self.models[job["fine_tuned_model"]] = self._model(job["fine_tuned_model"])
        return job_id

    def shut_down_on(self, base: str, day: str | None) -> None:
        """Let the host tell a day on which a base ends."""
        self.models[base] = self._model(base) | {"shutdown_date": day}

    def _route(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return super()._route(request)
        for method, path, handler in (
            ("GET", r"/files", self._list_files),
            ("GET", r"/files/([^/]+)", self._retrieve_file),
            ("GET", r"/files/([^/]+)/content", self._content),
            ("GET", r"/fine_tuning/model_limits", self._limits),
            ("POST", r"/tokenize", self._tokenize),
        ):
            if request.method == method and (match := re.fullmatch(path, request.path)):
                return handler(request, *match.groups())
        return super()._route(request)

    def _hold_to(self, schema: str, body: Any) -> None:
        # Real jobs of other methods have no seed and no hyperparameters, whatever the schema says.
        odd = {"hyperparameters": {"n_epochs": "auto"}, "seed": 7}
        if schema == "FineTuningJob":
            body = {**body, **{name: value for name, value in odd.items() if body[name] is None}}
        super()._hold_to(schema, body)

    def _list_files(self, request: Request) -> Response:
        assert request.query["purpose"] == ["fine-tune"]
        page = page_of(list(reversed(self.files.values())), request, most=self.page_size)
        ids = [file["id"] for file in page["data"]] or [""]
        page |= {"first_id": ids[0], "last_id": ids[-1]}
        assert not schema_errors("ListFilesResponse", page)
        return Response(200, page)

    def _retrieve_file(self, _: Request, file_id: str) -> Response:
        if file_id not in self.files:
            raise HostError(404, f"No such File object: {file_id}", param="id")
        return Response(200, self.files[file_id])

    def _content(self, request: Request, file_id: str) -> Response:
        self._retrieve_file(request, file_id)
        return Response(200, self.contents[file_id], {"content-type": "application/octet-stream"})

    def _limits(self, _: Request) -> Response:
        if self.limits is None:
            raise HostError(404, "Invalid URL (GET /v1/fine_tuning/model_limits)")
        return Response(200, {"object": "list", "data": self.limits})

    def _tokenize(self, request: Request) -> Response:
        body = request.body
        if self.tokens_per_row is None:
            raise HostError(404, "Invalid URL (POST /v1/tokenize)")
        assert body.keys() <= {"model", "messages", "tools", "functions", "add_generation_prompt"}
        assert body["messages"][-1]["role"] == "assistant"
        return Response(200, {"count": self.tokens_per_row, "max_model_len": 8192, "tokens": []})

    def _list_jobs(self, request: Request) -> dict[str, Any]:
        request.query["limit"] = [str(min(int(request.query.get("limit", ["20"])[0]), self.page_size))]
        return super()._list_jobs(request)
