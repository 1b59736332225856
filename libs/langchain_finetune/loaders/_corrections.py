"""Which correction is whose: what a person wrote in place of an answer."""

from collections.abc import Mapping
from typing import Any


def correction_of(run_id: str, trace_id: str, corrections: Mapping[str, Any], used: set[str]) -> Any:
    """Return the correction of a run, its own before its root's; None where there is none.

    A root's correction is one of the trace's last answer: of the first run that is asked for, newest first.

    Args:
        run_id: The run.
        trace_id: Its trace, and so its root.
        corrections: By the id of the run or root.
        used: Traces whose last answer has been asked for; added to.
    """
    is_last = trace_id not in used
    if trace_id in corrections:
        used.add(trace_id)
    own = corrections.get(run_id)
    return corrections.get(trace_id) if own is None and is_last else own
