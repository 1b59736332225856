"""What a host's refusal means, whatever client read it, as errors of this package that say what to do.

The clients' own errors are taken apart in `openai_errors` and `sdk_errors`; the judgment is here, once.
"""

import time
from collections.abc import Mapping
from typing import Final, NamedTuple

from langchain_finetune.errors import (
    AccessDeniedError,
    AuthenticationFailedError,
    ContentPolicyError,
    DailyLimitError,
    HostError,
    HostUnavailableError,
    HostUnreachableError,
    QuotaExceededError,
    RateLimitedError,
    TrainingFileRefusedError,
    TrainingNotAvailable,
    UnknownBaseError,
)
from langchain_finetune.hosts import LOCAL, OPENAI, Host
from langchain_finetune.trainers.hosts import error_codes
from langchain_finetune.trainers.hosts.retry_after import retry_after, until_tomorrow

_TRANSIENT_STATUSES: Final = frozenset({408, 409, 429})
_MAY_HAVE_BEEN_DONE: Final = frozenset({408, 409})
_FIRST_CLIENT_ERROR: Final = 400
_PAYMENT_REQUIRED: Final = 402
_NOT_AUTHENTICATED: Final = 401
_FORBIDDEN: Final = 403
_TOO_MANY: Final = 429
_FIRST_SERVER_ERROR: Final = 500
_NOT_IMPLEMENTED: Final = 501
_LONGEST_MESSAGE: Final = 1000

_END_OF_TRAINING: Final = (
    "The last organizations lose it on 2027-01-06, and the models that can still be tuned shut down with the "
    "tuned ones on 2027-01-14: "
    "https://developers.openai.com/api/docs/deprecations#update-to-openais-self-serve-fine-tuning . "
)

_CODES: Final[tuple[tuple[type[HostError], frozenset[str]], ...]] = (
    (QuotaExceededError, error_codes.QUOTA),
    (DailyLimitError, error_codes.DAILY_LIMIT),
    (RateLimitedError, error_codes.RATE_LIMIT),
    (ContentPolicyError, error_codes.CONTENT),
    (TrainingFileRefusedError, error_codes.FILE),
)

_STATUSES: Final[dict[int, type[HostError]]] = {
    _PAYMENT_REQUIRED: QuotaExceededError,
    _FORBIDDEN: AccessDeniedError,
    _TOO_MANY: RateLimitedError,
}

_COMPLAINTS: Final[tuple[tuple[type[HostError], str, tuple[str, ...]], ...]] = (
    (
        QuotaExceededError,
        "Raise the account's limit or its plan, and run the pipe again.",
        ("hard limit", "explore plan", "exceeded your current quota"),
    ),
    (
        DailyLimitError,
        "There is a new day at midnight UTC: run the pipe again then.",
        ("requests per day",),
    ),
    (
        TrainingFileRefusedError,
        "Correct what it names, and run the pipe again.",
        ("jsonl format", "every line is a valid json"),
    ),
    (ContentPolicyError, "Leave out what it names, and run the pipe again.", ("content policy",)),
)
"""Errors that some hosts tell by their words alone, and the way out of each."""


class Refusal(NamedTuple):
    """An answer of a host that is an error."""

    status: int
    message: str
    """What the host says; empty where it says nothing."""

    code: str | None
    param: str | None
    headers: Mapping[str, str]


def error_of(refusal: Refusal, host: Host, now: float | None = None) -> HostError | UnknownBaseError:
    """Return what a refusal means.

    Args:
        refusal: What the host answered.
        host: Who answered.
        now: Seconds since 1970; None is the clock.
    """
    now = time.time() if now is None else now
    if refusal.status == _NOT_AUTHENTICATED:
        return _wrong_key(refusal, host)
    if refusal.code == "training_not_available":
        return _no_training(refusal, host)
    if (
        refusal.code in error_codes.UNKNOWN_MODEL
        or "not available for fine-tuning" in refusal.message.lower()
    ):
        return UnknownBaseError(
            f"{host.title} does not know the base model, or cannot fine-tune it: {_said(refusal)}. "
            f'Check the word after the colon of "{host.name}:<base>"; GET /v1/models lists what there is.'
        )
    kind = _kind(refusal)
    pause = retry_after(refusal.headers, now)
    if kind is DailyLimitError and pause is None:
        pause = until_tomorrow(now)
    return kind(
        f"{host.title} answered {refusal.status}: {_said(refusal)}{_way_out(kind, pause)}",
        status_code=refusal.status,
        code=refusal.code,
        param=refusal.param,
        retry_after_seconds=pause,
    )


def broken_off(error: Exception, host: Host, *, is_timeout: bool) -> HostUnreachableError:
    """Return the error for a request without an answer."""
    what = "did not answer in time" if is_timeout else "cannot be reached"
    cause = f" ({error.__cause__})" if error.__cause__ else ""
    return HostUnreachableError(
        f"{host.title} {what}{cause}. Check the network and the base URL, then run again: "
        "a job that was created is found again, not created twice."
    )


def _kind(refusal: Refusal) -> type[HostError]:
    status = refusal.status
    if status >= _FIRST_SERVER_ERROR:
        return HostError if status == _NOT_IMPLEMENTED else HostUnavailableError
    words = refusal.message.lower()
    by_code = (kind for kind, codes in _CODES if refusal.code in codes)
    by_words = (kind for kind, _, phrases in _COMPLAINTS if any(phrase in words for phrase in phrases))
    other = HostUnavailableError if status in _TRANSIENT_STATUSES else HostError
    return next(by_code, None) or next(by_words, None) or _STATUSES.get(status, other)


def _way_out(kind: type[HostError], pause: float | None) -> str:
    known = next((way_out for one, way_out, _ in _COMPLAINTS if one is kind), None)
    if kind is RateLimitedError:
        when = f"in {pause:.0f} s" if pause else "when one of its jobs has ended, or in a while"
        known = f"The account's requests or jobs at once are limited: run the pipe again {when}."
    if kind is AccessDeniedError:
        known = "The key is valid but may not do this: use one with the permission."
    return f". {known}" if known else ""


def unreadable_answer(host: Host) -> HostError:
    """Return the error for an answer that is not the host's."""
    return HostUnavailableError(
        f"{host.title} sent an answer that is no JSON: check the base URL, and proxies on the way.",
        status_code=502,
    )


def is_transient(error: Exception) -> bool:
    """Tell whether the same question may be answered a little later: in minutes, without a change."""
    if isinstance(error, HostUnreachableError):
        return True
    if isinstance(error, QuotaExceededError | DailyLimitError):
        return False
    return isinstance(error, HostError) and _is_transient_status(error.status_code)


def is_ambiguous(error: Exception) -> bool:
    """Tell whether the request may have been carried out although it failed."""
    if isinstance(error, HostUnreachableError):
        return True
    status = error.status_code if isinstance(error, HostError) else None
    is_refusal = (
        status is None or status == _NOT_IMPLEMENTED or _FIRST_CLIENT_ERROR <= status < _FIRST_SERVER_ERROR
    )
    return not is_refusal or status in _MAY_HAVE_BEEN_DONE


def _is_transient_status(status: int | None) -> bool:
    if status is None or status == _NOT_IMPLEMENTED:
        return False
    return status in _TRANSIENT_STATUSES or status >= _FIRST_SERVER_ERROR


def _said(refusal: Refusal) -> str:
    said = refusal.message.rstrip(".")[:_LONGEST_MESSAGE] or f"HTTP status {refusal.status}"
    return f"{said} (code {refusal.code})" if refusal.code else said


def _wrong_key(refusal: Refusal, host: Host) -> AuthenticationFailedError:
    if host is LOCAL:
        way_out = (
            "The server that answers has another key than the one in its state directory: "
            "run `langchain-finetune stop` and try again."
        )
    elif host.extra:
        way_out = f"Set {host.key_variable}, or give `api_key=`."
    else:
        way_out = (
            f"Set {host.key_variable or '`api_key=`'}, or hand over `client=openai.OpenAI(api_key=...)`."
        )
    return AuthenticationFailedError(
        # The host's own message can hold part of the key: it is left out.
        f"{host.title} does not accept the API key. {way_out}",
        status_code=refusal.status,
        code=refusal.code,
        param=refusal.param,
    )


def _no_training(refusal: Refusal, host: Host) -> TrainingNotAvailable:
    return TrainingNotAvailable(
        f"{host.title} does not let this organization create fine-tuning jobs any more: {_said(refusal)}. "
        f"This does not pass. {_END_OF_TRAINING if host is OPENAI else ''}"
        'Train on your own machine with "local:smollm2-135m-instruct", at another provider of '
        "docs/providers.md, or at any host that speaks OpenAI's protocol by "
        "`client=openai.OpenAI(base_url=...)`.",
        status_code=refusal.status,
        code=refusal.code,
        param=refusal.param,
    )
