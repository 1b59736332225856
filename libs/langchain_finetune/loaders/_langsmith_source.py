"""LangSmith as a source of runs: which API, which project, which questions, one page at a time."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final

from langchain_finetune.errors import HostUnavailableError, SelectionError
from langchain_finetune.handles import RunSelection
from langchain_finetune.loaders._langsmith_api import LangSmithApi
from langchain_finetune.loaders._langsmith_queries import (
    PAGE_V2,
    ROOT_COLUMNS,
    RUN_COLUMNS,
    SCOPE_COLUMNS,
    RunQuery,
    among,
    both,
    rated,
    run_of_v1,
    run_of_v2,
    text,
)
from langchain_finetune.loaders._run_source import Run
from langchain_finetune.loaders._selection import is_rated, wants_metadata
from langchain_finetune.runs import feedback_of, metadata_of

EARLIEST: Final = datetime(2023, 1, 1, tzinfo=UTC)
"""Before LangSmith's first run."""

THREAD_KEYS: Final = ("session_id", "thread_id", "conversation_id")
"""Metadata keys that name a thread (https://docs.langchain.com/langsmith/threads)."""

_BATCH: Final = 100
_TRACE_LENGTH: Final = timedelta(days=1)
_OLDEST_V2: Final = (0, 16)


@dataclass(frozen=True, slots=True)
class Window:
    """A time from a start up to an end, exclusive; both with a time zone."""

    start: datetime
    end: datetime

    def split(self, num_parts: int) -> list["Window"]:
        """Return equal parts, the newest first."""
        step = (self.end - self.start) / num_parts
        bounds = [self.start + step * number for number in range(num_parts)] + [self.end]
        return [Window(bounds[number], bounds[number + 1]) for number in reversed(range(num_parts))]


@dataclass(frozen=True, slots=True)
class Part:
    """One question of a query, answered page by page."""

    query: RunQuery
    brings_roots: bool = False
    """Whether its runs are roots whose traces or threads are asked for next."""


@dataclass(frozen=True, slots=True)
class Page:
    """An answer: runs, what hangs on them, and where the next page begins."""

    runs: list[Run]
    cursor: str | None = None
    roots: dict[str, dict[str, float]] = field(default_factory=dict)
    """Average scores on the roots of the runs' traces, by trace id."""
    corrections: dict[str, Any] = field(default_factory=dict)
    """Corrections by the id of the run or of its root."""


class LangSmithSource:
    """Runs of one LangSmith; safe to be used by several threads.

    Args:
        api: Sends the requests.
        project_name: The project asked for; looking runs up by id needs none with the first API.
    """

    def __init__(self, api: LangSmithApi, project_name: str | None = None) -> None:
        self._api = api
        self._project_name = project_name

    @property
    def url(self) -> str:
        """The address of the LangSmith."""
        return self._api.url

    def close(self) -> None:
        """Ask nothing more."""
        self._api.close()

    @cached_property
    def version(self) -> int:
        """The query API that the server has: 2, else 1."""
        info = self._api.get("/info", {}, "its version")
        info = info if isinstance(info, Mapping) else {}
        flags = info.get("instance_flags")
        flags = flags if isinstance(flags, Mapping) else {}
        has_v2 = flags.get("sdb_query_enabled") is True
        has_v1 = flags.get("ch_query_enabled") is not False
        if has_v2 and has_v1:  # a server that is switching over: its version says whether it has the call
            has_v2 = _release(info.get("version")) >= _OLDEST_V2
        return 2 if has_v2 else 1

    @cached_property
    def _num_roots(self) -> int:
        return _BATCH if self.version == 1 else PAGE_V2

    @cached_property
    def project(self) -> tuple[str, datetime]:
        """The project's id, and its start.

        Raises:
            SelectionError: There is no such project.
        """
        name = self._project_name
        subject = f"project {name!r}"
        found = self._api.get("/sessions", {"name": name, "limit": 1, "include_stats": "false"}, subject)
        for project in self._rows(found):
            if project.get("name") == name:
                return str(project["id"]), _start_of(project)
        msg = (
            f"LangSmith at {self.url} has no {subject}: check its name, and that the key belongs to the "
            "workspace of the project (LANGSMITH_WORKSPACE_ID)."
        )
        raise SelectionError(msg)

    def query(self, selection: RunSelection) -> Iterator[list[Run]]:
        """Yield pages of chat-model runs, narrowed by all that the server can evaluate."""
        window = window_of(selection)
        parts = self.parts(selection, window)
        if selection.scope != "run":
            roots = [run for part in parts for page in self._pages(part.query) for run in page]
            units = [unit_of(root, selection) for root in roots if root_matches(root, selection)]
            parts = self.parts_of_roots(window, units)
        seen: set[str] = set()
        for part in parts:
            for page in self._pages(part.query):
                yield [run for run in page if str(run["id"]) not in seen]
                seen.update(str(run["id"]) for run in page)

    def _pages(self, query: RunQuery) -> Iterator[list[Run]]:
        page = self.page(query, None)
        yield page.runs
        while page.cursor:
            page = self.page(query, page.cursor)
            yield page.runs

    def parts(self, selection: RunSelection, window: Window) -> list[Part]:
        """Return the questions of a selection over a part of its window.

        Feedback mostly lies on the root of a trace, sometimes on the model's run itself: the server can ask
        for each, not for either, so both are asked for, and a run is taken once.
        """
        base: dict[str, Any] = {"project_id": self.project[0], "start": window.start, "end": window.end}
        conditions = _conditions(selection)
        score = _rated(selection)
        if selection.scope != "run":
            query = RunQuery(
                **base,
                run_type=None,
                is_root=True,
                filter=both([*conditions, selection.trace_filter, score]),
                tree_filter=selection.tree_filter,
                columns=SCOPE_COLUMNS,
            )
            return [Part(query, brings_roots=True)]
        base |= {"tree_filter": selection.tree_filter}
        if score is None:
            return [Part(RunQuery(**base, filter=both(conditions), trace_filter=selection.trace_filter))]
        on_root, own = both([selection.trace_filter, score]), both([*conditions, score])
        return [
            Part(RunQuery(**base, filter=both(conditions), trace_filter=on_root)),
            Part(RunQuery(**base, filter=own, trace_filter=selection.trace_filter)),
        ]

    def parts_of_roots(self, window: Window, units: list[str]) -> list[Part]:
        """Return the questions for all model runs of the traces, or threads, of roots that match.

        Args:
            window: The selection's whole window.
            units: What `unit_of` gave for each root.
        """
        parts: list[Part] = []
        threads = sorted({unit[1:] for unit in units if unit[0] == "h"})
        traces = sorted({unit[1:] for unit in units if unit[0] == "t"})
        base: dict[str, Any] = {"project_id": self.project[0]}
        for batch in _batches(threads):
            keys = among("metadata_key", list(THREAD_KEYS))
            of_thread = f"and({keys}, {among('metadata_value', batch)})"
            parts.append(Part(RunQuery(**base, start=EARLIEST, end=window.end, trace_filter=of_thread)))
        for batch in _batches(traces):
            # What a trace does goes on after its root has started.
            end = window.end + _TRACE_LENGTH
            parts.append(Part(RunQuery(**base, start=window.start, end=end, trace_filter=among("id", batch))))
        return parts

    def page(self, query: RunQuery, cursor: str | None) -> Page:
        """Ask for one page."""
        subject = f"project {self._project_name!r}" if self._project_name else "the runs asked for by id"
        if self.version == 1:
            answer = self._api.post("/runs/query", query.v1(cursor), subject)
            runs: list[Run] = [run_of_v1(run) for run in self._rows(answer, "runs")]
            cursors = answer.get("cursors")
            following = cursors.get("next") if isinstance(cursors, Mapping) else None
        else:
            answer = self._api.post_v2("/runs/query", query.v2(cursor), subject)
            runs = [run_of_v2(run) for run in self._rows(answer, "items")]
            following = answer.get("next_cursor")
        return Page(runs, str(following) if following else None)

    def _rows(self, answer: Any, name: str = "") -> list[Mapping[str, Any]]:
        """Return the rows of an answer, each with its id.

        Raises:
            HostUnavailableError: The answer is no list of rows: it came from something else.
        """
        if name:
            answer = answer.get(name) if isinstance(answer, Mapping) else None
        if isinstance(answer, list) and all(isinstance(it, Mapping) and it.get("id") for it in answer):
            return answer
        msg = (
            f"what answers at {self.url} is no LangSmith that this version knows: check LANGSMITH_ENDPOINT, "
            "and for a proxy that answers in its place."
        )
        raise HostUnavailableError(msg)

    def by_id(self, run_ids: list[str]) -> dict[str, Run]:
        """Return the runs of at most a hundred ids, by id."""
        return {str(run["id"]): run for run in self._of_ids(run_ids)}

    def root_feedback(self, trace_ids: Iterable[str]) -> dict[str, dict[str, float]]:
        """Return the average scores on the roots of traces, by trace id; a page of them in each request."""
        wanted = sorted(set(trace_ids))
        roots: list[Run] = []
        while wanted:
            batch = wanted[: self._num_roots]
            try:
                roots += self._of_ids(batch, ROOT_COLUMNS)
            except SelectionError:
                if len(batch) <= _BATCH:
                    raise
                self._num_roots = _BATCH  # how many ids the second API takes is not written anywhere
            else:
                wanted = wanted[len(batch) :]
        return {str(root["id"]): feedback_of(root) for root in roots}

    def corrections(self, run_ids: Iterable[str]) -> dict[str, Any]:
        """Return the newest correction of each run that has one, by run id; a hundred in each request."""
        newest: dict[str, tuple[str, Any]] = {}
        for batch in _batches(sorted(set(run_ids))):
            for record in self._feedback(batch):
                correction, run_id = record.get("correction"), str(record.get("run_id"))
                when = str(record.get("modified_at") or record.get("created_at") or "")
                if correction is not None and when >= newest.get(run_id, ("", None))[0]:
                    newest[run_id] = (when, correction)
        return {run_id: correction for run_id, (_, correction) in newest.items()}

    def _feedback(self, run_ids: list[str]) -> Iterator[Mapping[str, Any]]:
        offset = 0
        while True:
            query: dict[str, Any] = {"run": run_ids, "limit": _BATCH, "offset": offset}
            if self._project_name:  # where runs are found by id within their project only, feedback is too
                query["session"] = self.project[0]
            records = self._rows(self._api.get("/feedback", query, "the feedback on runs"))
            yield from records
            if len(records) < _BATCH:
                return
            offset += len(records)

    def _of_ids(self, run_ids: list[str], columns: tuple[str, ...] = RUN_COLUMNS) -> list[Run]:
        if self.version == 2 and self._project_name is None:  # noqa: PLR2004  the second API
            msg = (
                f"LangSmith at {self.url} looks runs up by id within a project only: name it, as in "
                'LangSmithRunChatLoader(run_ids, project_name="my-app").'
            )
            raise SelectionError(msg)
        query = RunQuery(
            project_id=self.project[0] if self._project_name else "",
            start=EARLIEST,
            end=datetime.now(UTC) + _TRACE_LENGTH,
            run_type=None,
            run_ids=tuple(run_ids),
            columns=columns,
        )
        return [run for page in self._pages(query) for run in page]


def window_of(selection: RunSelection, now: datetime | None = None) -> Window:
    """Return a selection's window, closed: it ends now where the selection does not say.

    Raises:
        SelectionError: It ends before it starts.
    """
    start = _aware(selection.start_time) if selection.start_time else EARLIEST
    end = _aware(selection.end_time) if selection.end_time else (now or datetime.now(UTC))
    if end <= start:
        msg = f"the selection ends ({end.isoformat()}) before it starts ({start.isoformat()}): swap them."
        raise SelectionError(msg)
    return Window(start, end)


def unit_of(root: Run, selection: RunSelection) -> str:
    """Return what a root brings: "h" and its thread's id, or "t" and its trace's id where it is in none."""
    if selection.scope == "thread":
        metadata = metadata_of(root)
        for key in THREAD_KEYS:
            if value := metadata.get(key):
                return f"h{value}"
    return f"t{root['id']}"


def root_matches(root: Run, selection: RunSelection) -> bool:
    """Try on a root what the server cannot evaluate: predicates on feedback, metadata that is no text."""
    return is_rated(feedback_of(root), selection) and wants_metadata(root, selection.metadata)


def _conditions(selection: RunSelection) -> list[str | None]:
    """Write the named fields that LangSmith's query language has as conditions on a run."""
    conditions = [selection.filter]
    if selection.run_name is not None:
        conditions.append(f"eq(name, {text(selection.run_name)})")
    conditions += [f"has(tags, {text(tag)})" for tag in selection.tags]
    conditions += [
        f"and(eq(metadata_key, {text(key)}), eq(metadata_value, {text(value)}))"
        for key, value in (selection.metadata or {}).items()
        if isinstance(value, str)
    ]
    return conditions


def _rated(selection: RunSelection) -> str | None:
    # One key narrows enough; that all keys hold is tried on each run that comes back.
    if isinstance(selection.feedback, Mapping) and selection.unrated == "drop":
        for key, least in selection.feedback.items():
            return rated(key, least)
    return None


def _batches(values: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(values), _BATCH):
        yield values[start : start + _BATCH]


def _aware(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _start_of(project: Mapping[str, Any]) -> datetime:
    try:
        return _aware(datetime.fromisoformat(str(project.get("start_time"))))
    except ValueError:
        return EARLIEST


def _release(version: Any) -> tuple[int, ...]:
    numbers = str(version).split(".")[:2]
    return tuple(int(number) for number in numbers) if all(it.isdigit() for it in numbers) else (0,)
