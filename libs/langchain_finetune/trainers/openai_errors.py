"""What the openai client raises, as errors of this package that say what to do."""

from typing import Final

import openai

from langchain_finetune.errors import (
    AuthenticationFailedError,
    HostError,
    HostUnreachableError,
    TrainingNotAvailable,
    UnknownBaseError,
)
from langchain_finetune.hosts import LOCAL, Host

_UNKNOWN_MODEL_CODES: Final = frozenset({"model_not_found", "model_not_available"})
_TRANSIENT_STATUSES: Final = frozenset({408, 409, 429})
_MAY_HAVE_BEEN_DONE: Final = frozenset({408, 409})
_FIRST_CLIENT_ERROR: Final = 400
_FIRST_SERVER_ERROR: Final = 500


def error_of(error: openai.APIError, host: Host) -> HostError | UnknownBaseError:
    """Return what an error of the client means."""
    if not isinstance(error, openai.APIStatusError):
        return _broken_off(error, host)
    if isinstance(error, openai.AuthenticationError):
        return _wrong_key(error, host)
    if error.code == "training_not_available":
        return _no_training(error, host)
    if error.code in _UNKNOWN_MODEL_CODES:
        return UnknownBaseError(
            f"{host.title} does not know the base model, or cannot fine-tune it: {_said(error)}. "
            f'Check the word after the colon of "{host.name}:<base>"; GET /v1/models lists what there is.'
        )
    return HostError(
        f"{host.title} answered {error.status_code}: {_said(error)}",
        status_code=error.status_code,
        code=error.code,
        param=error.param,
    )


def unreadable_answer(host: Host) -> HostError:
    """Return the error for an answer that is not the host's."""
    return HostError(
        f"{host.title} sent an answer that is no JSON: check the base URL, and proxies on the way.",
        status_code=502,
    )


def is_transient(error: Exception) -> bool:
    """Tell whether the same question may be answered a little later."""
    if isinstance(error, HostUnreachableError):
        return True
    return isinstance(error, HostError) and _is_transient_status(error.status_code)


def is_ambiguous(error: Exception) -> bool:
    """Tell whether the request may have been carried out although it failed."""
    if isinstance(error, HostUnreachableError):
        return True
    status = error.status_code if isinstance(error, HostError) else None
    is_refusal = status is None or _FIRST_CLIENT_ERROR <= status < _FIRST_SERVER_ERROR
    return not is_refusal or status in _MAY_HAVE_BEEN_DONE


def _is_transient_status(status: int | None) -> bool:
    return status is not None and (status in _TRANSIENT_STATUSES or status >= _FIRST_SERVER_ERROR)


def _said(error: openai.APIStatusError) -> str:
    body = error.body if isinstance(error.body, dict) else {}
    message = body.get("message")
    said = message if isinstance(message, str) and message else f"HTTP status {error.status_code}"
    return f"{said} (code {error.code})" if error.code else said


def _broken_off(error: openai.APIError, host: Host) -> HostError:
    if isinstance(error, openai.APIResponseValidationError):
        return HostError(f"{host.title} sent an answer that cannot be read.", status_code=502)
    what = "did not answer in time" if isinstance(error, openai.APITimeoutError) else "cannot be reached"
    cause = f" ({error.__cause__})" if error.__cause__ else ""
    return HostUnreachableError(
        f"{host.title} {what}{cause}. Check the network and the base URL, then run again: "
        "a job that was created is found again, not created twice."
    )


def _wrong_key(error: openai.APIStatusError, host: Host) -> AuthenticationFailedError:
    way_out = (
        "The server that answers has another key than the one in its state directory: "
        "run `langchain-finetune stop` and try again."
        if host is LOCAL
        else "Set OPENAI_API_KEY, or hand over `client=openai.OpenAI(api_key=...)`."
    )
    return AuthenticationFailedError(
        # The host's own message can hold part of the key: it is left out.
        f"{host.title} does not accept the API key. {way_out}",
        status_code=error.status_code,
        code=error.code,
        param=error.param,
    )


def _no_training(error: openai.APIStatusError, host: Host) -> TrainingNotAvailable:
    return TrainingNotAvailable(
        f"{host.title} does not let this organization create fine-tuning jobs any more: {_said(error)}. "
        'This does not pass. Train on your own machine with "local:smollm2-135m-instruct", or at another '
        "host that speaks OpenAI's protocol by `client=openai.OpenAI(base_url=...)`.",
        status_code=error.status_code,
        code=error.code,
        param=error.param,
    )
