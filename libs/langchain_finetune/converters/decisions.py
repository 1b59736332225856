"""The first pass over the sessions: what becomes of each, in hashes and small numbers."""

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from langchain_finetune._stage import Steps
from langchain_finetune.converters.collapse import Merges, Trajectories, weighted
from langchain_finetune.converters.deduplicate import Duplicates, digest
from langchain_finetune.converters.progress import PAGE, event
from langchain_finetune.converters.redact import Redacted, Redactor
from langchain_finetune.converters.render import lacks_schemas, render
from langchain_finetune.converters.sessions import read_sessions
from langchain_finetune.converters.split import Groups
from langchain_finetune.errors import UnreadableRunError
from langchain_finetune.handles import ChatSessionFile, RecordedSession, Split
from langchain_finetune.rows import Problem, find_problem
from langchain_finetune.runs import SENTENCES, Reason

_NOT_A_ROW: Final = -1

Collapse = Literal["trajectory", "last", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to convert."""

    fractions: dict[Split, float]
    seed: int
    collapse: Collapse
    redactor: Redactor
    is_deduplicating: bool
    is_raising: bool
    min_examples: int

    def told(self) -> dict[str, Any]:
        """Return the settings as the person who set them names them, for the card of the data set."""
        return {
            "collapse": self.collapse,
            "redact": "secrets" if self.redactor.is_finding_secrets else "none",
            "redaction_rules": len(self.redactor.rules),
            "deduplicate": "exact" if self.is_deduplicating else "none",
            "min_examples": self.min_examples,
            "seed": self.seed,
            **{f"{split}_fraction": fraction for split, fraction in self.fractions.items()},
        }


@dataclass(slots=True)
class Decisions:
    """What was decided about each session, by its position."""

    settings: Settings
    nodes: "array[int]" = field(default_factory=lambda: array("q"))
    """The row's node in the groups; `_NOT_A_ROW` for a rejected one."""
    firsts: "array[int]" = field(default_factory=lambda: array("q"))
    """The position of the first row of this content; its own for a row that is no duplicate."""
    problems: dict[int, Problem] = field(default_factory=dict)
    with_secrets: set[int] = field(default_factory=set)
    without_schemas: set[int] = field(default_factory=set)
    groups: Groups = field(default_factory=Groups)
    merges: Merges = field(default_factory=Merges)

    def kept(self) -> Iterator[int]:
        """Yield the positions of the sessions that become rows."""
        for position, (node, first) in enumerate(zip(self.nodes, self.firsts, strict=True)):
            if node != _NOT_A_ROW and first == position and position not in self.merges.into:
                yield position

    def row_of(self, position: int) -> int:
        """Return the position of the session in whose row this one is: its own, or one that it is part of."""
        first = self.firsts[position]
        return self.merges.into.get(first, first)

    def render(self, position: int, session: RecordedSession) -> Redacted:
        """Return the row that a kept session becomes."""
        row = render(session)
        if self.settings.collapse != "none":
            row = weighted(row, self.merges.targets.get(position, frozenset()))
        return self.settings.redactor(row) if position in self.with_secrets else Redacted(row)


def decide(sessions: ChatSessionFile, settings: Settings) -> Steps[Decisions]:
    """Decide about every session of a file; an event after every page.

    Raises:
        UnreadableRunError: A run cannot be trained on, and the settings say to raise.
        SourceError: The file holds no sessions.
    """
    decisions, duplicates, trajectories = Decisions(settings), Duplicates(), Trajectories()
    for position, session in enumerate(read_sessions(sessions.path)):
        rendered = render(session)
        row = settings.redactor(rendered).row
        if row is not rendered:
            decisions.with_secrets.add(position)
        first, node = position, _NOT_A_ROW
        if problem := find_problem(row):
            if settings.is_raising:
                raise unreadable(session.run_id, problem.reason, problem.field)
            decisions.problems[position] = problem
        else:
            node = _join(decisions.groups, session, row)
            if settings.is_deduplicating:
                first = duplicates.first_of(row, position)
            if lacks_schemas(row):
                decisions.without_schemas.add(position)
        if settings.collapse == "none" or problem or first != position:
            trajectories.skip()
        else:
            trajectories.enter(rendered, session.thread_id or "")
        decisions.nodes.append(node)
        decisions.firsts.append(first)
        if (position + 1) % PAGE == 0:
            yield event({}, len(decisions.problems))
    _merge(decisions, trajectories.merges())
    return decisions


def _join(groups: Groups, session: RecordedSession, row: dict[str, Any]) -> int:
    prompt = row["messages"][:-1]
    kin = [f"thread:{session.thread_id}"] if session.thread_id else []
    kin += [f"trace:{session.trace_id}"] if session.trace_id else []
    return groups.join(digest(prompt), len(prompt), map(digest, kin))


def _merge(decisions: Decisions, merges: Merges) -> None:
    for position, into in merges.into.items():
        decisions.groups.unite(decisions.nodes[position], decisions.nodes[into])
    if decisions.settings.collapse == "last":
        merges.targets.clear()
    decisions.merges = merges


def count_reasons(sessions: ChatSessionFile, decisions: Decisions) -> Counter[str]:
    """Return why runs were rejected, by the loader and here."""
    reasons = Counter(sessions.rejected_by_reason)
    reasons.update(problem.reason.value for problem in decisions.problems.values())
    return reasons


def unreadable(run_id: str, reason: Reason, where: str = "") -> UnreadableRunError:
    """Return the error of a run that cannot be trained on."""
    place = f" ({where})" if where else ""
    msg = (
        f"run {run_id} cannot be trained on: {reason.value}{place}. {SENTENCES[reason]} "
        'Leave it out of the selection, or pass on_error="reject".'
    )
    return UnreadableRunError(msg, run_id, reason.value)
