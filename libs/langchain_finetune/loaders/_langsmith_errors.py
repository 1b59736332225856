"""What LangSmith's answers mean: which failures pass, and the clear error for those that stay."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import langsmith

from langchain_finetune.errors import (
    AccessDeniedError,
    AuthenticationFailedError,
    FineTuneError,
    HostError,
    HostUnavailableError,
    HostUnreachableError,
    RateLimitedError,
    SelectionError,
)

_PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_NEEDS_WORKSPACE: Final = "org_scoped_key_requires_workspace"
_SERVER_FAULT: Final = 500


def status_of(error: Exception) -> int | None:
    """Return the HTTP status of a failure, None where there was no answer."""
    return error.status_code if isinstance(error, langsmith.APIStatusError) else None


def is_passing(error: Exception) -> bool:
    """Say whether the same request may be answered later: no answer, half an answer, a limit, a fault."""
    status = status_of(error)
    if status is None:
        return isinstance(error, langsmith.APIConnectionError | ValueError)
    return status in _PASSING


def retry_after_of(error: Exception) -> float | None:
    """Return the seconds that LangSmith asks to wait, None where it does not say or makes no sense."""
    if not isinstance(error, langsmith.APIStatusError):
        return None
    text = error.response.headers.get("retry-after")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        return _until(text)
    return seconds if 0 <= seconds < float("inf") else None


def _until(date: str) -> float | None:
    try:
        at = parsedate_to_datetime(date)
    except (ValueError, IndexError, TypeError, OverflowError):
        return None
    return max((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp(), 0.0)


def clear_error(error: Exception, host: str, subject: str) -> FineTuneError:
    """Return the error for a failure that stays.

    Args:
        error: What the SDK raised, or a `ValueError` for an answer that is no JSON.
        host: The address, for the message.
        subject: What was asked for, such as "project 'my-app'".
    """
    status = status_of(error)
    if isinstance(error, langsmith.APIConnectionError):
        msg = (
            f"LangSmith at {host} cannot be reached for {subject}: check LANGSMITH_ENDPOINT and the network."
        )
        return HostUnreachableError(msg)
    if status is None:
        msg = f"LangSmith at {host} answered for {subject} with what is no JSON: check LANGSMITH_ENDPOINT."
        return HostUnavailableError(msg)
    body = getattr(error, "body", None)
    if _NEEDS_WORKSPACE in str(body):
        msg = (
            f"the key for LangSmith at {host} belongs to an organization, not to a workspace: set "
            "LANGSMITH_WORKSPACE_ID to the workspace's id, or pass client=langsmith.Client(workspace_id=...)."
        )
        return AccessDeniedError(msg, status_code=status, code=_NEEDS_WORKSPACE)
    if (refusal := _refusal(status, body, host, subject)) is not None:
        return refusal
    asked = retry_after_of(error)
    if status == 429:  # noqa: PLR2004  too many requests
        msg = f"LangSmith at {host} still limits requests for {subject} after many pauses: try again later."
        return RateLimitedError(msg, status_code=status, retry_after_seconds=asked)
    kind = HostUnavailableError if status >= _SERVER_FAULT else HostError
    msg = f"LangSmith at {host} answered {status} for {subject}: try again in a minute."
    return kind(msg, status_code=status, retry_after_seconds=asked)


def _refusal(status: int, body: Any, host: str, subject: str) -> FineTuneError | None:
    if status == 401:  # noqa: PLR2004  unauthorized
        msg = f"LangSmith at {host} does not accept the key for {subject}: set LANGSMITH_API_KEY."
        return AuthenticationFailedError(msg, status_code=status)
    if status == 403:  # noqa: PLR2004  forbidden
        msg = (
            f"LangSmith at {host} does not let this key read {subject}: use a key of the workspace that "
            "holds it, or set LANGSMITH_WORKSPACE_ID."
        )
        return AccessDeniedError(msg, status_code=status)
    if status == 404:  # noqa: PLR2004  not found
        msg = f"LangSmith at {host} has no {subject}: check its name, and the workspace of the key."
        return SelectionError(msg)
    if status in (400, 422):
        fields = _named_fields(body)
        what = f" (it names {', '.join(fields)})" if fields else ""
        msg = (
            f"LangSmith at {host} refuses the query for {subject}{what}: check filter, trace_filter and "
            "tree_filter; a self-hosted LangSmith may be too old for a field that is asked for."
        )
        return SelectionError(msg)
    return None


def _named_fields(body: Any) -> list[str]:
    """Read the places that a refusal names; the values beside them may be prompts and are left alone."""
    detail = body.get("detail") if isinstance(body, Mapping) else None
    if not isinstance(detail, list):
        return []
    places = [item.get("loc") for item in detail if isinstance(item, Mapping)]
    return [".".join(str(part)[:40] for part in place[:4]) for place in places[:3] if isinstance(place, list)]
