"""A question to LangSmith about runs, in the words of its two query APIs; pure.

The first (`POST /runs/query`) gives at most 100 runs a page; the second (`POST /api/v2/runs/query`) up to
1,000, wants every column named, and looks one day back unless told otherwise. Both speak one filter language
(https://docs.langchain.com/langsmith/trace-query-syntax). What the second calls by another name is put back
under the first one's, as `runs/` reads it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

PAGE_V1: Final = 100
PAGE_V2: Final = 1000

RUN_COLUMNS: Final = (
    "id",
    "trace_id",
    "parent_run_ids",
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
)
"""What is read of a run. Not among them: attachments, events, and all that costs the server a computation."""

ROOT_COLUMNS: Final = ("id", "trace_id", "name", "run_type", "start_time", "feedback_stats")
SCOPE_COLUMNS: Final = (*ROOT_COLUMNS, "extra", "tags")

_V2_NAMES: Final = {"session_id": "project_id"}
_V1_NAMES: Final = {"project_id": "session_id"}
_LOWER: Final = ("run_type", "status")
_OVERLAP: Final = timedelta(milliseconds=1)
"""The second API does not say whether its bounds are inclusive: shards overlap, ids are taken once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuery:
    """Which runs are asked for."""

    project_id: str
    start: datetime
    """Earliest start, with a time zone."""
    end: datetime
    """Latest start, exclusive, with a time zone."""
    run_type: str | None = "llm"
    is_root: bool | None = None
    filter: str | None = None
    trace_filter: str | None = None
    tree_filter: str | None = None
    run_ids: tuple[str, ...] = ()
    columns: tuple[str, ...] = RUN_COLUMNS

    def v1(self, cursor: str | None = None) -> dict[str, Any]:
        """Return the body for the first API; no `limit`, which it refuses beyond its own."""
        if self.run_ids:  # the server ignores every other condition then
            return {"id": list(self.run_ids), "select": list(self.columns)}
        body = {
            "session": [self.project_id],
            "run_type": self.run_type,
            "is_root": self.is_root,
            "start_time": self.start.isoformat(),
            "filter": both([f"lt(start_time, {text(self.end.isoformat())})", self.filter]),
            "trace_filter": self.trace_filter,
            "tree_filter": self.tree_filter,
            "select": list(self.columns),
            "cursor": cursor,
        }
        return {name: value for name, value in body.items() if value is not None}

    def v2(self, cursor: str | None = None) -> dict[str, Any]:
        """Return the body for the second API."""
        body = {
            "project_ids": [self.project_id],
            "run_type": self.run_type.upper() if self.run_type else None,
            "is_root": self.is_root,
            "ids": list(self.run_ids) or None,
            "min_start_time": (self.start - _OVERLAP).isoformat(),
            "max_start_time": self.end.isoformat(),
            "filter": self.filter,
            "trace_filter": self.trace_filter,
            "tree_filter": self.tree_filter,
            "selects": [_V2_NAMES.get(name, name).upper() for name in self.columns],
            "page_size": PAGE_V2,
            "cursor": cursor,
        }
        return {name: value for name, value in body.items() if value is not None}


def run_of_v1(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run of the first API with its parent, which is the last of its ancestors."""
    return _with_parent(dict(run))


def run_of_v2(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run of the second API under the names and in the spelling of the first."""
    renamed = {_V1_NAMES.get(name, name): value for name, value in run.items()}
    for name in _LOWER:
        if isinstance(renamed.get(name), str):
            renamed[name] = renamed[name].lower()
    return _with_parent(renamed)


def _with_parent(run: dict[str, Any]) -> dict[str, Any]:
    ancestors = run.get("parent_run_ids")
    if "parent_run_id" not in run and isinstance(ancestors, list):
        run["parent_run_id"] = ancestors[-1] if ancestors else None
    return run


def both(conditions: list[str | None]) -> str | None:
    """Join conditions so that all of them have to hold; None where there are none."""
    given = [condition for condition in conditions if condition]
    return given[0] if len(given) == 1 else f"and({', '.join(given)})" if given else None


def rated(key: str, least: float) -> str:
    """Write the condition that the average score of a key is at least so much."""
    return f"and(eq(feedback_key, {text(key)}), gte(feedback_score, {least!r}))"


def among(field: str, values: list[str]) -> str:
    """Write the condition that a field has one of some values."""
    return f"in({field}, [{', '.join(map(text, values))}])"


def text(value: str) -> str:
    """Write a string as the filter language reads it."""
    return json.dumps(value)
