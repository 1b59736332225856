"""Nebius Token Factory: OpenAI's protocol without metadata and pause, and a model that has to be deployed.

https://docs.tokenfactory.nebius.com/api-reference/introduction
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from langchain_finetune.errors import HostError, JobError, JobTimeoutError, NotSupportedError
from langchain_finetune.hosts import NEBIUS, Host
from langchain_finetune.trainers.exchange import Call, Exchange, Sleep
from langchain_finetune.trainers.hosts import openai_protocol
from langchain_finetune.trainers.hosts.openai_clients import Endpoint
from langchain_finetune.trainers.hosts.refusals import is_ambiguous, is_transient
from langchain_finetune.trainers.jobs.job_state import SUCCEEDED, JobState, read_job
from langchain_finetune.trainers.jobs.key import KEY_FIELD, tag_of

_DEPLOY_POLL_SECONDS: Final = 10.0
_MOST_DEPLOY_POLLS: Final = 180
"""Half an hour for a deployment, which takes some minutes."""

_MODELS: Final = "models"

# As at OpenAI.
CLIENT_ERROR = openai_protocol.CLIENT_ERROR
make_client = openai_protocol.make_client
make_async_client = openai_protocol.make_async_client
make_sync_client = openai_protocol.make_sync_client
endpoint_of = openai_protocol.endpoint_of
host_error = openai_protocol.host_error
find_upload = openai_protocol.find_upload
has_upload = openai_protocol.has_upload
upload = openai_protocol.upload
delete_file = openai_protocol.delete_file
job_body = openai_protocol.job_body
create_job = openai_protocol.create_job
jobs_on_file = openai_protocol.jobs_on_file
cancel_job = openai_protocol.cancel_job
checkpoints = openai_protocol.checkpoints
download = openai_protocol.download
events_since = openai_protocol.events_since
retrieve_model = openai_protocol.retrieve_model


def require_answer(answer: Any, host: Host) -> Any:
    """Return what the client returned; the models' own calls are outside OpenAI's types.

    Raises:
        HostError: It is no answer of the API.
    """
    if isinstance(answer, dict | list):
        return answer
    return openai_protocol.require_answer(answer, host)


def jobs_with_key(key: str) -> Exchange[list[JobState]]:
    """Return the jobs that carry a key in their suffix, newest first: a job has no metadata here."""
    found = []
    for wire in (yield from openai_protocol.list_jobs()):
        if str(wire.get("suffix") or "").endswith(tag_of(key)):
            job = _named(read_job(wire))
            found.append(replace(job, metadata={**job.metadata, KEY_FIELD: key}))
    return found


def retrieve_job(job_id: str, *, is_poll: bool = False) -> Exchange[JobState]:
    """Look at a job.

    Args:
        job_id: Its id.
        is_poll: Whether this look is one of many.

    Raises:
        JobNotFoundError: The host has no such job.
    """
    return _named((yield from openai_protocol.retrieve_job(job_id, is_poll=is_poll)))


def find_model(name: str) -> Exchange[dict[str, Any] | None]:
    """Return the host's model object, empty where it has none: what can be trained may not be served."""
    return (yield from openai_protocol.find_model(name)) or {}


def pause_job(job_id: str) -> Exchange[JobState]:
    """Refuse to pause a job.

    Raises:
        NotSupportedError: Always.
    """
    yield from ()
    msg = f"{NEBIUS.title} cannot pause a job: {job_id} goes on. It can be cancelled."
    raise NotSupportedError(msg)


def resume_job(job_id: str) -> Exchange[JobState]:
    """Refuse to resume a job.

    Raises:
        NotSupportedError: Always.
    """
    yield from ()
    msg = f"{NEBIUS.title} has no paused jobs, so that {job_id} cannot be resumed."
    raise NotSupportedError(msg)


def is_model_ready(name: str, job_id: str) -> Exchange[bool]:
    """Tell that a tuned model is ready: ready to be deployed, which is another step."""
    del name, job_id
    yield from ()
    return True


def served_name(job: JobState, endpoint: Endpoint, deployment: str | None) -> Exchange[str]:
    """Return the name that a job's model is called by, deployed first where it is not yet.

    The deployment is found again by its source, so that a second call, or another process, makes no second.

    Args:
        job: The job.
        endpoint: Where its model is called.
        deployment: What the model is to be called; None is a name after the job's id.

    Raises:
        JobError: The host could not deploy it, or the job has no checkpoint.
        JobTimeoutError: The deployment takes longer than half an hour; it goes on.
    """
    name = deployment or f"ft-{''.join(filter(str.isalnum, job.id))[-12:].lower()}"
    url = _models_url(endpoint)
    is_asked = False
    for _ in range(_MOST_DEPLOY_POLLS):
        try:
            model = yield from _find_deployed(url, job.id, name)
        except HostError as e:
            # The job is paid for, and looking costs nothing; what is not seen is not deployed a second time.
            if not is_transient(e):
                raise
            yield Sleep(_DEPLOY_POLL_SECONDS)
            continue
        if model is None:
            # What was accepted may take a moment to be listed: to ask again would be a second deployment.
            is_asked = is_asked or (yield from _deploy(url, job, name))
        elif model.get("status") == "error":
            msg = (
                f"{NEBIUS.title} could not deploy the model of job {job.id} as {model.get('name')}: "
                f"{model.get('status_reason') or 'it gives no reason'}. Delete that model and try again."
            )
            raise JobError(msg, job.id)
        elif model.get("status") == "active":
            return str(model["name"])
        yield Sleep(_DEPLOY_POLL_SECONDS)
    msg = (
        f"{NEBIUS.title} has not deployed the model of job {job.id} yet: call `to_chat_model()` again later."
    )
    raise JobTimeoutError(msg, job.id)


def _named(job: JobState) -> JobState:
    # The tuned model has no name of its own until it is deployed.
    return replace(job, model=job.id) if job.status == SUCCEEDED and job.model is None else job


def deployed_model(answer: Any, job_id: str, name: str) -> Mapping[str, Any] | None:
    """Return the model that was deployed of a job under a name, out of the host's list; pure."""
    models = (answer.get("data") or answer.get(_MODELS)) if isinstance(answer, Mapping) else answer
    for model in models if isinstance(models, list) else []:
        if not isinstance(model, Mapping) or model.get("status") == "deleted":
            continue
        # The host calls it `<base>-LoRa:<name>-<four letters>`.
        is_same = str(model.get("name")).rpartition(":")[2].rpartition("-")[0] == name
        if is_same and str(model.get("source")).startswith(f"{job_id}:"):
            return model
    return None


def _models_url(endpoint: Endpoint) -> str:
    # Beside /v1 and not under it.
    return f"{endpoint.base_url.rstrip('/').removesuffix('/v1')}/v0/{_MODELS}"


def _find_deployed(url: str, job_id: str, name: str) -> Exchange[Mapping[str, Any] | None]:
    answer = yield Call(lambda client: client.get(url, cast_to=object))
    return deployed_model(answer, job_id, name)


def _deploy(url: str, job: JobState, name: str) -> Exchange[bool]:
    """Ask for a deployment; False where it is left open whether the host has heard."""
    page = yield Call(lambda client: client.fine_tuning.jobs.checkpoints.list(job.id))
    checkpoints = sorted(page.data or [], key=lambda checkpoint: checkpoint.step_number or 0)
    if not checkpoints:
        msg = f"job {job.id} has succeeded and {NEBIUS.title} shows no checkpoint of it: try again later."
        raise JobError(msg, job.id)
    body = {"source": f"{job.id}:{checkpoints[-1].id}", "base_model": job.base, "name": name}
    try:
        yield Call(lambda client: client.post(url, body=body, cast_to=object), max_retries=0)
    except HostError as e:
        if not (is_ambiguous(e) or is_transient(e)):
            raise
        return False
    return True
