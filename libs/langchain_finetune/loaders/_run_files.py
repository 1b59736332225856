"""Runs on disk: an export, or a list of runs spooled so that it can be read twice."""

import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from langchain_finetune._spool import Spool, read_jsonl
from langchain_finetune.errors import SelectionError, SourceError
from langchain_finetune.loaders._root_feedback import RootFeedback
from langchain_finetune.runs import parse_columns

Run = Mapping[str, Any]


def read_runs(path: Path) -> Iterator[Run]:
    """Yield the runs of a file, their columns parsed."""
    return map(parse_columns, read_jsonl(path))


def root_feedback_in(path: Path) -> RootFeedback:
    """Return the average scores on the roots in a file, by trace id: the id of the root."""
    return RootFeedback(read_jsonl(path, having=b'"feedback_stats"'))


class GivenRuns:
    """Runs and run ids that a person handed over, spooled on first use.

    An iterator can be read once; its spool any number of times, by every copy of the loader.
    """

    def __init__(self, runs: Iterable[Any]) -> None:
        if isinstance(runs, str | Mapping) or not isinstance(runs, Iterable):
            msg = f"runs are an iterable of runs or run ids, got {type(runs).__name__}."
            raise SelectionError(msg)
        self._runs = runs
        self._path: Path | None = None
        self._lock = threading.Lock()

    def path(self) -> Path:
        """Return the file of these runs.

        Raises:
            SelectionError: An element is neither a run nor a run id.
            SourceError: They came from an iterator and their spool is cleaned away.
        """
        with self._lock:
            if self._path is None or not self._path.exists():
                if self._path is not None and iter(self._runs) is self._runs:
                    msg = f"{self._path}, which kept the runs of an iterator, is gone: pass the runs again."
                    raise SourceError(msg)
                self._path = _spool(self._runs)
            return self._path


def _spool(runs: Iterable[Any]) -> Path:
    with Spool("sessions") as spool:
        writer = spool.writer("runs.jsonl")
        for number, run in enumerate(runs, start=1):
            writer.write_line(_line(_row(run, number)))
        return spool.publish(writer.sha256) / writer.path.name


def _row(run: Any, number: int) -> Run:
    if isinstance(run, Mapping):
        return run
    if isinstance(run, str | UUID):
        return {"id": _uuid(run, number)}
    fields = getattr(run, "__dict__", {})
    if "id" not in fields:
        msg = f"element {number} of runs is a {type(run).__name__}: expected a run, a dict or a run id."
        raise SelectionError(msg)
    # A run brings its children and attachments along; they are no part of the model's call.
    return {key: fields[key] for key in fields if key not in ("child_runs", "attachments", "serialized")}


def _uuid(run_id: str | UUID, number: int) -> str:
    try:
        return str(UUID(str(run_id)))
    except ValueError as e:
        msg = f"element {number} of runs is no run id: LangSmith's run ids are UUIDs."
        raise SelectionError(msg) from e


def _line(row: Run) -> bytes:
    try:
        options = orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS
        return orjson.dumps(dict(row), default=str, option=options)
    except TypeError:
        # Half a surrogate pair: legal in Python and in JSON's escapes, not in UTF-8. It is rejected later.
        return json.dumps(dict(row), default=str, skipkeys=True).encode() + b"\n"


def is_only_an_id(run: Run) -> bool:
    """Say whether a spooled row stands for a run that is still to be fetched."""
    return run.keys() == {"id"}
