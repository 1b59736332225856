"""What the openai client raises, as errors of this package that say what to do."""

import openai

from langchain_finetune.errors import HostError, HostUnavailableError, UnknownBaseError
from langchain_finetune.hosts import Host
from langchain_finetune.trainers.hosts import refusals
from langchain_finetune.trainers.hosts.refusals import Refusal


def error_of(error: openai.APIError, host: Host, now: float | None = None) -> HostError | UnknownBaseError:
    """Return what an error of the client means.

    Args:
        error: What the client raised.
        host: Who answered.
        now: Seconds since 1970; None is the clock.
    """
    if isinstance(error, openai.APIStatusError):
        return refusals.error_of(_refusal(error), host, now)
    if isinstance(error, openai.APIResponseValidationError):
        return HostUnavailableError(f"{host.title} sent an answer that cannot be read.", status_code=502)
    return refusals.broken_off(error, host, is_timeout=isinstance(error, openai.APITimeoutError))


def _refusal(error: openai.APIStatusError) -> Refusal:
    body = error.body if isinstance(error.body, dict) else {}
    message = body.get("message")
    return Refusal(
        status=error.status_code,
        message=message if isinstance(message, str) else "",
        # The client does not check what the host sends.
        code=error.code if isinstance(error.code, str) and error.code else None,
        param=error.param if isinstance(error.param, str) else None,
        headers=error.response.headers,
    )
