"""Runs from a file: JSON Lines as LangSmith's API, SDK and bulk exports write them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from langchain_core.chat_loaders import BaseChatLoader
from langchain_core.chat_sessions import ChatSession
from langchain_core.runnables import RunnableConfig
from pydantic import BeforeValidator
from typing_extensions import override

from langchain_finetune._stage import Stage, Steps, adrive, drive, result_of
from langchain_finetune.errors import SelectionError
from langchain_finetune.handles import ChatSessionFile, Handle, RunSelection, SelectionFields
from langchain_finetune.loaders._chat_sessions import chat_sessions
from langchain_finetune.loaders._run_files import is_model_run, read_runs, root_feedback_in
from langchain_finetune.loaders._selection import Sieve, merge, refuse_queries
from langchain_finetune.loaders._spooling import Found, spool_sessions
from langchain_finetune.runs import trace_id_of

ExportInput = RunSelection | dict[str, Any] | str | Path | None


class _Export(Handle):
    """What is read: the input as callbacks see it."""

    path: Path
    selection: RunSelection


class RunExportLoader(SelectionFields, Stage[ExportInput, ChatSessionFile], BaseChatLoader):
    """Loads recorded chat-model runs from an export.

    Only runs of type `llm` are read; the other runs of a trace give the feedback on its root. The file is
    read as a stream: its size does not matter for memory.

    Args:
        path: JSON Lines, one run a line.
        **settings: The fields of `RunSelection`, and `name` as in every Runnable.

    ```python
    from langchain_finetune import RunExportLoader

    sessions = RunExportLoader("runs.jsonl", feedback={"user_score": 1}).invoke({})
    ```
    """

    path: Annotated[str, BeforeValidator(os.fspath)] | None = None
    """JSON Lines, one run a line; columns may be JSON strings, as bulk exports write them."""

    def __init__(self, path: str | os.PathLike[str] | None = None, **settings: Any) -> None:
        super().__init__(path=path, **settings)

    @override
    def lazy_load(self) -> Iterator[ChatSession]:
        yield from chat_sessions(result_of(self._steps(self._accept(None))).path)

    @override
    def _accept(self, given: Any) -> _Export:
        path = self.path
        if isinstance(given, str | os.PathLike):
            path, given = os.fspath(given), None
        if path is None:
            msg = 'no export is named: give its path, as in RunExportLoader("runs.jsonl").'
            raise SelectionError(msg)
        selection = merge(self, given)
        refuse_queries(selection, f"the export {path}")
        return _Export(path=Path(path), selection=selection)

    @override
    def _run(self, accepted: _Export, config: RunnableConfig) -> ChatSessionFile:
        return drive(self._steps(accepted), config)

    @override
    async def _arun(self, accepted: _Export, config: RunnableConfig) -> ChatSessionFile:
        return await adrive(self._steps(accepted), config)

    def _steps(self, export: _Export) -> Steps[ChatSessionFile]:
        sieve = Sieve(export.selection)
        return (yield from spool_sessions(_model_runs(export.path), sieve, f"the export {export.path}"))


def _model_runs(path: Path) -> Iterator[Found]:
    # Feedback mostly lies on the root of a trace, which may stand after the model's run: two passes.
    feedback = root_feedback_in(path)
    for run in read_runs(path):
        if is_model_run(run):
            yield Found(run, feedback.get(trace_id_of(run) or "", {}))
