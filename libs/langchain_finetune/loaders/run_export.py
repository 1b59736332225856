"""Runs from files: JSON Lines and Parquet as LangSmith's API, SDK and bulk exports write them."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

from langchain_core.chat_loaders import BaseChatLoader
from langchain_core.chat_sessions import ChatSession
from langchain_core.runnables import RunnableConfig
from pydantic import BeforeValidator, Field
from typing_extensions import override

from langchain_finetune._stage import Stage, Steps, adrive, drive, result_of
from langchain_finetune.errors import SelectionError
from langchain_finetune.handles import ChatSessionFile, Handle, RunSelection, SelectionFields
from langchain_finetune.loaders._chat_sessions import chat_sessions
from langchain_finetune.loaders._export_files import shown
from langchain_finetune.loaders._exports import Export
from langchain_finetune.loaders._selection import Sieve, merge, refuse_queries
from langchain_finetune.loaders._spooling import spool_sessions

ExportInput = RunSelection | dict[str, Any] | str | Path | list[str | Path] | None


def _as_paths(value: Any) -> Any:
    if isinstance(value, str | os.PathLike):
        return os.fspath(value)
    if isinstance(value, list | tuple):
        return tuple(os.fspath(path) if isinstance(path, os.PathLike) else path for path in value)
    return value


class _Source(Handle):
    """What is read: the input as callbacks see it."""

    source: str
    selection: RunSelection
    paths: tuple[str, ...] = Field(exclude=True, repr=False)
    """A URL may hold what opens it."""


class RunExportLoader(SelectionFields, Stage[ExportInput, ChatSessionFile], BaseChatLoader):
    """Loads recorded chat-model runs from an export.

    Only runs of type `llm` are read; the other runs of a trace give the feedback on its root. Files are
    read as streams: their size does not matter for memory. A line that is no JSON object is a rejection.

    Args:
        path: A file, a folder, a glob, or a list of these, on this machine or at a URL that fsspec knows,
            such as `s3://bucket/exports/`. JSON Lines (plain, `.gz`, `.zst`), or Parquet as bulk exports
            write it, for which the extra `parquet` is needed.
        **settings: The fields of `RunSelection`, `num_processes`, `storage_options`, and `name` as in every
            Runnable.

    Raises:
        SourceNotFoundError: There is nothing at the path.
        SourceError: A file is cut off or damaged; the message says how far it was read.
        MissingExtraError: pyarrow, or what a URL needs, is not installed.

    ```python
    from langchain_finetune import RunExportLoader

    sessions = RunExportLoader("runs.jsonl", feedback={"user_score": 1}).invoke({})
    ```
    """

    path: Annotated[str | tuple[str, ...] | None, BeforeValidator(_as_paths)] = None
    """File, folder, glob, URL or a list of these; columns may be JSON strings, as bulk exports write them."""

    num_processes: int = Field(default=1, ge=1)
    """Processes that read JSON Lines. What comes out is the same; a process takes a second to start, so
    that more than one are worth it from about a hundred thousand runs on."""

    storage_options: Mapping[str, Any] = Field(default_factory=dict, exclude=True, repr=False)
    """What fsspec hands to the store of a URL: `{"key": …, "secret": …}` for `s3://`. In no trace or dump."""

    def __init__(
        self, path: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None = None, **settings: Any
    ) -> None:
        super().__init__(path=path, **settings)

    @override
    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, _shown(value) if name == "path" else value

    @override
    def lazy_load(self) -> Iterator[ChatSession]:
        yield from chat_sessions(result_of(self._steps(self._accept(None))).path)

    @override
    def _accept(self, given: Any) -> _Source:
        path = self.path
        if isinstance(given, str | os.PathLike | list | tuple):
            path, given = _as_paths(given), None
        paths = path if isinstance(path, tuple) else (path,)
        if not paths or not all(isinstance(each, str) and each for each in paths):
            msg = 'no export is named: give its path, as in RunExportLoader("runs.jsonl").'
            raise SelectionError(msg)
        selection = merge(self, given)
        names = [shown(str(each)) for each in paths]
        source = f"the export {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
        refuse_queries(selection, source)
        if self.num_processes > 1 and callable(selection.feedback):
            msg = (
                "a predicate given as `feedback` is tried in this process, and not in others: leave "
                'num_processes at 1, or give thresholds such as {"user_score": 1}.'
            )
            raise SelectionError(msg)
        return _Source(source=source, selection=selection, paths=paths)

    @override
    def _run(self, accepted: _Source, config: RunnableConfig) -> ChatSessionFile:
        return drive(self._steps(accepted), config)

    @override
    async def _arun(self, accepted: _Source, config: RunnableConfig) -> ChatSessionFile:
        return await adrive(self._steps(accepted), config)

    def _steps(self, accepted: _Source) -> Steps[ChatSessionFile]:
        export = Export(accepted.paths, self.storage_options)
        sieve, source = Sieve(accepted.selection), accepted.source
        if self.num_processes == 1:
            return (yield from spool_sessions(export.model_runs(), sieve, source))
        # Closed at once when the work is broken off: the processes end then.
        with closing(export.tried_runs(accepted.selection, self.num_processes)) as runs:
            return (yield from spool_sessions(runs, sieve, source))


def _shown(path: str | tuple[str, ...] | None) -> Any:
    return tuple(map(shown, path)) if isinstance(path, tuple) else shown(path) if path else path
