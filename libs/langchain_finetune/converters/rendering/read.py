"""The rows that the sessions of a file become, by the method of training: the way into this step."""

from collections.abc import Iterator
from pathlib import Path

from langchain_finetune.converters.rendering.examples import Example, Refused, Rendering, SessionRow
from langchain_finetune.converters.rendering.preferences import preference_examples
from langchain_finetune.converters.rendering.reinforcement import reinforcement_examples
from langchain_finetune.converters.rendering.supervised import supervised_examples
from langchain_finetune.converters.sessions import read_session_rows
from langchain_finetune.rows import find_misshapes
from langchain_finetune.runs import Reason


def read_examples(path: Path, rendering: Rendering) -> Iterator[Example | Refused]:
    """Yield the rows of a file of sessions, in their order, and the runs that give none.

    Every run gives at least one of them, or is named in another one's `merged`. The same file and the same
    settings give the same, again and again.

    Raises:
        SettingError: Pairs cannot be made: see `preference_examples`.
        SourceError: The file cannot be read.
    """
    if rendering.method == "dpo":
        yield from preference_examples(path, rendering)
        return
    for session in read_session_rows(path):
        try:
            yield from _examples(session, rendering)
        except (KeyError, TypeError, AttributeError, IndexError):
            yield _misshapen(session)


def _examples(session: SessionRow, rendering: Rendering) -> Iterator[Example | Refused]:
    if rendering.method == "reinforcement":
        return reinforcement_examples(
            session, reasoning=rendering.reasoning, metadata_keys=rendering.metadata_keys
        )
    return supervised_examples(
        session, reasoning=rendering.reasoning, trains_history=rendering.trains_history
    )


def _misshapen(session: SessionRow) -> Refused:
    """Return why a session that no loader wrote cannot be read."""
    try:
        row = {"messages": [*session["messages"], session.get("correction") or session["answer"]]}
        reason, field = next(find_misshapes(row))
    except (TypeError, StopIteration):
        reason, field = Reason.NO_MESSAGES, "messages"
    return Refused(str(session["run_id"]), reason, field)
