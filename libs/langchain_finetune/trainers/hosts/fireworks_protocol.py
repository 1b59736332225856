"""Fireworks AI's data sets and jobs, call by call, by its own SDK, whose clients `fireworks_clients` makes.

A job's id is the caller's to choose: it is made of the order's key, so that the host itself refuses to create
the same job twice. https://docs.fireworks.ai/fine-tuning/fine-tuning-models
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import fireworks

from langchain_finetune.errors import (
    AuthenticationFailedError,
    DeploymentNeeded,
    HostError,
    JobNotFoundError,
    NotSupportedError,
    UnknownBaseError,
)
from langchain_finetune.hosts import FIREWORKS, Host
from langchain_finetune.trainers.exchange import Call, Exchange, Sleep
from langchain_finetune.trainers.hosts import fireworks_clients, fireworks_wire, sdk_errors
from langchain_finetune.trainers.hosts.fireworks_wire import (
    DPO,
    KINDS,
    data_set_id,
    full_name,
    last_part,
    own_id,
    read_job,
    read_progress,
)
from langchain_finetune.trainers.hosts.openai_clients import Endpoint
from langchain_finetune.trainers.hosts.refusals import is_transient, unreadable_answer
from langchain_finetune.trainers.jobs.job_state import Checkpoint, JobState
from langchain_finetune.trainers.jobs.key import KEY_FIELD

CLIENT_ERROR: tuple[type[Exception], ...] = (fireworks.FireworksError,)
"""Root of what the client raises."""

_POLL_OPTIONS: Final[dict[str, Any]] = {"max_retries": 0, "timeout": 30.0}
_PAGE_SIZE: Final = 200
_CONFLICT: Final = 409
_READY_POLL_SECONDS: Final = 2.0
_MOST_READY_POLLS: Final = 900
"""Half an hour for a data set to become ready."""


make_client = fireworks_clients.make_client
make_async_client = fireworks_clients.make_async_client
make_sync_client = fireworks_clients.make_sync_client
endpoint_of = fireworks_clients.endpoint_of


def require_answer(answer: Any, host: Host) -> Any:
    """Return what the client returned, when the host sent it.

    Raises:
        HostError: It is no answer of the API.
    """
    # Those of a deletion and a cancellation have no type, and no content.
    if isinstance(answer, fireworks.BaseModel | dict) or answer is None:
        return answer
    raise unreadable_answer(host)


def host_error(error: Any, host: Host) -> HostError | UnknownBaseError:
    """Return what an error of the client means."""
    return sdk_errors.error_of(error, host)


def find_upload(name: str, num_bytes: int, *, lasting_until: float = 0.0) -> Exchange[str | None]:
    """Return the name of a data set that is ready, None where there is none.

    Its id is made of the hash in the upload's name; the host does not tell its size.
    """
    del num_bytes, lasting_until
    wire = yield from _data_set(data_set_id(name))
    return str(wire["name"]) if wire and wire.get("state") == "READY" else None


def has_upload(file_id: str, num_bytes: int, *, lasting_until: float = 0.0) -> Exchange[bool]:
    """Tell whether the host still has a data set, ready to be used."""
    del num_bytes, lasting_until
    wire = yield from _data_set(last_part(file_id))
    return wire is not None and wire.get("state") == "READY"


def upload(path: Path, name: str) -> Exchange[str]:
    """Upload a training file as a data set, wait until it is ready, and return its name.

    An upload that broke off is taken up: the data set is there and not ready then.

    Raises:
        HostError: The host did not make it ready.
    """
    with path.open("rb") as lines:
        num_rows = sum(1 for _ in lines)
    data_set = {"display_name": name, "example_count": str(num_rows), "user_uploaded": {}}
    wanted = data_set_id(name)
    try:
        yield Call(lambda client: client.datasets.create(dataset_id=wanted, dataset=data_set))
    except HostError as e:
        if e.status_code != _CONFLICT:
            raise
    if not (ready := (yield from find_upload(name, 0))):
        with path.open("rb") as file:
            yield Call(lambda client: client.datasets.upload(wanted, file=(name, file)))
        ready = yield from _wait_until_ready(name)
    return ready


def delete_file(file_id: str) -> Exchange[None]:
    """Delete a data set."""
    yield Call(lambda client: client.datasets.delete(last_part(file_id)))


job_body = fireworks_wire.job_body


def create_job(body: Mapping[str, Any], *, idempotency_key: str | None = None) -> Exchange[JobState]:
    """Create a job, posting once. Its id counts the attempts at the same order.

    Args:
        body: What the SDK is told, with the order's key.
        idempotency_key: Not sent: the job's id does the same, for as long as the job is there.

    Raises:
        UnknownBaseError: The host does not know the base.
        HostError: The host refused, with status 409 where the job is there already.
    """
    del idempotency_key
    told = dict(body)
    key, method = told.pop("key"), told.pop("method")
    attempts = [int(match[2]) for job in (yield from jobs_with_key(key)) if (match := own_id(job.id))]
    # Two that count at the same moment come to the same id: the host takes it once.
    job_id = f"lcft-{key[:40]}-{max(attempts, default=-1) + 1}"
    try:
        if method == "supervised":
            call = _creation("supervised_fine_tuning_jobs", supervised_fine_tuning_job_id=job_id, **told)
        else:
            call = _creation("dpo_jobs", dpo_job_id=job_id, **told)
        answer = yield Call(call, max_retries=0)
    except HostError as e:
        if not sdk_errors.is_missing(e):
            raise
        base = told.get("base_model") or told["training_config"]["base_model"]
        msg = (
            f"{FIREWORKS.title} does not know the base model {base!r}, or cannot fine-tune it: {e}. "
            "https://app.fireworks.ai/models?filter=Tunable lists what there is."
        )
        raise UnknownBaseError(msg) from e
    return read_job(_plain(answer))


def jobs_with_key(key: str) -> Exchange[list[JobState]]:
    """Return the jobs whose id is made of a key, newest first.

    All jobs are read: the attempts are numbered, and one in the middle may have been deleted.
    """
    found: list[tuple[int, JobState]] = []
    for wire in (yield from _all_jobs()):
        match = own_id(str(wire.get("name")))
        if match and match[1] == key[:40]:
            found.append((int(match[2]), replace(read_job(wire), metadata={KEY_FIELD: key})))
    return [job for _, job in sorted(found, key=lambda attempt: attempt[0], reverse=True)]


def jobs_on_file(file_id: str) -> Exchange[list[JobState]]:
    """Return the jobs that train on a data set, or validate with it."""
    jobs = yield from _all_jobs()
    return [read_job(job) for job in jobs if file_id in (job.get("dataset"), job.get("evaluationDataset"))]


def retrieve_job(job_id: str, *, is_poll: bool = False) -> Exchange[JobState]:
    """Look at a job.

    Args:
        job_id: Its name, `accounts/<account>/<kind>/<id>`, or its bare id.
        is_poll: Whether this look is one of many.

    Raises:
        JobNotFoundError: The host has no such job.
    """
    return read_job((yield from _look(job_id, is_poll=is_poll)))


def cancel_job(job_id: str) -> Exchange[JobState]:
    """Ask the host to end a job, and look at it."""
    wire = yield from _look(job_id)
    name = str(wire["name"])
    yield Call(lambda client: _jobs(client, name).cancel(last_part(name), body={}))
    return (yield from retrieve_job(name))


def pause_job(job_id: str) -> Exchange[JobState]:
    """Refuse to pause a job.

    Raises:
        NotSupportedError: Always.
    """
    yield from ()
    msg = f"{FIREWORKS.title} cannot pause a job: {job_id} goes on. It can be cancelled."
    raise NotSupportedError(msg)


def resume_job(job_id: str) -> Exchange[JobState]:
    """Let a job go on that the host has paused or that has failed, and look at it."""
    wire = yield from _look(job_id)
    name = str(wire["name"])
    yield Call(lambda client: _jobs(client, name).resume(last_part(name), body={}))
    return (yield from retrieve_job(name))


def checkpoints(job_id: str) -> Exchange[list[Checkpoint]]:
    """Refuse to list the checkpoints of a job: none can be asked without a deployment of its own.

    Raises:
        NotSupportedError: Always.
    """
    yield from ()
    msg = f"{FIREWORKS.title} shows no checkpoints of {job_id} that can be asked: deploy its model instead."
    raise NotSupportedError(msg)


def download(file_id: str) -> Exchange[bytes]:
    """Refuse to download a file: the jobs here have no result files.

    Raises:
        NotSupportedError: Always.
    """
    yield from ()
    msg = f"{FIREWORKS.title} has no result files, so that {file_id} cannot be read."
    raise NotSupportedError(msg)


def events_since(job_id: str, seen: set[str], *, is_poll: bool = False) -> Exchange[list[dict[str, Any]]]:
    """Return what a look at the job shows of its progress, when it is not in `seen`.

    The host has no events and no losses to read: its progress is a percentage, told as a step of 100.
    """
    wire = yield from _look(job_id, is_poll=is_poll)
    event = read_progress(wire)
    return [event] if event and event["id"] not in seen else []


def retrieve_model(name: str) -> Exchange[dict[str, Any]]:
    """Return the host's model object.

    Raises:
        UnknownBaseError: The host has no such model.
    """
    match = re.fullmatch(r"accounts/([^/]+)/models/([^/]+)", full_name(name))
    if not match:
        return {}
    try:
        answer = yield Call(lambda client: client.models.get(match[2], account_id=match[1]))
    except HostError as e:
        if not sdk_errors.is_missing(e):
            raise
        msg = f"{FIREWORKS.title} has no model {name!r}: check the word after the colon of the target."
        raise UnknownBaseError(msg) from e
    return _plain(answer)


def find_model(name: str) -> Exchange[dict[str, Any] | None]:
    """Return the host's model object: None where it has no such model, empty where it does not say."""
    try:
        return (yield from retrieve_model(name))
    except UnknownBaseError:
        return None
    except HostError as e:
        if is_transient(e) or isinstance(e, AuthenticationFailedError):
            raise
        return {}


def is_model_ready(name: str, job_id: str) -> Exchange[bool]:
    """Tell whether the host knows a tuned model yet, so that it can be deployed."""
    del job_id
    return (yield from find_model(name)) is not None


def served_name(job: JobState, endpoint: Endpoint, deployment: str | None) -> Exchange[str]:
    """Return the model's name at a deployment: LoRA models answer on dedicated ones only.

    Raises:
        DeploymentNeeded: None is named.
    """
    del endpoint
    yield from ()
    model = job.model or ""
    if deployment:
        account = model.split("/")[1] if model.startswith("accounts/") else ""
        full = deployment if "/" in deployment else f"accounts/{account}/deployments/{deployment}"
        return f"{model}#{full}"
    call = f"firectl deployment create {model} --wait"
    msg = (
        f"job {job.id} has succeeded; at {FIREWORKS.title} its model {model} answers once it is deployed, "
        f"which costs by the hour. Run: {call}\n"
        f'then: FineTuneRunnable("fireworks:{job.base}").attach("{job.id}")'
        '.to_chat_model(deployment="<id of the deployment>"), or give `deployment=` to the trainer and run '
        "the same pipe again."
    )
    raise DeploymentNeeded(msg, job.id, model, call)


def _plain(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, fireworks.BaseModel):
        return {}
    # States and shapes that the client's types do not know are no reason to warn.
    plain: dict[str, Any] = answer.to_dict(mode="json", warnings=False)
    return plain


def _data_set(wanted: str) -> Exchange[dict[str, Any] | None]:
    try:
        return _plain((yield Call(lambda client: client.datasets.get(wanted))))
    except HostError as e:
        if not sdk_errors.is_missing(e):
            raise
        return None


def _wait_until_ready(name: str) -> Exchange[str]:
    for _ in range(_MOST_READY_POLLS):
        if ready := (yield from find_upload(name, 0)):
            return ready
        yield Sleep(_READY_POLL_SECONDS)
    msg = (
        f"{FIREWORKS.title} has not made the data set {data_set_id(name)} ready: delete it there, and try "
        "again."
    )
    raise HostError(msg)


def _all_jobs() -> Exchange[list[dict[str, Any]]]:
    jobs: list[dict[str, Any]] = []
    for kind in KINDS.values():
        token: str | None = None
        past: set[str | None] = set()
        # A host that does not know the token sends the same page again and again.
        while token not in past:
            past.add(token)
            page = yield Call(_listing(kind, token))
            jobs += [_plain(item) for item in page._get_page_items()]  # noqa: SLF001 - a name in each kind
            token = page.next_page_token or None
    return jobs


def _creation(resource: str, **told: Any) -> Callable[[Any], Any]:
    return lambda client: getattr(client, resource).create(**told)


def _listing(kind: str, token: str | None) -> Callable[[Any], Any]:
    options = {"page_size": _PAGE_SIZE, **({"page_token": token} if token else {})}
    return lambda client: _jobs(client, f"{kind}/").list(**options)


def _jobs(client: Any, name: str) -> Any:
    return client.dpo_jobs if f"{DPO}/" in name else client.supervised_fine_tuning_jobs


def _look(job_id: str, *, is_poll: bool = False) -> Exchange[dict[str, Any]]:
    """Return a job as the host sends it; a bare id is one of either kind."""
    options = _POLL_OPTIONS if is_poll else {}
    for name in [job_id] if "/" in job_id else [f"{kind}/{job_id}" for kind in KINDS.values()]:
        try:
            with sdk_errors.known_job(job_id):
                answer = yield Call(_get(name), **options)
            return _plain(answer)
        except JobNotFoundError as e:
            error = e
    raise error


def _get(name: str) -> Callable[[Any], Any]:
    return lambda client: _jobs(client, name).get(last_part(name))
