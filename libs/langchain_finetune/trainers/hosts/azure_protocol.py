"""Azure OpenAI, or Microsoft Foundry, at its `/openai/v1`: OpenAI's protocol, and a deployment of its own.

https://learn.microsoft.com/azure/foundry/openai/how-to/fine-tuning-deploy
"""

import json
import os
import re
from typing import Any, Final
from urllib.parse import urlsplit

from langchain_finetune.errors import DeploymentNeeded
from langchain_finetune.trainers.exchange import Exchange
from langchain_finetune.trainers.hosts import openai_clients, openai_protocol
from langchain_finetune.trainers.hosts.openai_clients import Endpoint
from langchain_finetune.trainers.jobs.job_state import JobState, read_job
from langchain_finetune.trainers.jobs.key import KEY_FIELD

_ARM: Final = "https://management.azure.com"
_ARM_VERSION: Final = "2024-10-01"
_NOT_V1: Final = re.compile(r"/openai/(deployments/[^/]+/)?$")
_FORMATS: Final = (
    (re.compile(r"phi", re.IGNORECASE), "Microsoft"),
    (re.compile(r"llama|meta", re.IGNORECASE), "Meta"),
    (re.compile(r"ministral|mistral", re.IGNORECASE), "Mistral AI"),
    (re.compile(r"qwen", re.IGNORECASE), "Alibaba"),
)
"""Who made a base, as a deployment's `model.format` calls it; any other is OpenAI's."""

# As at OpenAI.
CLIENT_ERROR = openai_protocol.CLIENT_ERROR
make_client = openai_protocol.make_client
make_async_client = openai_protocol.make_async_client
make_sync_client = openai_protocol.make_sync_client
require_answer = openai_protocol.require_answer
host_error = openai_protocol.host_error
find_upload = openai_protocol.find_upload
has_upload = openai_protocol.has_upload
upload = openai_protocol.upload
delete_file = openai_protocol.delete_file
job_body = openai_protocol.job_body
create_job = openai_protocol.create_job
jobs_on_file = openai_protocol.jobs_on_file
retrieve_job = openai_protocol.retrieve_job
cancel_job = openai_protocol.cancel_job
pause_job = openai_protocol.pause_job
resume_job = openai_protocol.resume_job
checkpoints = openai_protocol.checkpoints
download = openai_protocol.download
events_since = openai_protocol.events_since
retrieve_model = openai_protocol.retrieve_model


def endpoint_of(client: Any) -> Endpoint:
    """Return the v1 endpoint, also for a client of the dated API (`openai.AzureOpenAI`)."""
    base_url, key = openai_clients.endpoint_of(client)
    return Endpoint(_NOT_V1.sub("/openai/v1/", base_url), key)


def jobs_with_key(key: str) -> Exchange[list[JobState]]:
    """Return the jobs that carry a key, newest first: all are read, the filter is not documented here."""
    jobs = yield from openai_protocol.list_jobs()
    return [job for wire in jobs if (job := read_job(wire)).metadata.get(KEY_FIELD) == key]


def find_model(name: str) -> Exchange[dict[str, Any] | None]:
    """Return the host's model object, empty where it has none: its list is no proof that a model is gone."""
    return (yield from openai_protocol.find_model(name)) or {}


def is_model_ready(name: str, job_id: str) -> Exchange[bool]:
    """Tell that a tuned model is ready: ready to be deployed, which is another step."""
    del name, job_id
    yield from ()
    return True


def served_name(job: JobState, endpoint: Endpoint, deployment: str | None) -> Exchange[str]:
    """Return the deployment's name: at Azure a model is called by it.

    Raises:
        DeploymentNeeded: None is named. Making one needs a token of Azure's own management, which the key
            is not, and costs by the hour.
    """
    yield from ()
    if deployment:
        return deployment
    model = job.model or ""
    resource = _resource_of(endpoint.base_url)
    call = (
        f"az cognitiveservices account deployment create --resource-group {_group()} --name {resource} "
        f"--deployment-name <deployment> --model-name {model} --model-version 1 "
        f'--model-format "{_format_of(job.base)}" --sku-name Standard --sku-capacity 1'
    )
    msg = (
        f"job {job.id} has succeeded; at Azure its model {model} answers once it is deployed, which costs by "
        f"the hour. Run: {call}\n"
        f"or send, with a token of `az account get-access-token`: {_arm_call(resource, model, job.base)}\n"
        f'then: FineTuneRunnable("azure:{job.base}").attach("{job.id}")'
        '.to_chat_model(deployment="<deployment>"), or give `deployment="<deployment>"` to the trainer and '
        "run the same pipe again."
    )
    raise DeploymentNeeded(msg, job.id, model, call)


def _arm_call(resource: str, model: str, base: str) -> str:
    subscription = os.environ.get("AZURE_SUBSCRIPTION_ID") or "<subscription>"
    url = (
        f"{_ARM}/subscriptions/{subscription}/resourceGroups/{_group()}/providers/"
        f"Microsoft.CognitiveServices/accounts/{resource}/deployments/<deployment>?api-version={_ARM_VERSION}"
    )
    body = {
        "sku": {"name": "Standard", "capacity": 1},
        "properties": {"model": {"format": _format_of(base), "name": model, "version": "1"}},
    }
    return f"PUT {url} {json.dumps(body)}"


def _group() -> str:
    return os.environ.get("AZURE_RESOURCE_GROUP") or "<resource-group>"


def _resource_of(base_url: str) -> str:
    """Return the resource's name, which is the first label of its URL."""
    label, _, domain = (urlsplit(base_url).hostname or "").partition(".")
    return label if domain.endswith("azure.com") else "<resource>"


def _format_of(base: str) -> str:
    return next((maker for pattern, maker in _FORMATS if pattern.search(base)), "OpenAI")
