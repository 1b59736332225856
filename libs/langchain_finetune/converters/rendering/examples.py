"""What recorded sessions become: rows in the making, each with the session that it comes from. Pure.

Sessions are plain dicts here, as they lie in the spool: making a `RecordedSession` of each takes longer than
rendering it.
"""

from collections.abc import Container
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from langchain_finetune.handles import Method
from langchain_finetune.runs import Reason

Row = dict[str, Any]
Message = dict[str, Any]
SessionRow = dict[str, Any]
"""A line of the spool: the fields of a `RecordedSession`. A field that is missing has its default."""

Reasoning = Literal["drop", "think"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """How to make rows of sessions."""

    method: Method = "supervised"

    reasoning: Reasoning = "drop"
    """Whether recorded reasoning is left out, or stands in front of its answer: see `thinking`."""

    trains_history: bool = True
    """Whether hosts will train on all answers of a row that has no weights. If so (`collapse="none"`), a
    session whose turns had different tools becomes a row for each set of them. If not, because a later step
    says by weights which answers of the history are trained on, it stays one row, with its last turn's tools.
    """

    score_key: str | None = None
    """Key of the feedback that tells the better of two answers; None where there is only one."""

    lower_is_better: bool = False
    """Whether a low score is a good one, as of a distance, a cost, or toxicity."""

    max_pairs_per_prompt: int = 1
    """Most pairs that are made of the runs of one prompt, and of the candidates of one run."""

    metadata_keys: tuple[str, ...] = ()
    """Keys of the runs' metadata that the grader of reinforcement reads."""


@dataclass(slots=True)
class Example:
    """A row in the making."""

    run_id: str
    row: Row
    session: SessionRow
    """Where it comes from, as it was recorded: thread, trace, tags, metadata, usage."""

    is_further: bool = False
    """Whether it is a further row of the same run; the report's line of the run names the first one."""

    merged: tuple[str, ...] = ()
    """Runs without a row of their own that this one also stands for, such as the other half of a pair."""

    partners: tuple[SessionRow, ...] = ()
    """All other sessions whose text is in the row: their threads and traces belong to its group."""


class Refused(NamedTuple):
    """A run that gives no row for this method."""

    run_id: str
    reason: Reason
    field: str | None = None


def prompt_of(session: SessionRow, method: Method) -> list[Message]:
    """Return the messages that the model saw, in a new list, with the roles that the method's format has."""
    if method == "reinforcement":
        return [it if it["role"] != "system" else {**it, "role": "developer"} for it in session["messages"]]
    return [it if it["role"] != "developer" else {**it, "role": "system"} for it in session["messages"]]


def tools_of(session: SessionRow) -> list[dict[str, Any]]:
    """Return the tools that the answer's turn had."""
    turn_tools = session.get("turn_tools")
    tools: list[dict[str, Any]] = session.get("tools") or []
    return named(tools, turn_tools[-1]) if turn_tools else tools


def named(tools: list[dict[str, Any]], names: Container[str]) -> list[dict[str, Any]]:
    """Return the tools of these names, in the order of the tools."""
    return [tool for tool in tools if (tool["function"].get("name") or "") in names]


def target_of(session: SessionRow) -> Message:
    """Return the answer that should have been given: what a person wrote in its place, if anybody did."""
    target: Message = session.get("correction") or session["answer"]
    return target


def lacks_schemas(row: Row) -> bool:
    """Say whether an answer that a row of any method teaches calls a tool, and no schema is there at all."""
    if "input" in row:
        answers, given = [*row["preferred_output"], *row["non_preferred_output"]], row["input"]
    else:
        answers, given = [row["messages"][-1]], row
    if row.get("reference_tools") and "tools" not in row:
        return True
    return any(
        ("tool_calls" in answer and "tools" not in given)
        or ("function_call" in answer and "functions" not in given)
        for answer in answers
    )
