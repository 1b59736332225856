"""What a generated SDK of a host with its own API raises, as errors of this package that say what to do.

The SDKs come out of one generator, so that their errors have the same names and fields.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from langchain_finetune.errors import HostError, JobNotFoundError, UnknownBaseError
from langchain_finetune.hosts import Host
from langchain_finetune.trainers.hosts import refusals
from langchain_finetune.trainers.hosts.refusals import Refusal

_NOT_FOUND: Final = 404


def error_of(error: Exception, host: Host, now: float | None = None) -> HostError | UnknownBaseError:
    """Return what an error of the SDK means.

    Args:
        error: What the SDK raised.
        host: Who answered.
        now: Seconds since 1970; None is the clock.
    """
    status = getattr(error, "status_code", None)
    if not isinstance(status, int):
        return refusals.broken_off(error, host, is_timeout="Timeout" in type(error).__name__)
    told = _told(getattr(error, "body", None))
    headers = getattr(getattr(error, "response", None), "headers", None)
    refusal = Refusal(
        status=status,
        message=_text(told.get("message")) or "",
        code=_text(told.get("code")) or _text(told.get("type")),
        param=_text(told.get("param")),
        headers=headers if isinstance(headers, Mapping) else {},
    )
    return refusals.error_of(refusal, host, now)


def is_missing(error: HostError) -> bool:
    """Tell whether the host has no such thing."""
    return error.status_code == _NOT_FOUND


@contextmanager
def known_job(job_id: str) -> Iterator[None]:
    """Say of a 404 that there is no such job."""
    try:
        yield
    except HostError as e:
        if not is_missing(e):
            raise
        msg = f"the host has no job {job_id}: check the id, and that it was created with this host and key."
        raise JobNotFoundError(msg, job_id) from e


def _told(body: Any) -> Mapping[str, Any]:
    # Under `error`, or at the top; sometimes `error` is the message itself.
    error = body.get("error", body) if isinstance(body, Mapping) else {}
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, Mapping) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
