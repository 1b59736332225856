"""What is in a source of runs, or in a file of sessions, and what keeps it from being trained on."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from langchain_finetune._spool import read_jsonl
from langchain_finetune.handles import OWN_TRAFFIC_KEY, Handle, RecordedSession, RunSelection
from langchain_finetune.loaders._exports import Export
from langchain_finetune.loaders._found import Found
from langchain_finetune.loaders._run_source import RunSource
from langchain_finetune.loaders._selection import instant
from langchain_finetune.runs import Reason, Rejection, feedback_of, metadata_of, models_of, read_run

_MOST_NAMES: Final = 20
"""Of models, tags, tools and keys that are listed; the most frequent ones."""


class Scores(Handle):
    """The scores of one key of feedback."""

    num_rated: int
    """Runs that have it, on themselves or on their root."""

    mean: float
    num_positive: int
    """Of them, those with a score of at least 1."""


class RunsInspection(Handle):
    """What was found. Ids, names and counts; nothing of what was said in the runs."""

    num_runs: int
    """Chat-model runs, and lines that are none."""

    num_readable: int
    """Runs that a session can be made of."""

    rejected_by_reason: Mapping[str, int]
    """The others, by reason code."""

    num_own: int
    """Runs of tuned models and of this package's own calls, which a selection leaves out by default."""

    first: datetime | None = None
    last: datetime | None = None
    models: Mapping[str, int]
    tags: Mapping[str, int]
    tools: Mapping[str, int]
    """Tools called in answers, by name."""

    num_with_tools: int
    """Sessions whose model had tools."""

    num_threads: int
    num_traces: int
    feedback: Mapping[str, Scores]
    num_tokens: int | None = None
    """Tokens as recorded; None where no run recorded them."""


def inspect_export(
    path: str | os.PathLike[str], *, storage_options: Mapping[str, Any] | None = None
) -> RunsInspection:
    """Read all chat-model runs of an export, and say what is there.

    Args:
        path: As `RunExportLoader` takes it.
        storage_options: What fsspec hands to the store of a URL.

    Raises:
        SourceError: It is missing, cut off or damaged.
    """
    return _inspected(Export((os.fspath(path),), storage_options or {}).model_runs())


def inspect_source(source: RunSource) -> RunsInspection:
    """Read all chat-model runs of a source that can be queried, such as a `RunStore`, and say what is there.

    Raises:
        SourceError: It cannot be read.
    """
    selection = RunSelection(include_errors=True, include_tuned=True)
    return _inspected(_found(source, selection))


def inspect_sessions(path: str | os.PathLike[str]) -> RunsInspection:
    """Read a file of sessions, as a loader writes it, and say what is there.

    Raises:
        SourceError: A line is no JSON object.
    """
    tally = _Tally()
    for row in read_jsonl(Path(path)):
        tally.enter_session(row)
    return tally.told()


def _found(source: RunSource, selection: RunSelection) -> Iterator[Found]:
    for page in source.query(selection):
        traces = {str(run.get("trace_id")) for run in page}
        roots = source.root_feedback(traces)
        for run in page:
            yield Found(run, roots.get(str(run.get("trace_id")), {}))


def _inspected(found: Iterable[Found | Rejection]) -> RunsInspection:
    tally = _Tally()
    for item in found:
        tally.enter(item)
    return tally.told()


@dataclass(slots=True)
class _Tally:
    num_runs: int = 0
    num_readable: int = 0
    num_own: int = 0
    num_with_tools: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    tags: Counter[str] = field(default_factory=Counter)
    tools: Counter[str] = field(default_factory=Counter)
    threads: set[int] = field(default_factory=set)
    traces: set[int] = field(default_factory=set)
    scores: dict[str, list[float]] = field(default_factory=dict)
    num_tokens: int | None = None
    first: float | None = None
    last: float | None = None

    def enter(self, item: Found | Rejection) -> None:
        self.num_runs += 1
        if isinstance(item, Rejection):
            self.rejected[item.reason.value] += 1
            return
        run = item.run
        self._enter_time(instant(run.get("start_time")))
        # A name may be recorded as asked for and as it answered: each counts.
        self.models.update(models_of(run))
        self.num_own += OWN_TRAFFIC_KEY in metadata_of(run)
        self._enter_scores({**item.root_feedback, **feedback_of(run)})
        session = read_run(run)
        if isinstance(session, Rejection):
            self.rejected[session.reason.value] += 1
        else:
            self._enter_read(session)

    def enter_session(self, row: dict[str, Any]) -> None:
        self.num_runs += 1
        session = _session_of(row)
        if session is None:
            self.rejected[Reason.UNKNOWN_SHAPE.value] += 1
            return
        self.models.update([session.model] if session.model else [])
        self.num_own += OWN_TRAFFIC_KEY in session.metadata
        self._enter_scores(session.feedback)
        self._enter_read(session)

    def _enter_read(self, session: RecordedSession) -> None:
        self.num_readable += 1
        self.num_with_tools += bool(session.tools or session.functions)
        self.tags.update(session.tags)
        calls = [call["function"] for call in session.answer.get("tool_calls") or []]
        calls += [session.answer["function_call"]] if session.answer.get("function_call") else []
        self.tools.update(str(call.get("name")) for call in calls)
        # Hashes: a million ids are as many numbers.
        self.traces.update([hash(session.trace_id)] if session.trace_id else [])
        self.threads.update([hash(session.thread_id)] if session.thread_id else [])
        if (tokens := (session.usage or {}).get("total_tokens")) is not None:
            self.num_tokens = (self.num_tokens or 0) + tokens

    def _enter_time(self, moment: float | None) -> None:
        if moment is not None:
            self.first = moment if self.first is None else min(self.first, moment)
            self.last = moment if self.last is None else max(self.last, moment)

    def _enter_scores(self, scores: Mapping[str, float]) -> None:
        for key, score in scores.items():
            told = self.scores.setdefault(key, [0.0, 0.0, 0.0])
            told[0] += 1
            told[1] += score
            told[2] += score >= 1

    def told(self) -> RunsInspection:
        return RunsInspection(
            num_runs=self.num_runs,
            num_readable=self.num_readable,
            rejected_by_reason=dict(self.rejected.most_common()),
            num_own=self.num_own,
            first=_utc(self.first),
            last=_utc(self.last),
            models=dict(self.models.most_common(_MOST_NAMES)),
            tags=dict(self.tags.most_common(_MOST_NAMES)),
            tools=dict(self.tools.most_common(_MOST_NAMES)),
            num_with_tools=self.num_with_tools,
            num_threads=len(self.threads),
            num_traces=len(self.traces),
            feedback={
                key: Scores(num_rated=int(count), mean=total / count, num_positive=int(positive))
                for key, (count, total, positive) in list(self.scores.items())[:_MOST_NAMES]
            },
            num_tokens=self.num_tokens,
        )


def _session_of(row: Mapping[str, Any]) -> RecordedSession | None:
    """Return the session of a row, None where what is counted here has another shape."""
    try:
        return RecordedSession(**row) if _is_session(row) else None
    except TypeError:
        return None


def _is_session(row: Mapping[str, Any]) -> bool:
    answer, tags = row.get("answer"), row.get("tags", [])
    if not isinstance(answer, dict) or not isinstance(row.get("messages"), list):
        return False
    calls, function = answer.get("tool_calls") or [], answer.get("function_call")
    return (
        isinstance(calls, list)
        and all(isinstance(call, dict) and isinstance(call.get("function"), dict) for call in calls)
        and (not function or isinstance(function, dict))
        and isinstance(tags, list)
        and all(isinstance(tag, str) for tag in tags)
        and isinstance(row.get("metadata", {}), dict)
        and _are_numbers(row.get("feedback", {}))
        and (not row.get("usage") or _are_numbers(row["usage"]))
        and all(isinstance(row.get(name), str | None) for name in ("model", "trace_id", "thread_id"))
    )


def _are_numbers(values: Any) -> bool:
    return isinstance(values, dict) and all(isinstance(value, int | float) for value in values.values())


def _utc(seconds: float | None) -> datetime | None:
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
