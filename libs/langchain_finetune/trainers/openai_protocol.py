"""OpenAI's files, fine-tuning jobs and models, call by call: the one module that knows their methods.

Each function is an exchange, so it is the same for the sync and the async client.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import openai

from langchain_finetune.errors import AuthenticationFailedError, HostError, JobNotFoundError, UnknownBaseError
from langchain_finetune.trainers.exchange import Call, Exchange
from langchain_finetune.trainers.job_state import JobState, read_job
from langchain_finetune.trainers.key import KEY_FIELD
from langchain_finetune.trainers.openai_errors import is_transient

_PAGE_SIZE: Final = 100
_POLL_SECONDS: Final = 30.0
"""Longest wait for the answer to one look at a job: the loop around it looks again."""

_POLL_OPTIONS: Final[dict[str, Any]] = {"max_retries": 0, "timeout": _POLL_SECONDS}

_NOT_FOUND: Final = 404


def upload(path: Path, name: str) -> Exchange[str]:
    """Upload a training file and return its id."""
    with path.open("rb") as file:
        answer = yield Call(lambda client: client.files.create(file=(name, file), purpose="fine-tune"))
    return str(answer.id)


def delete_file(file_id: str) -> Exchange[None]:
    """Delete an uploaded file."""
    yield Call(lambda client: client.files.delete(file_id))


def create_job(body: Mapping[str, Any]) -> Exchange[JobState]:
    """Create a job. It is posted once: a client that repeats a post by itself pays twice.

    Args:
        body: What the host is told; fields that are None are left out.
    """
    told = {key: value for key, value in body.items() if value is not None}
    answer = yield Call(lambda client: client.fine_tuning.jobs.create(**told), max_retries=0)
    return _job(answer)


def jobs_with_key(key: str) -> Exchange[list[JobState]]:
    """Return the jobs that carry a key, newest first, as the host lists them."""
    found: list[JobState] = []
    page = yield Call(
        lambda client: client.fine_tuning.jobs.list(limit=_PAGE_SIZE, metadata={KEY_FIELD: key})
    )
    while True:
        # A host that does not know the filter lists everything.
        found += [
            job for item in page.data or [] if (job := read_job(_plain(item))).metadata.get(KEY_FIELD) == key
        ]
        if not page.has_next_page():
            return found
        page = yield _next_page(page)


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


def events_since(job_id: str, seen: set[str], *, is_poll: bool = False) -> Exchange[list[dict[str, Any]]]:
    """Return the events that are not in `seen`, oldest first, each once.

    The host lists the newest first, so pages are read until one holds an event that was seen. New events
    move the pages on while they are read; the cursor is an id, so that costs a repeat and never a gap.
    """
    fresh: dict[str, dict[str, Any]] = {}
    options = _POLL_OPTIONS if is_poll else {}
    with _known_job(job_id):
        page = yield Call(
            lambda client: client.fine_tuning.jobs.list_events(job_id, limit=_PAGE_SIZE), **options
        )
        while True:
            events = [_plain(item) for item in page.data or []]
            new = [event for event in events if str(event.get("id")) not in seen]
            fresh.update({str(event.get("id")): event for event in new})
            if len(new) < len(events) or not page.has_next_page():
                return list(reversed(fresh.values()))
            page = yield _next_page(page)


def retrieve_model(name: str) -> Exchange[dict[str, Any]]:
    """Return the host's model object.

    Raises:
        UnknownBaseError: The host has no such model.
    """
    return _plain((yield Call(lambda client: client.models.retrieve(name))))


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


def _next_page(page: Any) -> Call:
    return Call(lambda _: page.get_next_page())


def _plain(item: Any) -> dict[str, Any]:
    # States and shapes that the client's types do not know are no reason to warn.
    return item.to_dict(warnings=False) if isinstance(item, openai.BaseModel) else {}


def _job(answer: Any) -> JobState:
    job = read_job(_plain(answer))
    if not job.id or not job.status:
        msg = "the host answered with a job that has no id or no status: check the base URL."
        raise HostError(msg, status_code=502)
    return job


@contextmanager
def _known_job(job_id: str) -> Iterator[None]:
    try:
        yield
    except HostError as e:
        if e.status_code != _NOT_FOUND:
            raise
        msg = f"the host has no job {job_id}: check the id, and that it was created with this host and key."
        raise JobNotFoundError(msg, job_id) from e
