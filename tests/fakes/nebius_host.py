"""Nebius Token Factory: OpenAI's fake host, with what its own reference documents to be different.

https://docs.tokenfactory.nebius.com/api-reference/fine-tuning/create-a-fine-tuning-job
https://docs.tokenfactory.nebius.com/api-reference/models/create-a-custom-model
"""

import dataclasses
import json
import re
from typing import Any

import jsonschema

from tests.fakes.loopback import Request, Response
from tests.fakes.openai_answers import HostError, page_of
from tests.fakes.openai_host import FakeHost

_HYPERPARAMETERS = {
    "type": "object",
    "properties": {
        "n_epochs": {"type": "integer", "minimum": 1, "maximum": 20},
        "batch_size": {"type": "integer", "minimum": 1, "maximum": 32},
        "learning_rate": {"type": "number", "exclusiveMinimum": 0},
        "lora": {"type": "boolean"},
        "lora_r": {"type": "integer", "minimum": 1},
    },
}
_JOB = {
    "type": "object",
    "additionalProperties": False,
    "required": ["model", "training_file"],
    "properties": {
        "model": {"type": "string"},
        "training_file": {"type": "string"},
        "validation_file": {"type": "string"},
        "hyperparameters": _HYPERPARAMETERS,
        "method": {"type": "object"},
        "integrations": {"type": "array"},
        "seed": {"type": "integer"},
        "suffix": {"type": "string", "maxLength": 64},
        "tags": {"type": "string"},
        "from_checkpoint": {"type": "object"},
    },
    "not": {"required": ["method", "hyperparameters"]},
}
_MODEL = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "base_model", "source"],
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z0-9-]+$"},
        "base_model": {"type": "string"},
        "source": {"type": "string", "pattern": "^ftjob-[^:]+:ftckpt_[^:]+$"},
        "description": {"type": "string"},
    },
}


class NebiusHost(FakeHost):
    """The host; a deployment is `validating` for some looks, then `active`, or `error` if a test says so."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(bases=(), **settings)
        self.custom_models: list[dict[str, Any]] = []
        self.looks_until_active = 2
        self.looks_until_listed = 0
        self.deployment_ends_in = "active"

    def _route(self, request: Request) -> Response:
        if request.path == "/v0/models":
            if request.headers.get("authorization") != f"Bearer {self.key}":
                raise HostError(401, "Wrong key")
            body = self._deploy(request.body) if request.method == "POST" else self._list_custom_models()
            return Response(200, body)
        if match := re.fullmatch(r"/fine_tuning/jobs/([^/]+)/(checkpoints|pause|resume)", request.path):
            if match[2] != "checkpoints":
                raise HostError(404, "Not Found")
            return Response(200, page_of(self._checkpoints(match[1]), request))
        return super()._route(request)

    def _create_job(self, request: Request) -> dict[str, Any]:
        body = request.body
        for error in jsonschema.Draft202012Validator(_JOB).iter_errors(body):
            raise HostError(400, error.message)
        plain = {name: body[name] for name in ("model", "training_file", "validation_file") if name in body}
        job = super()._create_job(dataclasses.replace(request, content=json.dumps(plain).encode()))
        del job["metadata"], job["method"], job["user_provided_suffix"]
        job |= {"hyperparameters": body.get("hyperparameters", {}), "suffix": body.get("suffix")}
        return job

    def _name_model(self, job_id: str) -> None:
        """A tuned model has no name until it is deployed."""

    def _checkpoints(self, job_id: str) -> list[dict[str, Any]]:
        if self._job(job_id)["status"] != "succeeded":
            return []
        return [
            {
                "id": f"ftckpt_{step:08d}",
                "object": "fine_tuning.job.checkpoint",
                "created_at": 1_790_000_000,
                "fine_tuned_model_checkpoint": "",
                "fine_tuning_job_id": job_id,
                "metrics": {},
                "step_number": step,
            }
            for step in (8, 4)
        ]

    def _deploy(self, body: dict[str, Any]) -> dict[str, Any]:
        for error in jsonschema.Draft202012Validator(_MODEL).iter_errors(body):
            raise HostError(422, error.message)
        name = f"{body['base_model']}-LoRa:{body['name']}-{len(self.custom_models):04d}"
        model = {**body, "name": name, "created_at": 1, "status": "validating", "looks": 0}
        self.custom_models.append(model)
        return {key: value for key, value in model.items() if key != "looks"}

    def _list_custom_models(self) -> dict[str, Any]:
        listed = []
        for model in self.custom_models:
            model["looks"] += 1
            if model["looks"] > self.looks_until_listed + self.looks_until_active:
                model["status"] = self.deployment_ends_in
                self.models[model["name"]] = self._model(model["name"])
            if model["looks"] > self.looks_until_listed:
                listed.append({key: value for key, value in model.items() if key != "looks"})
        return {"object": "list", "data": listed}
