"""What a client is told of an error: what went wrong and what to do, and nothing of the server's own."""

import os
import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from langchain_finetune._spool import state_path
from langchain_finetune.errors import (
    AliasError,
    AliasNotFoundError,
    CostLimitError,
    FineTuneError,
    HostError,
    JobError,
    JobNotFoundError,
    NotSupportedError,
    RateLimitedError,
    SelectionError,
    ServedInputError,
    SettingError,
    TrainingDataError,
    UnknownBaseError,
    UnreadableRunError,
)
from langchain_finetune.hosts import HOSTS

_INTERNAL: Final = "the server failed: its log has the error."

_HOST: Final = "the host of the models refused, or cannot be reached: the server's log has the error."

_KEY_SHAPES: Final = re.compile(
    r"(?:\b(?:sk|pk|lsv2|fw|nvapi|hf)[-_][A-Za-z0-9_*.-]{6,})|(?:\bBearer\s+\S+)|(?<=://)[^/\s@]+@"
)
_PATHS: Final = re.compile(r"(?<![\w:/.])/(?:[\w.@+-]+/)+([\w.@+-]*)")

_STATUS: Final[tuple[tuple[type[BaseException], int], ...]] = (
    (AliasNotFoundError, 404),
    (JobNotFoundError, 404),
    (ServedInputError, 422),
    (AliasError, 422),
    (SelectionError, 422),
    (UnreadableRunError, 422),
    (CostLimitError, 422),
    (SettingError, 422),
    (RateLimitedError, 429),
    (NotSupportedError, 501),
    (TrainingDataError, 422),
    (UnknownBaseError, 422),
    (HostError, 502),
    (JobError, 409),
)
"""The status of each error whose message is for clients, the first that fits."""


class Told(NamedTuple):
    """An error as a client is told it."""

    status_code: int
    code: str
    message: str
    retry_after_seconds: float | None = None


def told_of(error: BaseException, secrets: Iterable[str] = ()) -> Told:
    """Return what a client is told of an error.

    Args:
        error: The error. What is none of this package's, or is about the server itself, is told without a
            word of its own.
        secrets: Keys that must not stand in the message.
    """
    if isinstance(error, ValidationError):
        return Told(422, "ServedInputError", scrubbed(_fields_of(error), secrets))
    code = type(error).__name__
    for kind, status_code in _STATUS:
        if isinstance(error, kind):
            retry_after = getattr(error, "retry_after_seconds", None)
            # What a host says of a key, of permissions or of a bill is the server's business.
            is_own = isinstance(error, PermissionError)
            message = _HOST if is_own else scrubbed(str(error), secrets)
            return Told(status_code, code, message, retry_after)
    return Told(500, code if isinstance(error, FineTuneError) else "InternalError", _INTERNAL)


def scrubbed(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text without keys and without the places of files: of a path, its last name is left."""
    for secret in secrets:
        if len(secret) > 3:  # noqa: PLR2004 - a key that short is a word of the language
            text = text.replace(secret, "[key]")
    text = text.replace(str(state_path()), "[state]")
    return _PATHS.sub(lambda match: match[1] or "[path]", _KEY_SHAPES.sub("[key]", text))


def secrets_of(trainer: Any) -> list[str]:
    """Return the keys that a trainer may use."""
    host = trainer._target.host  # noqa: SLF001 - the settings are the trainer's own
    given = [
        trainer.api_key,
        *(getattr(it, "api_key", None) for it in (trainer.client, trainer.async_client)),
    ]
    keys = [getattr(key, "get_secret_value", lambda key=key: key)() for key in given if key is not None]
    keys += [os.environ.get(each.key_variable or "") for each in (host, *HOSTS.values())]
    return [key for key in keys if isinstance(key, str) and key]


def _fields_of(error: ValidationError) -> str:
    # The input that pydantic quotes may be anything that a client sent: it is named, not repeated.
    problems = error.errors(include_input=False, include_url=False, include_context=False)
    named = [f"{'.'.join(map(str, each['loc'])) or 'the input'}: {each['msg']}" for each in problems[:5]]
    return f"the input cannot be read: {'; '.join(named)}."
