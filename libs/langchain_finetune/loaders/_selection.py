"""Which runs are taken: settings and input made one, and each run tried against them."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import ValidationError

from langchain_finetune.errors import SelectionError
from langchain_finetune.handles import OWN_TRAFFIC_KEY, RunSelection, SelectionFields
from langchain_finetune.runs import feedback_of, metadata_of, models_of, run_id_of, trace_id_of

_QUERY_FIELDS: Final = ("filter", "trace_filter", "tree_filter", "scope", "corrections", "snapshot")
_DEFAULTS: Final = {name: RunSelection.model_fields[name].default for name in _QUERY_FIELDS}
_MILLISECONDS: Final = 1e11
_NAMED_FIELDS: Final = "start_time, end_time, feedback, tags, metadata, run_name, model"


def merge(settings: SelectionFields, given: Any) -> RunSelection:
    """Return the settings of a loader, overridden by its input field by field.

    Raises:
        SelectionError: The input is no selection.
    """
    values = _set_fields(settings)
    if isinstance(given, RunSelection):
        values |= _set_fields(given)
    elif isinstance(given, Mapping):
        values |= dict(given)
    elif given is not None:
        msg = f"a selection is a RunSelection or a dict of its fields, got {type(given).__name__}."
        raise SelectionError(msg)
    try:
        return RunSelection.model_validate(values)
    except ValidationError as e:
        problems = "; ".join(f"{'.'.join(map(str, it['loc']))}: {it['msg']}" for it in e.errors())
        fields = ", ".join(RunSelection.model_fields)
        msg = f"this selection cannot be used ({problems}). Its fields are {fields}."
        raise SelectionError(msg) from e


def _set_fields(fields: SelectionFields) -> dict[str, Any]:
    names = fields.model_fields_set & RunSelection.model_fields.keys()
    return {name: getattr(fields, name) for name in names}


def refuse_queries(selection: RunSelection, source: str) -> None:
    """Refuse the fields that only a source which can be queried evaluates: LangSmith, or a local store.

    Raises:
        SelectionError: One of them is set.
    """
    if found := [name for name in _QUERY_FIELDS if getattr(selection, name) != _DEFAULTS[name]]:
        msg = (
            f"{source} cannot evaluate {', '.join(found)}: that takes a project that can be queried. "
            f"Use LangSmithRunChatLoader with a project, or the fields {_NAMED_FIELDS}."
        )
        raise SelectionError(msg)


Scores = Mapping[str, float]
_Test = Callable[[Mapping[str, Any], Scores], bool]
"""Says whether a run fails a condition; gets the run and the average scores on the root of its trace."""


@dataclass(slots=True)
class Sieve:
    """Tries each run against a selection and counts which condition removed how many."""

    selection: RunSelection
    is_one_project: bool = False
    """Whether all runs are known to be of the selection's project; they themselves tell only its id."""
    removed: Counter[str] = field(default_factory=Counter)
    num_taken: int = 0
    _tests: tuple[tuple[str, _Test], ...] = field(init=False, repr=False, compare=False)
    """The conditions that are set, so that the others cost nothing."""

    def __post_init__(self) -> None:
        self._tests = tuple(_tests(self.selection, is_one_project=self.is_one_project))

    def takes(self, run: Mapping[str, Any], root_feedback: Scores, *, is_corrected: bool = False) -> bool:
        """Say whether a run is selected.

        Args:
            run: The run.
            root_feedback: Average scores on the root of its trace.
            is_corrected: Whether there is a correction of its answer that can be read.
        """
        condition = self.failed(run, root_feedback, is_corrected=is_corrected)
        return self.counts(condition)

    def failed(
        self, run: Mapping[str, Any], root_feedback: Scores, *, is_corrected: bool = False
    ) -> str | None:
        """Return the first condition that a run fails; the limit is none of a run's own."""
        if not is_corrected and self.selection.corrections == "only":
            return "corrections"
        for condition, fails in self._tests:
            if fails(run, root_feedback):
                return condition
        return None

    def counts(self, condition: str | None, num_runs: int = 1) -> bool:
        """Enter what runs have failed, None where nothing; say whether they are taken: up to the limit."""
        if condition is None and self.is_full:
            condition = "limit"
        if condition is None:
            self.num_taken += num_runs
            return True
        self.removed[condition] += num_runs
        return False

    @property
    def is_full(self) -> bool:
        """Whether the selection's limit is reached."""
        return self.selection.limit is not None and self.num_taken >= self.selection.limit

    @property
    def num_seen(self) -> int:
        """Runs tried so far."""
        return self.num_taken + self.removed.total()


def _tests(wanted: RunSelection, *, is_one_project: bool) -> Iterator[tuple[str, _Test]]:
    """Yield the conditions of a selection that are set, in the order in which they are tried."""
    if wanted.scope == "run":  # with another scope its root was tried, where it was found
        yield from _tests_of_run(wanted)
    if not wanted.include_tuned:
        yield "include_tuned", lambda run, _: OWN_TRAFFIC_KEY in metadata_of(run)
    if (project := wanted.project_name) and not is_one_project:
        yield "project_name", lambda run, _: not _is_of(project, run)
    if model := wanted.model:
        yield "model", lambda run, _: model not in models_of(run)
    if (sample := wanted.sample) is not None:
        yield "sample", lambda run, _: _fraction(wanted.seed, run) >= sample


def _tests_of_run(wanted: RunSelection) -> Iterator[tuple[str, _Test]]:
    if (start := instant(wanted.start_time)) is not None:
        yield "start_time", lambda run, _: (at := instant(run.get("start_time"))) is None or at < start
    if (end := instant(wanted.end_time)) is not None:
        yield "end_time", lambda run, _: (at := instant(run.get("start_time"))) is None or at >= end
    if name := wanted.run_name:
        yield "run_name", lambda run, _: run.get("name") != name
    if tags := wanted.tags:
        yield "tags", lambda run, _: not _has_tags(run, tags)
    if wanted.metadata:
        yield "metadata", lambda run, _: not wants_metadata(run, wanted.metadata)
    if wanted.feedback is not None:
        yield "feedback", lambda run, of_root: not is_rated({**of_root, **feedback_of(run)}, wanted)


def _is_of(project: str, run: Mapping[str, Any]) -> bool:
    return project in (run.get("session_name"), str(run.get("session_id")))


def instant(value: Any) -> float | None:
    """Return a point in time as seconds; naive values are UTC, large numbers milliseconds."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, int | float):
        return value / 1000 if value > _MILLISECONDS else float(value)
    return None


def _has_tags(run: Mapping[str, Any], wanted: tuple[str, ...]) -> bool:
    tags = run.get("tags")
    return isinstance(tags, list) and all(tag in tags for tag in wanted)


def wants_metadata(run: Mapping[str, Any], wanted: Mapping[str, Any] | None) -> bool:
    """Say whether a run carries all of the metadata."""
    metadata = metadata_of(run) if wanted else {}
    return all(key in metadata and metadata[key] == value for key, value in (wanted or {}).items())


def is_rated(averages: Mapping[str, float], wanted: SelectionFields) -> bool:
    """Say whether average scores are what a selection wants.

    Args:
        averages: By key; those of the run count before those of its root.
        wanted: Its `feedback` and `unrated`.

    Raises:
        SelectionError: The predicate fails.
    """
    condition = wanted.feedback
    if condition is None:
        return True
    if isinstance(condition, Mapping):
        scores = {key: averages[key] for key in condition if key in averages}
        if not scores and condition:
            return wanted.unrated == "keep"
        return all(key in scores and scores[key] >= least for key, least in condition.items())
    if not averages:
        return wanted.unrated == "keep"
    try:
        return bool(condition(averages))
    except Exception as e:
        msg = (
            f"the predicate given as feedback fails with {type(e).__name__} on scores of the keys "
            f"{', '.join(sorted(averages))}: it gets a dict that has only the keys a run was rated by."
        )
        raise SelectionError(msg) from e


def _fraction(seed: int, run: Mapping[str, Any]) -> float:
    key = f"{seed}:{trace_id_of(run) or run_id_of(run)}"
    return int.from_bytes(hashlib.sha256(key.encode(errors="replace")).digest()[:8]) / 2**64


def empty_selection(sieve: Sieve, source: str, advice: str = "") -> SelectionError:
    """Return the error for a selection that takes nothing, with the count of each condition."""
    end = f" {advice}" if advice else ""
    if not sieve.num_seen:
        return SelectionError(
            f"{source} has no chat-model run (run_type `llm`). Give a source that recorded model calls.{end}"
        )
    counts = ", ".join(f"{condition} removed {count}" for condition, count in sieve.removed.most_common())
    return SelectionError(
        f"the selection takes none of the {sieve.num_seen} chat-model runs of {source}: {counts}. "
        f"Loosen one of these conditions.{end}"
    )
