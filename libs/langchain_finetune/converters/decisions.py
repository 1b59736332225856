"""The first pass over the sessions: what becomes of each, in hashes and small numbers.

Rows are rendered, redacted and written once, into a draft; the second pass copies those that are kept.
"""

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal

import orjson

from langchain_finetune._spool import Scratch
from langchain_finetune._stage import Steps
from langchain_finetune.converters.collapse import Merges, Trajectories
from langchain_finetune.converters.deduplicate import Duplicates, digest
from langchain_finetune.converters.examples import (
    Example,
    Refused,
    Rendering,
    Row,
    SessionRow,
    lacks_schemas,
)
from langchain_finetune.converters.progress import PAGE, event
from langchain_finetune.converters.redact import Redactor
from langchain_finetune.converters.rendering import read_examples
from langchain_finetune.converters.row_facts import Looker, RowFacts
from langchain_finetune.converters.split import Groups
from langchain_finetune.errors import UnreadableRunError
from langchain_finetune.handles import ChatSessionFile, Split
from langchain_finetune.rows import FORMATS, Problem, find_problem
from langchain_finetune.runs import SENTENCES, Reason

TOOLS_MISSING: Final = "tools_missing"
"""Reason in the report of a kept row whose answer calls a tool that the run recorded no schema of."""
CONTRADICTORY: Final = "contradictory"
"""Reason in the report of a kept row that answers a prompt otherwise than a row before it."""

_NOT_A_ROW: Final = -1
_NOT_COUNTED: Final = -1
_UNSIGNED: Final = 2**64 - 1

Collapse = Literal["trajectory", "last", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to convert."""

    rendering: Rendering
    fractions: dict[Split, float]
    seed: int
    collapse: Collapse
    """`"none"` for all methods but the supervised one."""
    redactor: Redactor
    is_deduplicating: bool
    is_raising: bool
    min_examples: int

    def told(self) -> dict[str, Any]:
        """Return the settings as the person who set them names them, for the card of the data set."""
        return {
            **_told(self.rendering),
            "collapse": self.collapse,
            "redact": "secrets" if self.redactor.is_finding_secrets else "none",
            "redaction_rules": len(self.redactor.rules),
            "deduplicate": "exact" if self.is_deduplicating else "none",
            "min_examples": self.min_examples,
            "seed": self.seed,
            **{f"{split}_fraction": fraction for split, fraction in self.fractions.items()},
        }


def _told(rendering: Rendering) -> dict[str, Any]:
    default = Rendering()
    named = {field.name: getattr(rendering, field.name) for field in fields(rendering)}
    del named["trains_history"]  # follows from `collapse`
    return {key: it for key, it in named.items() if key == "method" or it != getattr(default, key)}


@dataclass(slots=True)
class Decisions:
    """What was decided about each row, by its position in the draft."""

    settings: Settings
    nodes: "array[int]" = field(default_factory=lambda: array("q"))
    """The row's node in the groups; `_NOT_A_ROW` for what is left out."""
    firsts: "array[int]" = field(default_factory=lambda: array("q"))
    """The position of the first row of this content; its own for a row that is no duplicate."""
    tokens: "array[int]" = field(default_factory=lambda: array("q"))
    """Tokens as the model's host counted them; `_NOT_COUNTED` where it did not."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Rows and runs that were left out, by reason."""
    notes: dict[int, str] = field(default_factory=dict)
    """What the report says of a row although it is kept."""
    redactions: dict[int, Counter[str]] = field(default_factory=dict)
    merged: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """Other runs that a row also stands for."""
    groups: Groups = field(default_factory=Groups)
    merges: Merges = field(default_factory=Merges)

    def kept(self) -> Iterator[int]:
        """Yield the positions of the rows that are kept."""
        for position, (node, first) in enumerate(zip(self.nodes, self.firsts, strict=True)):
            if node != _NOT_A_ROW and first == position and position not in self.merges.into:
                yield position

    def row_of(self, position: int) -> int:
        """Return the position of the row that this one is part of: its own, or that of another one."""
        first = self.firsts[position]
        return self.merges.into.get(first, first)

    def tokens_of(self, position: int) -> int | None:
        """Return the tokens of a row, None where they were not counted."""
        tokens = self.tokens[position]
        return None if tokens == _NOT_COUNTED else tokens


def decide(sessions: ChatSessionFile, settings: Settings, draft: Scratch) -> Steps[Decisions]:
    """Decide about every session of a file, and draft its rows; an event after every page.

    A row is two lines of the draft: its run's id, nothing for a further row of one run, and the row. What is
    left out is one line, which is the one that stands in the report.

    Raises:
        UnreadableRunError: A run cannot be trained on, and the settings say to raise.
        SourceError: The file holds no sessions.
    """
    first_pass = _FirstPass(settings, draft)
    for number, item in enumerate(read_examples(sessions.path, settings.rendering), start=1):
        first_pass.enter(item)
        if number % PAGE == 0:
            yield event({}, first_pass.decisions.reasons.total())
    return first_pass.end()


class _FirstPass:
    def __init__(self, settings: Settings, draft: Scratch) -> None:
        self.decisions = Decisions(settings)
        self._settings, self._draft = settings, draft
        self._looker = Looker(settings.redactor.is_suspect)
        self._duplicates, self._trajectories = Duplicates(), Trajectories()
        self._answers = _Answers()
        self._format = FORMATS[settings.rendering.method]
        self._is_supervised = settings.rendering.method == "supervised"

    def enter(self, item: Example | Refused) -> None:
        if isinstance(item, Refused):
            self._leave_out(item.run_id, Problem(item.reason, item.field or ""))
            return
        position = len(self.decisions.nodes)
        try:
            facts, problem = self._look(position, item)
        except (TypeError, KeyError, IndexError, AttributeError, ValueError) as e:
            # A row of another shape than a loader's: its first misshape says why it cannot be read.
            problem = next(self._format.find_misshapes(item.row), None)
            if problem is None:
                if not isinstance(e, TypeError):
                    raise
                problem = Problem(Reason.NOT_JSON, "")
        if problem is not None:
            for run_id in (item.run_id, *item.merged):
                self._leave_out(run_id, problem)
        else:
            self._take(position, item, facts)

    def end(self) -> Decisions:
        decisions, merges = self.decisions, self._trajectories.merges()
        for position, into in merges.into.items():
            decisions.groups.unite(decisions.nodes[position], decisions.nodes[into])
        if self._settings.collapse == "last":
            merges.targets.clear()
        decisions.merges = merges
        return decisions

    def _look(self, position: int, item: Example) -> tuple[RowFacts, Problem | None]:
        scope = item.session.get("thread_id") or ""
        facts = self._looker.look(item.row, scope)
        if facts.is_suspect:
            redacted = self._settings.redactor(item.row)
            if redacted.row is not item.row:
                self.decisions.redactions[position] = redacted.counts
                item.row = redacted.row
                # What histories have in common is compared as it was recorded.
                facts = self._looker.look(item.row, scope)._replace(ends=facts.ends)
        if self._is_supervised:
            return facts, find_problem(item.row)
        return facts, next(self._format.find_problems(item.row), None)

    def _take(self, position: int, item: Example, facts: RowFacts) -> None:
        decisions = self.decisions
        node = decisions.groups.join(facts.prompt, _num_asked(item.row), _shared(item))
        first = position
        if self._settings.is_deduplicating:
            first = self._duplicates.first_of(facts.content, position)
        if self._settings.collapse == "none" or first != position:
            self._trajectories.skip()
        else:
            self._trajectories.enter(facts.ends)
        if lacks_schemas(item.row):
            decisions.notes[position] = TOOLS_MISSING
        elif self._is_supervised and self._answers.contradict(node, facts):
            decisions.notes[position] = CONTRADICTORY
        if item.merged:
            decisions.merged[position] = item.merged
        decisions.nodes.append(node)
        decisions.firsts.append(first)
        decisions.tokens.append(_recorded_tokens(item.session))
        head = b"" if item.is_further else orjson.dumps(item.run_id)
        self._draft.write(b"%b\n%b\n" % (head, facts.line))

    def _leave_out(self, run_id: str, problem: Problem) -> None:
        if self._settings.is_raising:
            raise unreadable(run_id, problem.reason, problem.field)
        decisions = self.decisions
        decisions.reasons[problem.reason.value] += 1
        decisions.firsts.append(len(decisions.nodes))
        decisions.nodes.append(_NOT_A_ROW)
        decisions.tokens.append(_NOT_COUNTED)
        self._trajectories.skip()
        line = {"run_id": run_id, "status": "rejected", "reason": problem.reason.value}
        if problem.field:
            line["field"] = problem.field
        self._draft.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


class _Answers:
    """Finds prompts that were answered in more than one way; keeps 16 bytes a prompt."""

    def __init__(self) -> None:
        self._first = array("Q")

    def contradict(self, node: int, facts: RowFacts) -> bool:
        """Enter a row; say whether the first row with its prompt and its schemas has another answer."""
        if (missing := 2 * node + 2 - len(self._first)) > 0:
            self._first.extend([0] * missing)
        answer, schemas = hash(facts.answer) & _UNSIGNED, hash(facts.schemas) & _UNSIGNED
        if not self._first[2 * node]:
            self._first[2 * node], self._first[2 * node + 1] = answer, schemas
        return self._first[2 * node + 1] == schemas and self._first[2 * node] != answer


def _num_asked(row: Row) -> int:
    return len(row.get("input", row)["messages"])


def _shared(item: Example) -> Iterator[bytes]:
    """Yield what keeps rows in one split."""
    for session in (item.session, *item.partners):
        for key in ("thread", "trace"):
            if value := session.get(f"{key}_id"):
                yield digest(f"{key}:{value}")


def _recorded_tokens(session: SessionRow) -> int:
    usage = session.get("usage")
    return usage.get("total_tokens", _NOT_COUNTED) if usage else _NOT_COUNTED


def unreadable(run_id: str, reason: Reason, where: str = "") -> UnreadableRunError:
    """Return the error of a run that cannot be trained on."""
    place = f" ({where})" if where else ""
    msg = (
        f"run {run_id} cannot be trained on: {reason.value}{place}. {SENTENCES[reason]} "
        'Leave it out of the selection, or pass on_error="reject".'
    )
    return UnreadableRunError(msg, run_id, reason.value)
