"""Runs from LangSmith, or from any other source that can be queried: of a project, or given one by one."""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Final

import langsmith
from langchain_core.chat_loaders import BaseChatLoader
from langchain_core.chat_sessions import ChatSession
from langchain_core.runnables import RunnableConfig
from pydantic import Field, field_validator
from typing_extensions import override

from langchain_finetune._stage import Stage, Steps, adrive, drive, result_of
from langchain_finetune.errors import FineTuneError, SelectionError
from langchain_finetune.handles import ChatSessionFile, Handle, RunSelection, SelectionFields
from langchain_finetune.loaders._chat_sessions import chat_sessions
from langchain_finetune.loaders._corrections import correction_of
from langchain_finetune.loaders._fetching import LONGEST_AGE_SECONDS, Fetching, key_of
from langchain_finetune.loaders._found import Found
from langchain_finetune.loaders._langsmith_api import LangSmithApi, new_client
from langchain_finetune.loaders._langsmith_source import LangSmithSource
from langchain_finetune.loaders._query_spool import QuerySpool
from langchain_finetune.loaders._run_files import (
    GivenRuns,
    is_only_an_id,
    read_runs,
    root_feedback_in,
)
from langchain_finetune.loaders._run_source import Run, RunSource, has_corrections, is_source
from langchain_finetune.loaders._selection import Sieve, merge, refuse_queries
from langchain_finetune.loaders._snapshots import Snapshot, load_snapshot, take_snapshot
from langchain_finetune.loaders._spooling import spool_sessions
from langchain_finetune.runs import Reason, Rejection, may_be_model_call, run_id_of, trace_id_of

LangSmithInput = RunSelection | dict[str, Any] | str | list[Any] | None

_logger = logging.getLogger(__name__)

_PROJECT_VARIABLES: Final = ("LANGSMITH_PROJECT", "LANGCHAIN_PROJECT")
_PAGE: Final = 100
_RETENTION: Final = timedelta(days=14)
_RETENTION_SENTENCE: Final = (
    "LangSmith keeps runs of its base tier for 14 days only; older ones are there where their retention was "
    "extended (https://docs.langchain.com/langsmith/administration-overview#data-retention)."
)


class _Project(Handle):
    """A query to LangSmith: the input as callbacks see it."""

    project_name: str | None
    selection: RunSelection


class _RunList(Handle):
    """Runs that were handed over: the input as callbacks see it."""

    path: Path
    selection: RunSelection


class LangSmithRunChatLoader(SelectionFields, Stage[LangSmithInput, ChatSessionFile], BaseChatLoader):
    """Loads recorded chat-model runs from LangSmith.

    Takes the place of the class of this name in langchain-community: the constructor and `lazy_load()` are
    the same.

    A project is read page by page into the state directory: a load that was broken off goes on where it
    stood. Requests keep to LangSmith's limit of 15 in ten seconds and wait where it asks to. See
    docs/langsmith.md for windows, feedback, corrections, scopes and snapshots.

    Args:
        runs: Runs, dicts or run ids to load; without them, the project is queried.
        client: The LangSmith client to use, or a store of recorded runs.
        **settings: The fields of `RunSelection`, `num_shards`, and `name` as in every Runnable.

    Raises:
        SelectionError: No project is named or it does not exist, a filter is refused, or nothing is selected.
        AuthenticationFailedError: There is no key, or it is not accepted.
        AccessDeniedError: The key may not read the project, or needs a workspace.
        RateLimitedError: LangSmith limits requests for longer than a load waits.
        HostUnavailableError: LangSmith keeps answering with faults of its own.
        HostUnreachableError: LangSmith cannot be reached.
        StorageError: The state directory cannot be written.

    ```python
    from langchain_finetune import LangSmithRunChatLoader

    loader = LangSmithRunChatLoader(project_name="my-app", feedback={"user_score": 1})
    sessions = loader.invoke({})
    ```
    """

    runs: Any = Field(default=None, exclude=True, repr=False)
    """Runs, dicts or run ids; an iterator is read once and gives the same runs ever after."""

    client: Any = Field(default=None, exclude=True, repr=False)
    """A `langsmith.Client`, or a store that can be queried for runs; without one, a client is made from the
    environment on first use."""

    num_shards: int = Field(default=4, ge=1, le=15)
    """Parts of the window that are read at once, within the one limit that they share; how many changes
    nothing about the sessions."""

    def __init__(
        self,
        runs: Iterable[Any] | None = None,
        client: langsmith.Client | RunSource | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(runs=runs, client=client, **settings)

    @field_validator("runs")
    @classmethod
    def _keep_for_good(cls, runs: Any) -> GivenRuns | None:
        return runs if runs is None or isinstance(runs, GivenRuns) else GivenRuns(runs)

    @cached_property
    def _client(self) -> Any:
        return self.client or new_client()

    def _source(self, project_name: str | None) -> RunSource:
        if is_source(self._client):
            return self._client
        return LangSmithSource(LangSmithApi(self._client), project_name)

    @override
    def lazy_load(self) -> Iterator[ChatSession]:
        yield from chat_sessions(result_of(self._steps(self._accept(None))).path)

    @override
    def _accept(self, given: Any) -> _Project | _RunList:
        runs = self.runs
        if isinstance(given, str):
            given = {"project_name": given}
        elif given is not None and not isinstance(given, RunSelection | Mapping):
            runs, given = GivenRuns(given), None
        selection = merge(self, given)
        if runs is not None and not _names_project(given):
            refuse_queries(selection, "a list of runs")
            return _RunList(path=runs.path(), selection=selection)
        name = _project_name(selection, is_needed=not is_source(self.client))
        return _Project(project_name=name, selection=selection)

    @override
    def _run(self, accepted: _Project | _RunList, config: RunnableConfig) -> ChatSessionFile:
        return drive(self._steps(accepted), config)

    @override
    async def _arun(self, accepted: _Project | _RunList, config: RunnableConfig) -> ChatSessionFile:
        return await adrive(self._steps(accepted), config)

    def _steps(self, accepted: _Project | _RunList) -> Steps[ChatSessionFile]:
        selection = accepted.selection
        if isinstance(accepted, _RunList):
            return (yield from self._of_runs(accepted.path, selection))
        selection = selection.model_copy(update={"project_name": accepted.project_name})
        source = self._source(accepted.project_name)
        try:
            if selection.snapshot is None:
                return (yield from self._of_project(source, selection))
            snapshot = None if selection.refresh else load_snapshot(selection.snapshot)
            if snapshot is not None:
                return (yield from _of_snapshot(source, snapshot, selection))
            sessions = yield from self._of_project(source, selection)
            take_snapshot(selection, sessions)
            return sessions
        finally:
            _close(source)

    def _of_project(self, source: RunSource, selection: RunSelection) -> Steps[ChatSessionFile]:
        name = f"project {selection.project_name!r}"
        if not isinstance(source, LangSmithSource):
            sieve = Sieve(selection, is_one_project=True)
            origin = f"the {name}" if selection.project_name else str(source)
            return (yield from spool_sessions(_queried(source, selection, sieve), sieve, origin))
        with QuerySpool(key_of(source, selection), LONGEST_AGE_SECONDS) as spool:
            fetching = Fetching(source, selection, spool, self.num_shards)
            window = fetching.window
            if _may_be_gone(selection):
                _logger.warning("%s", _RETENTION_SENTENCE)
            try:
                yield from fetching.steps()
            except FineTuneError:
                if not spool.num_pages:
                    spool.remove()  # nothing to go on with
                raise
            sieve = Sieve(selection.model_copy(update={"end_time": window.end}), is_one_project=True)
            advice = (
                f"Asked for were runs that started from {selection.start_time or 'the first one kept'} to "
                f"{window.end:%Y-%m-%d %H:%M} UTC. {_RETENTION_SENTENCE}"
            )
            found = _until_full(fetching.found(), sieve)
            try:
                sessions = yield from spool_sessions(found, sieve, f"the LangSmith {name}", advice)
            except SelectionError:
                spool.remove()  # whoever asks again wants to see what there is by then
                raise
            spool.remove()
        return sessions

    def _of_runs(self, path: Path, selection: RunSelection) -> Steps[ChatSessionFile]:
        sieve = Sieve(selection, is_one_project=True)
        return (yield from spool_sessions(self._given(path, sieve), sieve, "the runs given"))

    def _given(self, path: Path, sieve: Sieve) -> Iterator[Found | Rejection]:
        feedback = root_feedback_in(path)
        source: RunSource | None = None
        try:
            for page in _pages(read_runs(path)):
                run_ids = [run_id_of(run) for run in page if is_only_an_id(run)]
                fetched: dict[str, Run] = {}
                roots: dict[str, dict[str, float]] = {}
                if run_ids:
                    source = source or self._source(sieve.selection.project_name)
                    fetched = source.by_id(run_ids)
                    roots = source.root_feedback(_traces_of(fetched.values()))
                yield from _found_among(page, fetched, {**roots, **feedback})
                if sieve.is_full:
                    return
        finally:
            _close(source)


def _found_among(
    page: Iterable[Run], fetched: Mapping[str, Run], feedback: Mapping[str, dict[str, float]]
) -> Iterator[Found | Rejection]:
    for given in page:
        run = fetched.get(run_id_of(given)) if is_only_an_id(given) else given
        if run is None:
            yield Rejection(run_id_of(given), Reason.NOT_FOUND)
        elif may_be_model_call(run.get("run_type")):
            yield Found(run, feedback.get(trace_id_of(run) or "", {}))


def _close(source: RunSource | None) -> None:
    if isinstance(source, LangSmithSource):
        source.close()


def _of_snapshot(source: RunSource, snapshot: Snapshot, selection: RunSelection) -> Steps[ChatSessionFile]:
    """Give what is pinned: as it lies here, or else the same runs again, whatever would be selected now."""
    snapshot.check(selection)
    if (sessions := snapshot.kept_sessions()) is not None:
        return sessions
    everything = RunSelection(
        project_name=selection.project_name,
        include_errors=selection.include_errors,
        include_tuned=True,
        corrections="ignore" if selection.corrections == "ignore" else "prefer",
    )
    sieve = Sieve(everything, is_one_project=True)
    name = f"the snapshot {selection.snapshot!r}"
    loaded = yield from spool_sessions(
        _pinned(source, snapshot, everything), sieve, name, _RETENTION_SENTENCE
    )
    return loaded.model_copy(
        update={"source": snapshot.sessions.source, "selection": snapshot.sessions.selection}
    )


def _pinned(source: RunSource, snapshot: Snapshot, selection: RunSelection) -> Iterator[Found | Rejection]:
    ids = snapshot.run_ids()
    used: set[str] = set()
    while batch := list(islice(ids, _PAGE)):
        fetched = source.by_id(batch)
        found = {run_id_of(it.run): it for it in _completed(source, list(fetched.values()), selection, used)}
        for run_id in batch:
            yield found.get(run_id) or Rejection(run_id, Reason.NOT_FOUND)


def _queried(source: RunSource, selection: RunSelection, sieve: Sieve) -> Iterator[Found]:
    used: set[str] = set()
    for page in source.query(selection):
        yield from _completed(source, page, selection, used)
        if sieve.is_full:
            return


def _completed(
    source: RunSource, page: list[Run], selection: RunSelection, used: set[str]
) -> Iterator[Found]:
    """Look up what hangs on runs, newest first: scores on their roots, and corrections.

    Args:
        source: Where they come from.
        page: The runs.
        selection: Whether corrections are wanted.
        used: Traces whose root's correction was given to their last answer; added to.

    Raises:
        SelectionError: Corrections are wanted and the source keeps none.
    """
    traces = _traces_of(page)
    roots = source.root_feedback(traces) if traces else {}
    corrections: dict[str, Any] = {}
    if selection.corrections != "ignore":
        if not has_corrections(source):
            msg = "this store of runs keeps no corrections: leave corrections out."
            raise SelectionError(msg)
        corrections = source.corrections(traces | {run_id_of(run) for run in page})
    for run in page:
        run_id, trace_id = run_id_of(run), trace_id_of(run) or ""
        correction = correction_of(run_id, trace_id, corrections, used)
        yield Found(run, roots.get(trace_id, {}), correction)


def _traces_of(runs: Iterable[Run]) -> set[str]:
    return {trace_id for run in runs if (trace_id := trace_id_of(run)) and trace_id != run_id_of(run)}


def _until_full(found: Iterator[Found | Rejection], sieve: Sieve) -> Iterator[Found | Rejection]:
    for item in found:
        yield item
        if sieve.is_full:
            return


def _may_be_gone(selection: RunSelection) -> bool:
    start = selection.start_time
    if start is None:
        return True
    return (start if start.tzinfo else start.replace(tzinfo=UTC)) < datetime.now(UTC) - _RETENTION


def _names_project(given: Any) -> bool:
    if isinstance(given, RunSelection):
        return given.project_name is not None
    return isinstance(given, Mapping) and given.get("project_name") is not None


def _project_name(selection: RunSelection, *, is_needed: bool) -> str | None:
    names = (selection.project_name, *(os.environ.get(name) for name in _PROJECT_VARIABLES))
    for name in names:
        if name:
            return name
    if not is_needed:
        return None  # a local store may be asked for the runs of all its projects
    msg = (
        "no runs and no project are named: give runs, or the project as in "
        'LangSmithRunChatLoader(project_name="my-app"), or set LANGSMITH_PROJECT.'
    )
    raise SelectionError(msg)


def _pages(runs: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    page: list[Mapping[str, Any]] = []
    for run in runs:
        page.append(run)
        if len(page) == _PAGE:
            yield page
            page = []
    if page:
        yield page
