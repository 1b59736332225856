"""OpenAI's fine-tuning jobs and models, call by call: with `openai_files` the one that knows their methods.

Each function is an exchange, so it is the same for the sync and the async client.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import openai

from langchain_finetune.errors import (
    AuthenticationFailedError,
    HostError,
    HostUnavailableError,
    JobNotFoundError,
    NotSupportedError,
    UnknownBaseError,
)
from langchain_finetune.handles import OWN_TRAFFIC_KEY
from langchain_finetune.hosts import Host
from langchain_finetune.trainers.exchange import Call, Exchange
from langchain_finetune.trainers.hosts import openai_clients, openai_files
from langchain_finetune.trainers.hosts.openai_clients import Endpoint
from langchain_finetune.trainers.hosts.openai_errors import error_of
from langchain_finetune.trainers.hosts.openai_lists import entries, listed, next_page, plain
from langchain_finetune.trainers.hosts.refusals import is_transient, unreadable_answer
from langchain_finetune.trainers.jobs.job_state import Checkpoint, JobState, read_checkpoint, read_job
from langchain_finetune.trainers.jobs.key import ALIAS_FIELD, DATA_FIELD, KEY_FIELD, Order, with_key

T = TypeVar("T")

_PAGE_SIZE: Final = 100
_MOST_JOB_PAGES: Final = 100
_MOST_PAGES_ON_FILE: Final = 5
"""A host that does not filter lists all there is: no host can hold us for ever."""

_POLL_SECONDS: Final = 30.0
"""Longest wait for the answer to one look at a job: the loop around it looks again."""

_POLL_OPTIONS: Final[dict[str, Any]] = {"max_retries": 0, "timeout": _POLL_SECONDS}

_NOT_FOUND: Final = 404
_NO_SUCH_CALL: Final = frozenset({_NOT_FOUND, 405, 501})

CLIENT_ERROR: type[Exception] = openai.APIError
"""Root of what the client raises."""

make_client = openai_clients.make_client
make_async_client = openai_clients.make_async_client
make_sync_client = openai_clients.make_sync_client
endpoint_of = openai_clients.endpoint_of


def host_error(error: Any, host: Host) -> HostError | UnknownBaseError:
    """Return what an error of the client means."""
    return error_of(error, host)


def require_answer(answer: Any, host: Host) -> Any:
    """Return what the client returned, when the host sent it.

    Raises:
        HostError: It is no answer of the API: where a proxy answers 200 with a page of HTML, the client hands
            the text over as it is.
    """
    if isinstance(answer, openai.BaseModel | openai.HttpxBinaryResponseContent):
        return answer
    raise unreadable_answer(host)


find_upload = openai_files.find_upload
has_upload = openai_files.has_upload
upload = openai_files.upload
delete_file = openai_files.delete_file
download = openai_files.download


def job_body(
    order: Order, host: Host, key: str, training_file: str, validation_file: str | None = None
) -> dict[str, Any]:
    """Return what the host is told to create the job of an order."""
    body: dict[str, Any] = {
        "model": order.base,
        "training_file": training_file,
        "validation_file": validation_file,
        "suffix": order.suffix,
        "seed": order.seed,
        "extra_body": dict(order.extra_body) if order.extra_body else None,
    }
    if host.hyperparameter_style == "method":
        body["method"] = _method(order)
    elif order.hyperparameters:
        body["hyperparameters"] = dict(order.hyperparameters)
    if host.key_place == "metadata":
        body["metadata"] = {KEY_FIELD: key, DATA_FIELD: order.fingerprint}
        if order.alias is not None:
            body["metadata"][ALIAS_FIELD] = order.alias
    else:
        body["suffix"] = with_key(order.suffix, key)
    return body


def _method(order: Order) -> dict[str, Any]:
    settings = dict(order.method_settings or {})
    if order.hyperparameters:
        settings["hyperparameters"] = dict(order.hyperparameters)
    return {"type": order.method, **({order.method: settings} if settings else {})}


def create_job(body: Mapping[str, Any], *, idempotency_key: str | None = None) -> Exchange[JobState]:
    """Create a job. It is posted once: a client that repeats a post by itself pays twice.

    Args:
        body: What the host is told; fields that are None are left out.
        idempotency_key: Sent as `Idempotency-Key`; hosts that do not know the header ignore it.
    """
    told = {key: value for key, value in body.items() if value is not None}
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key else None
    answer = yield Call(
        lambda client: client.fine_tuning.jobs.create(**told, extra_headers=headers), max_retries=0
    )
    return _job(answer)


def jobs_with_key(key: str) -> Exchange[list[JobState]]:
    """Return the jobs that carry a key, newest first, as the host lists them."""
    # A host that does not know the filter lists everything.
    jobs = yield from list_jobs(metadata={KEY_FIELD: key})
    return [job for wire in jobs if (job := read_job(wire)).metadata.get(KEY_FIELD) == key]


def jobs_on_file(file_id: str) -> Exchange[list[JobState]]:
    """Return the jobs that train on an upload, or validate with it, among the newest of the account."""
    jobs = [read_job(wire) for wire in (yield from list_jobs(_MOST_PAGES_ON_FILE))]
    return [job for job in jobs if file_id in (job.training_file, job.validation_file)]


def list_jobs(most_pages: int = _MOST_JOB_PAGES, **filters: Any) -> Exchange[list[dict[str, Any]]]:
    """Return the jobs as the host sends them, newest first, each once.

    Args:
        most_pages: After which the older ones are left out.
        filters: Further arguments of the client's own method.
    """
    found: dict[str, dict[str, Any]] = {}
    page = yield Call(lambda client: client.fine_tuning.jobs.list(limit=_PAGE_SIZE, **filters))
    for num_left in reversed(range(most_pages)):
        jobs = [plain(item) for item in entries(page)]
        # New jobs move the pages on while they are read: the cursor is an id, so that costs a repeat at most.
        new = {str(job["id"]): job for job in jobs if job.get("id") and str(job["id"]) not in found}
        found |= new
        if not new or not num_left or not page.has_next_page():
            break
        page = yield next_page(page)
    return list(found.values())


def retrieve_job(job_id: str, *, is_poll: bool = False) -> Exchange[JobState]:
    """Look at a job.

    Args:
        job_id: Its id.
        is_poll: Whether this look is one of many: it is short then, and not repeated by the client.

    Raises:
        JobNotFoundError: The host has no such job.
    """
    with _known_job(job_id):
        answer = yield Call(
            lambda client: client.fine_tuning.jobs.retrieve(job_id), **(_POLL_OPTIONS if is_poll else {})
        )
    return _job(answer)


def cancel_job(job_id: str) -> Exchange[JobState]:
    """Ask the host to end a job.

    Raises:
        JobNotFoundError: The host has no such job.
    """
    with _known_job(job_id):
        answer = yield Call(lambda client: client.fine_tuning.jobs.cancel(job_id))
    return _job(answer)


def pause_job(job_id: str) -> Exchange[JobState]:
    """Ask the host to pause a job.

    Raises:
        JobNotFoundError: The host has no such job.
        NotSupportedError: The host cannot pause.
    """
    return (yield from _change(job_id, "pause", lambda client: client.fine_tuning.jobs.pause(job_id)))


def resume_job(job_id: str) -> Exchange[JobState]:
    """Ask the host to go on with a job that is paused.

    Raises:
        JobNotFoundError: The host has no such job.
        NotSupportedError: The host cannot pause.
    """
    return (yield from _change(job_id, "resume", lambda client: client.fine_tuning.jobs.resume(job_id)))


def _change(job_id: str, what: str, send: Callable[[Any], Any]) -> Exchange[JobState]:
    answer = yield from _supported(_asked(send), f"cannot {what}", job_id)
    return _job(answer)


def checkpoints(job_id: str) -> Exchange[list[Checkpoint]]:
    """Return the checkpoints of a job that can be asked, by their steps.

    Raises:
        JobNotFoundError: The host has no such job.
        NotSupportedError: The host lists none.
    """
    first = Call(lambda client: client.fine_tuning.jobs.checkpoints.list(job_id, limit=_PAGE_SIZE))
    items = yield from _supported(listed(first), "lists no checkpoints of", job_id)
    found = [checkpoint for item in items if (checkpoint := read_checkpoint(item))]
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def events_since(job_id: str, seen: set[str], *, is_poll: bool = False) -> Exchange[list[dict[str, Any]]]:
    """Return the events that are not in `seen`, oldest first, each once.

    The host lists the newest first, so pages are read until one holds an event that was seen. New events
    move the pages on while they are read; the cursor is an id, so that costs a repeat and never a gap.

    Args:
        job_id: The job.
        seen: What `event_id` tells of the events that are known.
        is_poll: Whether this look is one of many: it is short then, and not repeated by the client.

    Raises:
        JobNotFoundError: The host has no such job.
    """
    first = Call(
        lambda client: client.fine_tuning.jobs.list_events(job_id, limit=_PAGE_SIZE),
        **(_POLL_OPTIONS if is_poll else {}),
    )
    with _known_job(job_id):
        return list(reversed((yield from listed(first, seen))))


def is_model_ready(name: str, job_id: str) -> Exchange[bool]:
    """Tell whether a tuned model can be asked: the host describes it, or it answers one token.

    The question is told apart from the application's own: the client that it goes through is a copy, which
    LangSmith's wrapper does not record, so a selection of recorded runs never meets it.

    Args:
        name: The model.
        job_id: Its job, by which the host's side can tell the question.

    Raises:
        HostError: The host cannot be asked now, or refuses the key.
    """
    if (yield from _is_found(lambda client: client.models.retrieve(name), is_answer_enough=True)):
        return True
    question = [{"role": "user", "content": f"{OWN_TRAFFIC_KEY} {job_id}"}]
    return (
        yield from _is_found(
            lambda client: client.chat.completions.create(model=name, messages=question, max_tokens=1),
            is_answer_enough=False,
        )
    )


def _is_found(send: Callable[[Any], Any], *, is_answer_enough: bool) -> Exchange[bool]:
    try:
        yield Call(send, **_POLL_OPTIONS)
    except UnknownBaseError:
        return False
    except HostError as e:
        if is_transient(e) or isinstance(e, AuthenticationFailedError):
            raise
        # Whoever objects to the question itself knows the model.
        return not is_answer_enough and e.status_code != _NOT_FOUND
    return True


def retrieve_model(name: str) -> Exchange[dict[str, Any]]:
    """Return the host's model object.

    Raises:
        UnknownBaseError: The host has no such model.
    """
    return plain((yield Call(lambda client: client.models.retrieve(name))))


def find_model(name: str) -> Exchange[dict[str, Any] | None]:
    """Return the host's model object: None where it has no such model, empty where it does not say."""
    try:
        return (yield from retrieve_model(name))
    except UnknownBaseError:
        return None
    except AuthenticationFailedError:
        raise
    except HostError as e:
        if is_transient(e):
            raise
        # A key may be allowed to train and not to read models; a host may have no such route.
        return {}


def served_name(job: JobState, endpoint: Endpoint, deployment: str | None) -> Exchange[str]:
    """Return the name that a job's model is called by: its own, unless a deployment is named."""
    del endpoint
    # No call: the model answers as soon as the job has succeeded.
    yield from ()
    return deployment or job.model or ""


def _job(answer: Any) -> JobState:
    job = read_job(plain(answer))
    if not job.id or not job.status:
        msg = "the host answered with a job that has no id or no status: check the base URL."
        raise HostUnavailableError(msg, status_code=502)
    return job


def _asked(send: Callable[[Any], Any]) -> Exchange[Any]:
    return (yield Call(send))


def _supported(exchange: Exchange[T], what: str, job_id: str) -> Exchange[T]:
    try:
        return (yield from exchange)
    except HostError as e:
        if e.status_code not in _NO_SUCH_CALL:
            raise
        refusal = e
    # A host without a call answers 404 to it, as it does for a job that it does not have.
    yield from retrieve_job(job_id)
    msg = f"the host {what} job {job_id}: it has no such call, and answered {refusal.status_code}."
    raise NotSupportedError(msg, refusal.status_code, refusal.code, refusal.param) from refusal


@contextmanager
def _known_job(job_id: str) -> Iterator[None]:
    try:
        yield
    except HostError as e:
        if e.status_code != _NOT_FOUND:
            raise
        msg = f"the host has no job {job_id}: check the id, and that it was created with this host and key."
        raise JobNotFoundError(msg, job_id) from e
