"""LangSmith's datasets: the one module that asks for them."""

from collections.abc import Iterator, Mapping
from typing import Any

import langsmith
from langsmith.utils import (
    LangSmithAuthError,
    LangSmithConnectionError,
    LangSmithError,
    LangSmithNotFoundError,
    LangSmithRateLimitError,
    LangSmithRequestTimeout,
)

from langchain_finetune.errors import (
    AuthenticationFailedError,
    FineTuneError,
    HostUnavailableError,
    HostUnreachableError,
    RateLimitedError,
    SelectionError,
)


def list_examples(
    client: langsmith.Client | None, dataset_name: str, query: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    """Yield the examples of a dataset, as the server orders them; attachments stay where they are.

    Args:
        client: The client; None makes one from the environment.
        dataset_name: The dataset.
        query: Further arguments of the client's `list_examples`.

    Raises:
        SelectionError: There is no such dataset, or the server refuses a filter.
        AuthenticationFailedError: The key is not accepted.
        HostUnreachableError: The server cannot be reached.
    """
    client = client or langsmith.Client()
    try:
        for example in client.list_examples(dataset_name=dataset_name, **query):
            yield vars(example)
    except (LangSmithError, ValueError) as e:
        raise _clear(e, client.api_url, f"dataset {dataset_name!r}") from e


def _clear(error: Exception, host: str, subject: str) -> FineTuneError:
    status = getattr(getattr(error.__context__, "response", None), "status_code", None)
    if isinstance(error, LangSmithNotFoundError):
        msg = f"LangSmith at {host} has no {subject}: check its name, and the workspace of the key."
        return SelectionError(msg)
    if isinstance(error, LangSmithConnectionError | LangSmithRequestTimeout):
        msg = f"LangSmith at {host} cannot be reached for {subject}: check LANGSMITH_ENDPOINT."
        return HostUnreachableError(msg)
    if isinstance(error, LangSmithAuthError) or status in (401, 403):
        msg = f"LangSmith at {host} does not accept the key for {subject}: set LANGSMITH_API_KEY."
        return AuthenticationFailedError(msg, status_code=status)
    if isinstance(error, LangSmithRateLimitError):
        msg = f"LangSmith at {host} limits requests for {subject}: try again in a minute."
        return RateLimitedError(msg, status_code=status)
    if status in (400, 422):
        msg = f"LangSmith at {host} refuses the query for {subject}: check splits, as_of, metadata, filter."
        return SelectionError(msg)
    msg = f"LangSmith at {host} answered {status or 'with an error'} for {subject}: try again in a minute."
    return HostUnavailableError(msg, status_code=status)
