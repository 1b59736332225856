"""What the server can answer instead of a result, in OpenAI's error envelope.

```text
ApiError (Exception)          an HTTP answer: status, message, type, param, code
UnknownBase (LookupError)     a base model that is neither here nor to be had
```

Routes raise `ApiError`; `app.py` turns it, and everything else that goes wrong, into `error_body`.
"""

import errno
import sqlite3
from collections.abc import Mapping
from typing import TypedDict


class ErrorFields(TypedDict):
    """The inside of the envelope."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(TypedDict):
    """The envelope, as every endpoint answers it."""

    error: ErrorFields


class ApiError(Exception):
    """An answer to the client that is an error.

    Args:
        status: The HTTP status.
        message: What failed, on which id, and what to do. Never the content of a prompt or row.
        type: OpenAI's `error.type`.
        param: The request parameter that is to blame.
        code: OpenAI's `error.code`.
        is_retryable: Whether the same request may succeed later; told to the openai client, which
            otherwise retries every 409, 429 and 5xx.
    """

    def __init__(  # noqa: PLR0913 - the fields of the envelope, each with a name of its own
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",  # noqa: A002 - the envelope's own word
        param: str | None = None,
        code: str | None = None,
        is_retryable: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.param = param
        self.code = code
        self.is_retryable = is_retryable

    def body(self) -> ErrorBody:
        """The envelope of this error."""
        return error_body(self.message, type=self.type, param=self.param, code=self.code)

    def headers(self) -> Mapping[str, str]:
        """Tells the openai client not to repeat a request that cannot succeed."""
        return {"x-should-retry": "true" if self.is_retryable else "false"}


class UnknownBase(LookupError):
    """A base model that cannot be resolved.

    Args:
        name: The base as the client named it.
        hint: How to get it, as a whole sentence; empty where there is none.
    """

    def __init__(self, name: str, hint: str = "") -> None:
        text = f"The model `{name}` is not available for fine-tuning or does not exist."
        super().__init__(f"{text} {hint}".rstrip())
        self.name = name
        self.hint = hint


def error_body(
    message: str,
    *,
    type: str = "invalid_request_error",  # noqa: A002 - the envelope's own word
    param: str | None = None,
    code: str | None = None,
) -> ErrorBody:
    """OpenAI's error envelope."""
    return {"error": {"message": message, "type": type, "param": param, "code": code}}


def model_not_found(model_id: str) -> ApiError:
    """The answer for a model that this server does not have, in OpenAI's words."""
    return ApiError(
        404,
        f"The model `{model_id}` does not exist or you do not have access to it. "
        "`GET /v1/models` lists what this server has.",
        param="model",
        code="model_not_found",
    )


def is_disk_full(error: BaseException) -> bool:
    """Whether an error says that the disk, or the share of it that one or one file may use, is full."""
    if isinstance(error, sqlite3.OperationalError):
        return error.sqlite_errorcode == sqlite3.SQLITE_FULL
    return isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
