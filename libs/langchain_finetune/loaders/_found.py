"""A chat-model run as a loader finds it, and the line of a session file that becomes of it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from langchain_finetune.runs import Reason, Rejection, read_fields


class Found(NamedTuple):
    """A chat-model run of a source, with what hangs on it."""

    run: Mapping[str, Any]
    root_feedback: Mapping[str, float]
    """Average scores on the root of its trace."""
    correction: Any = None
    """What a person wrote in place of the answer, as it was recorded."""


class Tried(NamedTuple):
    """Chat-model runs that were tried and read where they were found: in another process."""

    condition: str | None
    """The condition of the selection that they fail; None where they are selected, up to the limit."""
    lines: bytes | Rejection | None = None
    """Their sessions, or why there is none; None where they are not selected."""
    num_runs: int = 1


def session_line(
    run: Mapping[str, Any],
    root_feedback: Mapping[str, float],
    correction: dict[str, Any] | None = None,
    *,
    include_errors: bool = False,
) -> bytes | Rejection:
    """Return the session of a run, its columns parsed, as a line of a session file; or why there is none."""
    session = read_fields(run, include_errors=include_errors)
    if isinstance(session, Rejection):
        return session
    if root_feedback:
        session["feedback"] = {**root_feedback, **session["feedback"]}
    if correction is not None:
        session["correction"] = correction
    try:
        return orjson.dumps(session, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError as e:
        is_deep = "recursion" in str(e).lower()
        return Rejection(session["run_id"], Reason.TOO_DEEP if is_deep else Reason.NOT_JSON)
