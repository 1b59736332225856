"""Where recorded runs are queried: the seam between the loader and LangSmith, a local store, or a test."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, TypeGuard

from langchain_finetune.handles import RunSelection

Run = Mapping[str, Any]
"""A run under the names of LangSmith's first API, as `runs/` reads it."""


class RunSource(Protocol):
    """Where recorded runs are queried."""

    def query(self, selection: RunSelection) -> Iterator[list[Run]]:
        """Yield pages of chat-model runs, newest first, narrowed by all that the source can evaluate.

        What a source leaves to the caller, such as a predicate on feedback, a sample or the limit, is tried
        on each run that comes back; giving too many runs is no error, leaving one out is. With `scope="run"`
        the selection's conditions hold for the model's run. With `"trace"` and `"thread"` the conditions on
        time, name, tags, metadata, feedback and `filter` hold for the root, and nobody tries them again:
        the source has to evaluate them there, and gives every model run of the traces, or threads, of the
        roots that match.

        Args:
            selection: What is wanted; `project_name` is set.

        Raises:
            SelectionError: There is no such project, or the source cannot evaluate a field.
        """

    def by_id(self, run_ids: list[str]) -> dict[str, Run]:
        """Return the runs of at most a hundred ids, by id; one that is not known is left out."""

    def root_feedback(self, trace_ids: Iterable[str]) -> dict[str, dict[str, float]]:
        """Return the average scores by key on the roots of traces, by trace id."""


class CorrectingSource(RunSource, Protocol):
    """A source that also keeps what people have written in place of an answer."""

    def corrections(self, run_ids: Iterable[str]) -> dict[str, Any]:
        """Return the newest correction of each run that has one, by run id, as it was recorded."""


def is_source(client: Any) -> TypeGuard[RunSource]:
    """Say whether a client is itself a source of runs."""
    return all(callable(getattr(client, name, None)) for name in ("query", "by_id", "root_feedback"))


def has_corrections(source: RunSource) -> TypeGuard[CorrectingSource]:
    """Say whether a source can be asked for corrections."""
    return callable(getattr(source, "corrections", None))
