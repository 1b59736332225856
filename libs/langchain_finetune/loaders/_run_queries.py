"""What is asked of a file of recorded runs: SQL for what has a column, LangSmith's filters for the rest."""

import sqlite3
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from langchain_finetune.errors import SelectionError
from langchain_finetune.handles import RunSelection
from langchain_finetune.loaders._feedback import stats_of
from langchain_finetune.loaders._run_filter import RunFilter, status_of, tokens_of
from langchain_finetune.loaders._run_json import loads
from langchain_finetune.loaders._selection import instant, is_rated, wants_metadata
from langchain_finetune.runs import feedback_of, run_id_of, trace_id_of

T = TypeVar("T")
Run = Mapping[str, Any]
Rows = Iterable[tuple[str, bytes]]
"""Ids and bodies."""
Action = Callable[[sqlite3.Connection], T]
Read = Callable[[Action[Any]], Any]
"""Does something with the file, in a transaction of its own."""

PAGE: Final = 100
_MOST_VALUES: Final = 500
"""Values in one statement; SQLite's own limit was 999 for long."""

_RATED: Final = "WHERE score IS NOT NULL AND run_id"


# --- runs as LangSmith's API gives them ---


def as_exported(body: bytes, scores: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run with what LangSmith derives from what a tracer sends."""
    run: dict[str, Any] = loads(body)
    project = str(run.get("session_name") or "default")
    order = str(run.get("dotted_order") or "")
    return run | {
        "status": status_of(run),
        "session_id": run.get("session_id") or str(uuid.uuid5(uuid.NAMESPACE_URL, project)),
        "session_name": project,
        "parent_run_ids": [part.partition("Z")[2] for part in order.split(".")[:-1]],
        "feedback_stats": dict(scores),
        **tokens_of(run),
    }


def _exported(db: sqlite3.Connection, rows: Rows) -> list[Run]:
    found = list(rows)
    stats = feedback_stats(db, [run_id for run_id, _ in found])
    return [as_exported(body, stats.get(run_id, {})) for run_id, body in found]


def by_id(db: sqlite3.Connection, run_ids: Sequence[str]) -> dict[str, Run]:
    """Return runs by id."""
    rows = _in_parts(db, "SELECT id, body FROM runs WHERE id", run_ids)
    return {run_id_of(run): run for run in _exported(db, rows)}


def of_traces(db: sqlite3.Connection, trace_ids: Sequence[str]) -> dict[str, list[Run]]:
    """Return all the runs of traces, by trace id."""
    runs: dict[str, list[Run]] = {}
    for run in _exported(db, _in_parts(db, "SELECT id, body FROM runs WHERE trace_id", trace_ids)):
        runs.setdefault(trace_id_of(run) or "", []).append(run)
    return runs


def _in_parts(db: sqlite3.Connection, head: str, values: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    distinct = list(dict.fromkeys(values))
    for start in range(0, len(distinct), _MOST_VALUES):
        part = distinct[start : start + _MOST_VALUES]
        yield from db.execute(f"{head} IN ({', '.join('?' * len(part))})", part)  # only marks


# --- feedback ---


def feedback_stats(db: sqlite3.Connection, run_ids: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
    """Return `feedback_stats` by run id, of the runs that have scores."""
    scores: dict[str, list[tuple[str, float]]] = {}
    for run_id, key, score in _in_parts(db, f"SELECT run_id, key, score FROM feedback {_RATED}", run_ids):  # noqa: S608
        scores.setdefault(run_id, []).append((key, score))
    return {run_id: stats_of(given) for run_id, given in scores.items()}


def averages(db: sqlite3.Connection, run_ids: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the average scores by key, by run id."""
    return {
        run_id: feedback_of({"feedback_stats": stats})
        for run_id, stats in feedback_stats(db, run_ids).items()
    }


def corrections(db: sqlite3.Connection, run_ids: Sequence[str]) -> dict[str, Any]:
    """Return the newest correction by run id."""
    rows = _in_parts(db, "SELECT run_id, created_at, rowid, body FROM feedback WHERE run_id", run_ids)
    newest: dict[str, Any] = {}
    for run_id, _, _, body in sorted(rows, key=lambda row: row[:3]):
        if (correction := loads(body).get("correction")) is not None:
            newest[run_id] = correction
    return newest


# --- a selection ---


def pages(selection: RunSelection, read: Read, path: Path) -> Iterator[list[Run]]:
    """Yield pages of the chat-model runs of a selection, newest first."""
    query = _Query(selection)
    where, values = read(partial(_conditions, selection=selection, path=path))
    kind, choose = (
        ("run_type = 'llm'", query.kept) if selection.scope == "run" else ("id = trace_id", query.beneath)
    )
    for rows in _walk(read, f"{kind} AND {where}", values):
        yield read(partial(choose, rows=rows))


def _conditions(db: sqlite3.Connection, selection: RunSelection, path: Path) -> tuple[str, list[Any]]:
    conditions, values = ["TRUE"], list[Any]()
    if (project := selection.project_name) is not None:
        known = projects(db)
        names = {name: name for name in known} | {
            str(uuid.uuid5(uuid.NAMESPACE_URL, name)): name for name in known
        }
        if project not in names:
            msg = f"{path} has no project {project!r}; it has {', '.join(map(repr, known)) or 'none yet'}."
            raise SelectionError(msg)
        conditions.append("project = ?")
        values.append(names[project])
    for sign, time in ((">=", selection.start_time), ("<", selection.end_time)):
        if time is not None:
            conditions.append(f"start_time {sign} ?")
            values.append(instant(time))
    if selection.run_name is not None:
        conditions.append("name = ?")
        values.append(selection.run_name)
    return " AND ".join(conditions), values


def _walk(
    read: Read, where: str, values: Sequence[Any], *, is_newest_first: bool = True
) -> Iterator[list[tuple[str, bytes]]]:
    """Yield pages of ids and bodies, each read on its own: where the last one ended, the next begins."""
    direction, sign = ("DESC", "<") if is_newest_first else ("ASC", ">")
    last: tuple[float, str] | None = None
    while True:
        after = f" AND (start_time, id) {sign} (?, ?)" if last else ""
        statement = (
            f"SELECT id, body, start_time FROM runs WHERE {where}{after} "  # noqa: S608  # columns and marks
            f"ORDER BY start_time {direction}, id {direction} LIMIT {PAGE}"
        )
        rows = read(partial(_fetched, statement=statement, values=(*values, *(last or ()))))
        if not rows:
            return
        last = (rows[-1][2], rows[-1][0])
        yield [row[:2] for row in rows]


def _fetched(db: sqlite3.Connection, statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    return db.execute(statement, values).fetchall()


class _Query:
    """The conditions of a selection that have no column."""

    def __init__(self, selection: RunSelection) -> None:
        self._selection = selection
        texts = {name: getattr(selection, name) for name in ("filter", "trace_filter", "tree_filter")}
        self._seen: set[str] = set()
        """Traces that were given already: a thread comes with each of its roots."""
        self._filters = {name: RunFilter(text, name) for name, text in texts.items() if text is not None}

    def kept(self, db: sqlite3.Connection, rows: Rows) -> list[Run]:
        """Return the runs, of a page, that fulfil the filters."""
        return self._filtered(db, _exported(db, rows))

    def _filtered(self, db: sqlite3.Connection, runs: list[Run]) -> list[Run]:
        if run_filter := self._filters.get("filter"):
            runs = [run for run in runs if run_filter.matches(run)]
        trace_ids = [trace_id_of(run) or "" for run in runs]
        if trace_filter := self._filters.get("trace_filter"):
            roots = by_id(db, trace_ids)
            matching = {trace_id for trace_id, root in roots.items() if trace_filter.matches(root)}
            runs = [run for run in runs if trace_id_of(run) in matching]
        if tree_filter := self._filters.get("tree_filter"):
            trees = of_traces(db, trace_ids)
            runs = [
                run for run in runs if any(map(tree_filter.matches, trees.get(trace_id_of(run) or "", ())))
            ]
        return runs

    def beneath(self, db: sqlite3.Connection, rows: Rows) -> list[Run]:
        """Return the model runs of the traces, or threads, of the roots, of a page, that are selected."""
        selected = [root for root in self.kept(db, rows) if self._takes_root(root)]
        trace_ids = [run_id_of(root) for root in selected]
        if self._selection.scope == "thread":
            trace_ids += _traces_of_threads(db, trace_ids)
        wanted = [trace_id for trace_id in dict.fromkeys(trace_ids) if trace_id not in self._seen]
        self._seen.update(wanted)
        found = _in_parts(db, "SELECT id, body FROM runs WHERE run_type = 'llm' AND trace_id", wanted)
        return sorted(_exported(db, found), key=_newest_first, reverse=True)

    def _takes_root(self, root: Run) -> bool:
        wanted, tags = self._selection, root.get("tags") or ()
        return (
            all(tag in tags for tag in wanted.tags)
            and wants_metadata(root, wanted.metadata)
            and is_rated(feedback_of(root), wanted)
        )


def _traces_of_threads(db: sqlite3.Connection, trace_ids: Sequence[str]) -> list[str]:
    """Return the traces of the threads that some traces belong to, of the same project."""
    threads = _in_parts(
        db, "SELECT DISTINCT project, thread_id FROM runs WHERE thread_id IS NOT NULL AND id", trace_ids
    )
    return [
        trace_id
        for project, thread_id in list(threads)
        for (trace_id,) in db.execute(
            "SELECT DISTINCT trace_id FROM runs WHERE thread_id = ? AND project = ?", (thread_id, project)
        )
    ]


def _newest_first(run: Run) -> tuple[float, str]:
    return instant(run.get("start_time")) or 0.0, run_id_of(run)


# --- the whole file ---


def all_pages(read: Read) -> Iterator[list[Run]]:
    """Yield pages of all runs, oldest first."""
    for rows in _walk(read, "TRUE", (), is_newest_first=False):
        yield read(partial(_exported, rows=rows))


def projects(db: sqlite3.Connection) -> list[str]:
    """Return the names of the projects."""
    return [name for (name,) in db.execute("SELECT DISTINCT project FROM runs ORDER BY project")]


def delete_before(db: sqlite3.Connection, limit: float) -> int:
    """Remove the traces that started before a point in time, in seconds since 1970; return how many runs."""
    db.execute("CREATE TEMP TABLE IF NOT EXISTS old (trace_id TEXT PRIMARY KEY)")
    db.execute("DELETE FROM old")
    db.execute(
        "INSERT INTO old SELECT trace_id FROM runs GROUP BY trace_id "
        "HAVING coalesce(min(CASE WHEN id = trace_id THEN start_time END), min(start_time)) < ?",
        (limit,),
    )
    of_old = "SELECT id FROM runs WHERE trace_id IN (SELECT trace_id FROM old)"
    db.execute(f"DELETE FROM feedback WHERE run_id IN ({of_old})")  # noqa: S608  # no value in it
    # What was said about runs that never came, or went with an earlier version of the trace.
    db.execute("DELETE FROM feedback WHERE created_at < ? AND run_id NOT IN (SELECT id FROM runs)", (limit,))
    return db.execute("DELETE FROM runs WHERE trace_id IN (SELECT trace_id FROM old)").rowcount


def give_back(db: sqlite3.Connection) -> None:
    """Give free pages back to the file system."""
    db.execute("PRAGMA incremental_vacuum").fetchall()
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def problems(db: sqlite3.Connection) -> list[str]:
    """Return what is wrong with the file."""
    found = [text for (text,) in db.execute("PRAGMA integrity_check") if text != "ok"]
    lost = db.execute("SELECT count(*) FROM feedback WHERE run_id NOT IN (SELECT id FROM runs)").fetchone()[0]
    return found + ([f"{lost} ratings are of runs that are not here"] if lost else [])
