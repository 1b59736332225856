"""What a session becomes: rows in the making."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from langchain_finetune.converters.sessions import SessionRow, read_session_rows
from langchain_finetune.runs import Reason

Row = dict[str, Any]


@dataclass(slots=True)
class Example:
    """A row in the making."""

    run_id: str
    row: Row
    session: SessionRow
    """Where it comes from."""
    is_further: bool = False
    """Whether the run has a row before this one, which stands in the report."""
    merged: tuple[str, ...] = ()
    """Runs that this row also stands for."""


class Refused(NamedTuple):
    """A run that gives no row."""

    run_id: str
    reason: Reason
    field: str | None = None


def read_examples(path: Path) -> Iterator[Example | Refused]:
    """Yield what the sessions of a file become, in their order."""
    for session in read_session_rows(path):
        yield Example(session["run_id"], render(session), session)


def render(session: Mapping[str, Any]) -> Row:
    """Return the prompt with the answer as its last message, and the schemas that the call carried."""
    messages = [
        {**message, "role": "system"} if message["role"] == "developer" else message
        for message in session["messages"]
    ]
    messages.append(session.get("correction") or session["answer"])
    row: Row = {"messages": messages}
    if tools := session.get("tools"):
        row["tools"] = tools
        if session.get("parallel_tool_calls") is not None:
            row["parallel_tool_calls"] = session["parallel_tool_calls"]
    if functions := session.get("functions"):
        row["functions"] = functions
    return row
