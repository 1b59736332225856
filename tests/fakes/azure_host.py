"""Azure OpenAI: OpenAI's fake host, with what Microsoft documents to be different."""

import dataclasses
import json
import re
from typing import Any

from tests.fakes.loopback import Request, Response
from tests.fakes.openai_answers import HostError
from tests.fakes.openai_host import FakeHost

TRAINING_TYPES = ("Standard", "GlobalStandard", "developerTier")


class AzureHost(FakeHost):
    """The host at `/openai/v1`; a tuned model answers once a test has put it into `deployments`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(bases=("gpt-4.1-2025-04-14",), **settings)
        self.deployments: dict[str, str] = {}
        self.training_types: list[str | None] = []

    def respond(self, method: str, url: str, headers: dict[str, str], content: bytes) -> Response | Exception:
        assert "/openai/v1/" in url, f"Azure's v1 API is under /openai/v1, not {url}"
        return super().respond(method, url.replace("/openai/v1/", "/v1/"), headers, content)

    def _create_job(self, request: Request) -> dict[str, Any]:
        body = request.body
        training_type = body.pop("trainingType", None)
        if training_type not in (None, *TRAINING_TYPES):
            raise HostError(400, f"trainingType {training_type} is not supported")
        suffix = body.get("suffix") or ""
        if len(suffix) > 18 or "." in suffix:
            raise HostError(400, "The suffix is invalid", param="suffix")
        self.training_types.append(training_type)
        return super()._create_job(dataclasses.replace(request, content=json.dumps(body).encode()))

    def _name_model(self, job_id: str) -> None:
        job = self.jobs[job_id]
        job["fine_tuned_model"] = f"{job['model']}.ft-{job_id[-8:]}"

    def _list_jobs(self, request: Request) -> dict[str, Any]:
        # The filter is not known here, and not refused.
        known = {name: value for name, value in request.query.items() if "metadata" not in name}
        return super()._list_jobs(dataclasses.replace(request, query=known))

    def _complete(self, request: Request) -> dict[str, Any]:
        name = request.body["model"]
        if name not in self.deployments:
            message = "The API deployment for this resource does not exist."
            raise HostError(404, message, "DeploymentNotFound")
        self.models[name] = self._model(name)
        return super()._complete(request)

    def deploy(self, call: str, name: str) -> None:
        """Do what a call of the command line would do."""
        arguments = dict(re.findall(r'--([\w-]+) "?([^\s"]+)', call))
        assert arguments.keys() >= {"resource-group", "name", "model-name", "model-version", "model-format"}
        assert any(job["fine_tuned_model"] == arguments["model-name"] for job in self.jobs.values())
        self.deployments[name] = arguments["model-name"]
