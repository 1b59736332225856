"""LangSmith's datasets: the one module that asks for them, and writes them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import langsmith
from langsmith import schemas
from langsmith.utils import (
    LangSmithAuthError,
    LangSmithConflictError,
    LangSmithConnectionError,
    LangSmithError,
    LangSmithNotFoundError,
    LangSmithRateLimitError,
    LangSmithRequestTimeout,
)

from langchain_finetune.errors import (
    AuthenticationFailedError,
    FineTuneError,
    HostError,
    HostUnavailableError,
    HostUnreachableError,
    RateLimitedError,
    SelectionError,
    SettingError,
)

_SERVER_FAULT: Final = 500
_MOST_DETAILS: Final = 3


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


class NewExample(NamedTuple):
    """An example to write."""

    id: UUID
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    split: str
    metadata: Mapping[str, Any]
    source_run_id: UUID | None
    size: int
    """Bytes of its row."""


@dataclass(frozen=True, slots=True)
class DatasetWriter:
    """A dataset that is written to. Its methods raise as `list_examples`, and `HostError` for a refusal."""

    client: langsmith.Client
    id: UUID
    name: str
    url: str | None
    is_new: bool

    @classmethod
    def open(
        cls, client: langsmith.Client | None, name: str, description: str, metadata: Mapping[str, Any]
    ) -> "DatasetWriter":
        """Find the dataset of a name, or make one of key and value.

        Raises:
            SettingError: There is one of another type.
        HostUnavailableError: Another process has made it meanwhile.
        """
        client = client or langsmith.Client()
        with _writing(client, name):
            found = _find(client, name)
            if is_new := found is None:
                found = client.create_dataset(name, description=description, metadata=dict(metadata))
        if found.data_type is not None and found.data_type is not schemas.DataType.kv:
            msg = (
                f"the LangSmith dataset {name!r} is of type {found.data_type.value}, which has no place for "
                "tools and weights: give the name of a key-value dataset, or a new name."
            )
            raise SettingError(msg)
        return cls(client, found.id, name, found.url, is_new)

    def splits_of(self, ids: Sequence[UUID]) -> dict[UUID, list[str]]:
        """Return the splits of those of the examples that are there, by id."""
        with _writing(self.client, self.name):
            examples = self.client.list_examples(
                dataset_id=self.id,
                example_ids=list(ids),
                select=["dataset_id", "metadata"],
                exclude_default_fields=True,
            )
            return {it.id: list((it.metadata or {}).get("dataset_split") or ()) for it in examples}

    def create(self, examples: Sequence[NewExample], *, has_sources: bool = True) -> None:
        """Write examples that are not there.

        Args:
            examples: The examples.
            has_sources: Whether to name the runs that they come from.
        """
        new = [
            {
                "id": it.id,
                "inputs": dict(it.inputs),
                "reference_outputs": dict(it.outputs),
                "split": it.split,
                "metadata": dict(it.metadata),
                "source_run_id": it.source_run_id if has_sources else None,
            }
            for it in examples
        ]
        with _writing(self.client, self.name):
            self.client.create_examples(dataset_id=self.id, examples=new)

    def move(self, splits: Mapping[UUID, Sequence[str]]) -> None:
        """Give examples other splits."""
        moved = [{"id": each, "split": list(names)} for each, names in splits.items()]
        with _writing(self.client, self.name):
            self.client.update_examples(dataset_id=self.id, updates=moved)

    def version(self) -> datetime:
        """Return the time that names the latest version."""
        with _writing(self.client, self.name):
            return self.client.read_dataset_version(dataset_id=self.id, tag="latest").as_of

    def num_examples(self) -> int | None:
        """Return how many examples there are; None where the server does not say."""
        with _writing(self.client, self.name):
            dataset: schemas.Dataset = self.client.read_dataset(dataset_id=self.id)
            return dataset.example_count


def _find(client: langsmith.Client, name: str) -> schemas.Dataset | None:
    try:
        dataset: schemas.Dataset = client.read_dataset(dataset_name=name)
    except LangSmithNotFoundError:
        return None
    return dataset


@contextmanager
def _writing(client: langsmith.Client, name: str) -> Iterator[None]:
    try:
        yield
    except (LangSmithError, ValueError) as e:
        # Not from its cause, whose text repeats what was sent: rows.
        raise _clear_of_writing(e, client.api_url, f"dataset {name!r}") from None


def _clear_of_writing(error: Exception, host: str, subject: str) -> FineTuneError:
    status = _status_of(error)
    if isinstance(error, LangSmithConflictError):
        msg = f"LangSmith at {host} has a conflict for {subject}: somebody else writes it too. Run again."
        return HostUnavailableError(msg, status_code=status)
    is_refusal = status is not None and status < _SERVER_FAULT
    if isinstance(error, LangSmithNotFoundError) or (
        is_refusal
        and not isinstance(error, LangSmithAuthError | LangSmithRateLimitError)
        and status not in (401, 403, 408)
    ):
        msg = (
            f"LangSmith at {host} refuses an example for {subject}: {_details_of(error) or status}. "
            "Look at the dataset's schema and its type."
        )
        return HostError(msg, status_code=status)
    return _clear(error, host, subject)


def _details_of(error: Exception) -> str:
    """Return where and why, of FastAPI's way to refuse: what it repeats of the request is left out."""
    try:
        details = error.__context__.response.json()["detail"]  # type: ignore[union-attr]
    except (AttributeError, ValueError, KeyError, TypeError):
        return ""
    listed = details if isinstance(details, list) else []
    told = [it for it in listed if isinstance(it, dict)][:_MOST_DETAILS]
    return "; ".join(f"{'.'.join(map(str, it.get('loc') or ()))}: {it.get('type')}" for it in told)


def _status_of(error: Exception) -> int | None:
    return getattr(getattr(error.__context__, "response", None), "status_code", None)


def _clear(error: Exception, host: str, subject: str) -> FineTuneError:
    status = _status_of(error)
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
