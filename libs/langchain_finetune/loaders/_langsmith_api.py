"""LangSmith's run queries; the one module that calls them.

`list_runs` is the query that every LangSmith answers, cloud and self-hosted. It pages by itself; a `limit` is
never passed on, because the server refuses more than 100 a page.
"""

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import langsmith
import langsmith.schemas
from langsmith.utils import (
    LangSmithAuthError,
    LangSmithConnectionError,
    LangSmithError,
    LangSmithNotFoundError,
    LangSmithRequestTimeout,
)

from langchain_finetune.errors import (
    AuthenticationFailedError,
    FineTuneError,
    HostError,
    HostUnreachableError,
    SelectionError,
)
from langchain_finetune.handles import RunSelection
from langchain_finetune.runs import feedback_of, trace_id_of

PAGE: Final = 100
"""Most runs that LangSmith returns, or looks up by id, in one call."""

_RUN_COLUMNS: Final = [
    "id",
    "trace_id",
    "parent_run_id",
    "session_id",
    "dotted_order",
    "name",
    "run_type",
    "start_time",
    "end_time",
    "inputs",
    "outputs",
    "extra",
    "error",
    "status",
    "tags",
    "feedback_stats",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
]
"""What is read of a run. Not among them: `s3_urls`, for which the SDK downloads every attachment."""

_ROOT_COLUMNS: Final = ["id", "trace_id", "name", "run_type", "start_time", "feedback_stats"]

Run = Mapping[str, Any]


def new_client() -> langsmith.Client:
    """Make a client from the environment."""
    return langsmith.Client()


def query_runs(client: langsmith.Client, project_name: str, selection: RunSelection) -> Iterator[Run]:
    """Yield the chat-model runs of a project, narrowed by all that the server can evaluate.

    Feedback mostly lies on the root of a trace, sometimes on the model's run itself: the server can ask for
    each, not for either, so both are asked for and a run is yielded once.

    Raises:
        SelectionError: There is no such project, or the server refuses a filter.
        AuthenticationFailedError: The key is not accepted.
        HostUnreachableError: The server cannot be reached.
    """
    conditions = _conditions(selection)
    rated = _rated(selection)
    trace_filter = _both([selection.trace_filter, rated])
    seen: set[str] = set()
    for run in _list_runs(client, selection, project_name, _both(conditions), trace_filter):
        if rated:
            seen.add(str(run["id"]))
        yield run
    if rated:
        own = _both([*conditions, rated])
        for run in _list_runs(client, selection, project_name, own, selection.trace_filter):
            if str(run["id"]) not in seen:
                yield run


def runs_by_id(client: langsmith.Client, run_ids: list[str]) -> dict[str, Run]:
    """Return the runs of at most `PAGE` ids, by id; one that the server does not know is left out.

    Raises:
        AuthenticationFailedError: The key is not accepted.
        HostUnreachableError: The server cannot be reached.
    """
    with _clear_errors(client, "the runs asked for by id"):
        return {str(run.id): vars(run) for run in _quietly(client, run_ids=run_ids, select=_RUN_COLUMNS)}


def root_feedback(client: langsmith.Client, runs: Iterable[Run]) -> dict[str, dict[str, float]]:
    """Return the average scores on the roots of the traces of at most `PAGE` runs, by trace id."""
    trace_ids = {trace_id_of(run) for run in runs if trace_id_of(run) != str(run["id"])}
    wanted = sorted(trace_id for trace_id in trace_ids if trace_id)
    if not wanted:
        return {}
    with _clear_errors(client, "the roots of traces"):
        roots = _quietly(client, run_ids=wanted, select=_ROOT_COLUMNS)
        return {str(root.id): feedback_of(vars(root)) for root in roots}


def _list_runs(
    client: langsmith.Client,
    selection: RunSelection,
    project_name: str,
    run_filter: str | None,
    trace_filter: str | None,
) -> Iterator[Run]:
    with _clear_errors(client, f"project {project_name!r}"):
        for run in _quietly(
            client,
            project_name=project_name,
            run_type="llm",
            start_time=_aware(selection.start_time),
            filter=run_filter,
            trace_filter=trace_filter,
            tree_filter=selection.tree_filter,
            select=_RUN_COLUMNS,
        ):
            yield vars(run)


def _quietly(client: langsmith.Client, **query: Any) -> Iterator[langsmith.schemas.Run]:
    # The deprecation is this module's business: it is where the successor will be called.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        runs: Iterator[langsmith.schemas.Run] = client.list_runs(**query)
    return runs


def _conditions(selection: RunSelection) -> list[str | None]:
    """Write the named fields that LangSmith's query language has as conditions on the run."""
    conditions = [selection.filter]
    if selection.end_time is not None:
        conditions.append(f"lt(start_time, {_text(_aware(selection.end_time).isoformat())})")
    if selection.run_name is not None:
        conditions.append(f"eq(name, {_text(selection.run_name)})")
    conditions += [f"has(tags, {_text(tag)})" for tag in selection.tags]
    conditions += [
        f"and(eq(metadata_key, {_text(key)}), eq(metadata_value, {_text(value)}))"
        for key, value in (selection.metadata or {}).items()
        if isinstance(value, str)
    ]
    return conditions


def _rated(selection: RunSelection) -> str | None:
    # One key narrows enough; that all keys hold is tried on each run that comes back.
    for key, least in (selection.feedback or {}).items():
        return f"and(eq(feedback_key, {_text(key)}), gte(feedback_score, {least:g}))"
    return None


def _both(conditions: list[str | None]) -> str | None:
    given = [condition for condition in conditions if condition]
    return given[0] if len(given) == 1 else f"and({', '.join(given)})" if given else None


def _text(value: str) -> str:
    return json.dumps(value)


def _aware(value: datetime | None) -> Any:
    return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


@contextmanager
def _clear_errors(client: langsmith.Client, subject: str) -> Iterator[None]:
    host = client.api_url
    try:
        yield
    except LangSmithNotFoundError as e:
        msg = f"LangSmith at {host} has no {subject}: check its name, and the workspace of the key."
        raise SelectionError(msg) from e
    except (LangSmithConnectionError, LangSmithRequestTimeout) as e:
        msg = f"LangSmith at {host} cannot be reached for {subject}: check LANGSMITH_ENDPOINT."
        raise HostUnreachableError(msg) from e
    except LangSmithError as e:
        raise _host_error(e, host, subject) from e


def _host_error(error: LangSmithError, host: str, subject: str) -> FineTuneError:
    response = getattr(error.__context__, "response", None)
    status = getattr(response, "status_code", None)
    if isinstance(error, LangSmithAuthError) or status in (401, 403):
        msg = f"LangSmith at {host} does not accept the key for {subject}: set LANGSMITH_API_KEY."
        return AuthenticationFailedError(msg, status_code=status)
    if status in (400, 422):
        msg = f"LangSmith at {host} refuses the query for {subject}: check its filters."
        return SelectionError(msg)
    msg = f"LangSmith at {host} answered {status or 'with an error'} for {subject}: try again in a minute."
    return HostError(msg, status_code=status)
