"""Runs from LangSmith: of a project, or given one by one."""

import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import langsmith
from langchain_core.chat_loaders import BaseChatLoader
from langchain_core.chat_sessions import ChatSession
from langchain_core.runnables import RunnableConfig
from pydantic import Field, field_validator
from typing_extensions import override

from langchain_finetune._stage import Stage, Steps, adrive, drive, result_of
from langchain_finetune.errors import SelectionError
from langchain_finetune.handles import ChatSessionFile, Handle, RunSelection, SelectionFields
from langchain_finetune.loaders import _langsmith_api as api
from langchain_finetune.loaders._chat_sessions import chat_sessions
from langchain_finetune.loaders._run_files import (
    GivenRuns,
    is_model_run,
    is_only_an_id,
    read_runs,
    root_feedback_in,
)
from langchain_finetune.loaders._selection import Sieve, merge, refuse_queries
from langchain_finetune.loaders._spooling import Found, spool_sessions
from langchain_finetune.runs import Reason, Rejection, run_id_of, trace_id_of

LangSmithInput = RunSelection | dict[str, Any] | str | list[Any] | None

_PROJECT_VARIABLES = ("LANGSMITH_PROJECT", "LANGCHAIN_PROJECT")


class _Project(Handle):
    """A query to LangSmith: the input as callbacks see it."""

    project_name: str
    selection: RunSelection


class _RunList(Handle):
    """Runs that were handed over: the input as callbacks see it."""

    path: Path
    selection: RunSelection


class LangSmithRunChatLoader(SelectionFields, Stage[LangSmithInput, ChatSessionFile], BaseChatLoader):
    """Loads recorded chat-model runs from LangSmith.

    Takes the place of the class of this name in langchain-community: the constructor and `lazy_load()` are
    the same.

    Args:
        runs: Runs, dicts or run ids to load; without them, the project is queried.
        client: The LangSmith client to use.
        **settings: The fields of `RunSelection`, and `name` as in every Runnable.

    ```python
    from langchain_finetune import LangSmithRunChatLoader

    loader = LangSmithRunChatLoader(project_name="my-app", feedback={"user_score": 1})
    sessions = loader.invoke({})
    ```
    """

    runs: Any = Field(default=None, exclude=True, repr=False)
    """Runs, dicts or run ids; an iterator is read once and gives the same runs ever after."""

    client: Any = Field(default=None, exclude=True, repr=False)
    """A `langsmith.Client`; without one, it is made from the environment on first use."""

    def __init__(
        self,
        runs: Iterable[Any] | None = None,
        client: langsmith.Client | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(runs=runs, client=client, **settings)

    @field_validator("runs")
    @classmethod
    def _keep_for_good(cls, runs: Any) -> GivenRuns | None:
        return runs if runs is None or isinstance(runs, GivenRuns) else GivenRuns(runs)

    @cached_property
    def _client(self) -> langsmith.Client:
        return self.client or api.new_client()

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
        return _Project(project_name=_project_name(selection), selection=selection)

    @override
    def _run(self, accepted: _Project | _RunList, config: RunnableConfig) -> ChatSessionFile:
        return drive(self._steps(accepted), config)

    @override
    async def _arun(self, accepted: _Project | _RunList, config: RunnableConfig) -> ChatSessionFile:
        return await adrive(self._steps(accepted), config)

    def _steps(self, accepted: _Project | _RunList) -> Steps[ChatSessionFile]:
        sieve = Sieve(accepted.selection, is_one_project=True)
        if isinstance(accepted, _RunList):
            return (yield from spool_sessions(self._given(accepted.path, sieve), sieve, "the runs given"))
        source = f"the LangSmith project {accepted.project_name!r}"
        return (yield from spool_sessions(self._queried(accepted, sieve), sieve, source))

    def _queried(self, project: _Project, sieve: Sieve) -> Iterator[Found]:
        runs = api.query_runs(self._client, project.project_name, project.selection)
        for page in _pages(runs):
            roots = api.root_feedback(self._client, page)
            yield from (Found(run, roots.get(trace_id_of(run) or "", {})) for run in page)
            if sieve.is_full:
                return

    def _given(self, path: Path, sieve: Sieve) -> Iterator[Found | Rejection]:
        feedback = root_feedback_in(path)
        for page in _pages(read_runs(path)):
            run_ids = [run_id_of(run) for run in page if is_only_an_id(run)]
            fetched = api.runs_by_id(self._client, run_ids) if run_ids else {}
            roots = api.root_feedback(self._client, fetched.values()) if fetched else {}
            for given in page:
                run = fetched.get(run_id_of(given)) if is_only_an_id(given) else given
                if run is None:
                    yield Rejection(run_id_of(given), Reason.NOT_FOUND)
                elif is_model_run(run):
                    trace_id = trace_id_of(run) or ""
                    yield Found(run, feedback.get(trace_id) or roots.get(trace_id, {}))
            if sieve.is_full:
                return


def _names_project(given: Any) -> bool:
    if isinstance(given, RunSelection):
        return given.project_name is not None
    return isinstance(given, Mapping) and given.get("project_name") is not None


def _project_name(selection: RunSelection) -> str:
    names = (selection.project_name, *(os.environ.get(name) for name in _PROJECT_VARIABLES))
    for name in names:
        if name:
            return name
    msg = (
        "no runs and no project are named: give runs, or the project as in "
        'LangSmithRunChatLoader(project_name="my-app"), or set LANGSMITH_PROJECT.'
    )
    raise SelectionError(msg)


def _pages(runs: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    page: list[Mapping[str, Any]] = []
    for run in runs:
        page.append(run)
        if len(page) == api.PAGE:
            yield page
            page = []
    if page:
        yield page
