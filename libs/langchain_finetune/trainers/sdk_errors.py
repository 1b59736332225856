"""What a generated SDK of a host with its own API raises, as errors of this package that say what to do.

The SDKs come out of one generator, so that their errors have the same names and fields.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from langchain_finetune.errors import (
    AuthenticationFailedError,
    HostError,
    HostUnreachableError,
    JobNotFoundError,
)
from langchain_finetune.hosts import Host

_NOT_AUTHENTICATED: Final = 401
_NOT_FOUND: Final = 404


def error_of(error: Exception, host: Host) -> HostError:
    """Return what an error of the SDK means."""
    status = getattr(error, "status_code", None)
    if not isinstance(status, int):
        what = "did not answer in time" if "Timeout" in type(error).__name__ else "cannot be reached"
        cause = f" ({error.__cause__})" if error.__cause__ else ""
        return HostUnreachableError(
            f"{host.title} {what}{cause}. Check the network and the base URL, then run again: "
            "a job that was created is found again, not created twice."
        )
    if status == _NOT_AUTHENTICATED:
        return AuthenticationFailedError(
            # The host's own message can hold part of the key: it is left out.
            f"{host.title} does not accept the API key. Set {host.key_variable}, or give `api_key=`.",
            status_code=status,
        )
    told = _told(getattr(error, "body", None))
    message = _text(told.get("message")) or f"HTTP status {status}"
    code = _text(told.get("code")) or _text(told.get("type"))
    about = f" (code {code})" if code else ""
    return HostError(
        f"{host.title} answered {status}: {message}{about}",
        status_code=status,
        code=code,
        param=_text(told.get("param")),
    )


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
