"""Together AI's fine-tunes, call by call, by its own SDK: the one module that imports it.

https://docs.together.ai/docs/fine-tuning/quickstart
"""

import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import together

from langchain_finetune.errors import (
    DeploymentNeeded,
    FineTuneError,
    HostError,
    NotSupportedError,
    UnknownBaseError,
)
from langchain_finetune.hosts import TOGETHER, Host
from langchain_finetune.trainers.exchange import Call, Exchange
from langchain_finetune.trainers.hosts import sdk_errors
from langchain_finetune.trainers.hosts.openai_clients import ApiKey, Endpoint, missing_key
from langchain_finetune.trainers.hosts.refusals import unreadable_answer
from langchain_finetune.trainers.hosts.together_wire import (
    read_event,
    read_job,
    read_metrics_event,
)
from langchain_finetune.trainers.jobs.job_state import Checkpoint, JobState, iso_time
from langchain_finetune.trainers.jobs.key import KEY_FIELD, Order, tag_of, with_key

CLIENT_ERROR: tuple[type[Exception], ...] = (together.TogetherError, httpx.HTTPError)
"""Roots of what the client raises; its upload lets the transport's own errors through."""

_NO_KEPT_CONNECTIONS: Final = httpx.Limits(max_connections=100, max_keepalive_connections=0)
_POLL_OPTIONS: Final[dict[str, Any]] = {"max_retries": 0, "timeout": 30.0}
_REFUSED: Final = 400
_METHODS: Final = {"supervised": "sft", "dpo": "dpo"}


def make_client(host: Host, base_url: str | None = None, api_key: ApiKey | None = None) -> together.Together:
    """Return a client; URL and key are the environment's where they are not given.

    Raises:
        AuthenticationFailedError: There is no key.
    """
    given: Any = {"base_url": base_url, "api_key": api_key}
    try:
        return together.Together(**given)
    except together.TogetherError as e:
        raise missing_key(host) from e


def make_async_client(host: Host, client: together.Together) -> together.AsyncTogether:
    """Return the async twin of a client."""
    del host
    # A kept connection belongs to the event loop that made it, and the next call may come from another.
    http_client = together.DefaultAsyncHttpxClient(limits=_NO_KEPT_CONNECTIONS)
    return together.AsyncTogether(**_settings(client), http_client=http_client)


def make_sync_client(host: Host, async_client: together.AsyncTogether) -> together.Together:
    """Return the sync twin of an async client."""
    del host
    return together.Together(**_settings(async_client))


def endpoint_of(client: Any) -> Endpoint:
    """Return where the models are called that a client trains."""
    base_url = str(client.base_url).rstrip("/")
    return Endpoint(base_url if base_url.endswith("/v1") else f"{base_url}/v1", client.api_key)


def require_answer(answer: Any, host: Host) -> Any:
    """Return what the client returned, when the host sent it.

    Raises:
        HostError: It is no answer of the API.
    """
    if isinstance(answer, together.BaseModel) and _plain(answer):
        return answer
    raise unreadable_answer(host)


def host_error(error: Any, host: Host) -> HostError | UnknownBaseError:
    """Return what an error of the client means."""
    return sdk_errors.error_of(error, host)


def find_upload(name: str, num_bytes: int, *, lasting_until: float = 0.0) -> Exchange[str | None]:
    """Return the id of an uploaded file of that name and size, None where there is none."""
    del lasting_until  # uploads do not expire
    answer = yield Call(lambda client: client.files.list())
    for file in _plain(answer).get("data") or []:
        is_same = file.get("filename") == name and file.get("bytes") == num_bytes
        if is_same and file.get("processing_status") not in ("FAILED", "INVALID_FORMAT"):
            return str(file["id"])
    return None


def has_upload(file_id: str, num_bytes: int, *, lasting_until: float = 0.0) -> Exchange[bool]:
    """Tell whether the host still has an upload, of that size."""
    del lasting_until  # uploads do not expire
    try:
        file = _plain((yield Call(lambda client: client.files.retrieve(file_id))))
    except HostError as e:
        if not sdk_errors.is_missing(e):
            raise
        return False
    return file.get("bytes") == num_bytes


def upload(path: Path, name: str) -> Exchange[str]:
    """Upload a training file and return its id; a file with the same bytes is not uploaded twice."""
    with _named(path, name) as named:
        # The SDK's own check reads the whole file and knows fewer kinds of rows than the host.
        answer = yield Call(lambda client: client.files.upload(named, purpose="fine-tune", check=False))
    return str(answer.id)


def delete_file(file_id: str) -> Exchange[None]:
    """Delete an uploaded file."""
    yield Call(lambda client: client.files.delete(file_id))


def job_body(
    order: Order, host: Host, key: str, training_file: str, validation_file: str | None = None
) -> dict[str, Any]:
    """Return what the SDK is told to create the job of an order."""
    given = {
        host.hyperparameter_names.get(name, name): value
        for name, value in (order.hyperparameters or {}).items()
    }
    body = {
        "model": order.base,
        "training_file": training_file,
        "validation_file": validation_file,
        "training_method": _METHODS[order.method],
        "suffix": with_key(order.suffix, key),
        "random_seed": order.seed,
        **given,
    }
    if order.method == "supervised":
        # Left open, the SDK logs a warning and means the same.
        body.setdefault("train_on_inputs", "auto")
    return {name: value for name, value in body.items() if value is not None}


def create_job(body: Mapping[str, Any], *, idempotency_key: str | None = None) -> Exchange[JobState]:
    """Create a job, posting once.

    Args:
        body: What the SDK is told.
        idempotency_key: Not sent: the SDK's method takes no headers. The key in the suffix finds the job.

    Raises:
        UnknownBaseError: The host cannot fine-tune the base.
        HostError: The host, or its SDK by the host's limits for the base, refuses a setting.
    """
    del idempotency_key
    try:
        answer = yield Call(lambda client: client.fine_tuning.create(**body), max_retries=0)
    except HostError as e:
        if not sdk_errors.is_missing(e):
            raise
        msg = (
            f"{TOGETHER.title} does not know the base model {body['model']!r}, or cannot fine-tune it: {e}. "
            "https://docs.together.ai/docs/fine-tuning/supported-models lists what there is."
        )
        raise UnknownBaseError(msg) from e
    except FineTuneError:
        raise
    except ValueError as e:
        msg = f"{TOGETHER.title} refuses a setting: {e}"
        raise HostError(msg, status_code=_REFUSED) from e
    return read_job(_plain(answer))


def jobs_with_key(key: str) -> Exchange[list[JobState]]:
    """Return the jobs that carry a key in their suffix, newest first: there is no metadata and no filter."""
    answer = yield Call(lambda client: client.fine_tuning.list())
    tag = tag_of(key)
    jobs = [
        job
        for job in _plain(answer).get("data") or []
        # A list without suffixes still has the names made of them, `<account>/<base>-<suffix>-<id>`.
        if str(job.get("suffix") or "").endswith(tag) or f"{tag}-" in str(job.get("model_output_name"))
    ]
    jobs.sort(key=lambda job: iso_time(job.get("created_at")) or 0.0, reverse=True)
    return [read_job(job, metadata={KEY_FIELD: key}) for job in jobs]


def jobs_on_file(file_id: str) -> Exchange[list[JobState]]:
    """Return the jobs that train on an upload, or validate with it."""
    answer = yield Call(lambda client: client.fine_tuning.list())
    jobs = _plain(answer).get("data") or []
    return [
        read_job(job) for job in jobs if file_id in (job.get("training_file"), job.get("validation_file"))
    ]


def retrieve_job(job_id: str, *, is_poll: bool = False) -> Exchange[JobState]:
    """Look at a job.

    Raises:
        JobNotFoundError: The host has no such job.
    """
    with sdk_errors.known_job(job_id):
        answer = yield Call(lambda client: client.fine_tuning.retrieve(job_id), **_options(is_poll=is_poll))
    return read_job(_plain(answer))


def cancel_job(job_id: str) -> Exchange[JobState]:
    """Ask the host to end a job, and look at it."""
    with sdk_errors.known_job(job_id):
        yield Call(lambda client: client.fine_tuning.cancel(job_id))
    return (yield from retrieve_job(job_id))


def pause_job(job_id: str) -> Exchange[JobState]:
    """Refuse to pause a job.

    Raises:
        NotSupportedError: Always.
    """
    yield from ()
    msg = f"{TOGETHER.title} cannot pause a job: {job_id} goes on. It can be cancelled."
    raise NotSupportedError(msg)


def resume_job(job_id: str) -> Exchange[JobState]:
    """Refuse to resume a job.

    Raises:
        NotSupportedError: Always.
    """
    yield from ()
    msg = f"{TOGETHER.title} has no paused jobs, so that {job_id} cannot be resumed."
    raise NotSupportedError(msg)


def checkpoints(job_id: str) -> Exchange[list[Checkpoint]]:
    """Refuse to list the checkpoints of a job: none can be asked without a deployment of its own.

    Raises:
        NotSupportedError: Always.
    """
    yield from ()
    msg = f"{TOGETHER.title} shows no checkpoints of {job_id} that can be asked: deploy its model instead."
    raise NotSupportedError(msg)


def download(file_id: str) -> Exchange[bytes]:
    """Refuse to download a file: the jobs here have no result files.

    Raises:
        NotSupportedError: Always.
    """
    yield from ()
    msg = f"{TOGETHER.title} has no result files, so that {file_id} cannot be read."
    raise NotSupportedError(msg)


def events_since(job_id: str, seen: set[str], *, is_poll: bool = False) -> Exchange[list[dict[str, Any]]]:
    """Return the events and the figures that are not in `seen`, oldest first, in the form of OpenAI's.

    The host gives its events no id: theirs is made of what they say.
    """
    options = _options(is_poll=is_poll)
    with sdk_errors.known_job(job_id):
        answer = yield Call(lambda client: client.fine_tuning.list_events(job_id), **options)
    events = [read_event(event) for event in _plain(answer).get("data") or []]
    try:
        told = yield Call(lambda client: client.fine_tuning.list_metrics(job_id), **options)
    except HostError as e:
        # A job that has not begun to train may have none.
        if not sdk_errors.is_missing(e):
            raise
    else:
        rows = _plain(told).get("metrics") or []
        events += [event for row in rows if (event := read_metrics_event(job_id, row))]
    fresh = {event["id"]: event for event in events if event["id"] not in seen}
    return sorted(fresh.values(), key=lambda event: event["created_at"] or math.inf)


def retrieve_model(name: str) -> Exchange[dict[str, Any]]:
    """Return nothing of a model: the host's list tells neither what can be tuned nor what was deleted."""
    del name
    yield from ()
    return {}


find_model = retrieve_model


def is_model_ready(name: str, job_id: str) -> Exchange[bool]:
    """Tell that a tuned model is ready: ready to be deployed, which is another step."""
    del name, job_id
    yield from ()
    return True


def served_name(job: JobState, endpoint: Endpoint, deployment: str | None) -> Exchange[str]:
    """Return the endpoint's name: at Together a tuned model is called by it.

    Raises:
        DeploymentNeeded: None is named.
    """
    del endpoint
    yield from ()
    if deployment:
        return deployment
    model = job.model or ""
    call = f"tg endpoints deploy --model {model} --endpoint <endpoint>"
    msg = (
        f"job {job.id} has succeeded; at {TOGETHER.title} its model {model} answers once it is deployed on a "
        f"dedicated endpoint, which costs by the minute. Run: {call}\n"
        f'then: FineTuneRunnable("together:{job.base}").attach("{job.id}")'
        '.to_chat_model(deployment="<name of the endpoint>"), or give `deployment=` to the trainer and run '
        "the same pipe again."
    )
    raise DeploymentNeeded(msg, job.id, model, call)


def _settings(client: Any) -> dict[str, Any]:
    return {
        "base_url": client.base_url,
        "api_key": client.api_key,
        "project_id": client.project_id,
        "timeout": client.timeout,
        "max_retries": client.max_retries,
    }


def _options(*, is_poll: bool) -> dict[str, Any]:
    return _POLL_OPTIONS if is_poll else {}


def _plain(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, together.BaseModel):
        return {}
    # States and shapes that the client's types do not know are no reason to warn.
    plain: dict[str, Any] = answer.to_dict(mode="json", warnings=False)
    return plain


@contextmanager
def _named(path: Path, name: str) -> Iterator[Path]:
    """Show a file under another name: the SDK uploads a path, and its name is the upload's."""
    with tempfile.TemporaryDirectory() as directory:
        named = Path(directory) / name
        try:
            named.symlink_to(path.resolve())
        except OSError:  # some systems keep links for administrators
            shutil.copyfile(path, named)
        yield named
