"""The first pass over the sessions: what becomes of each, in hashes and small numbers.

Rows are rendered, redacted and written once, into a draft; the second pass copies those that are kept.
"""

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import orjson

from langchain_finetune._spool import Scratch
from langchain_finetune._stage import Steps
from langchain_finetune.converters.balance import Dropped, Labels
from langchain_finetune.converters.collapse import Merges, Trajectories
from langchain_finetune.converters.duplicates.deduplicate import Duplicates, digest
from langchain_finetune.converters.progress import PAGE, event
from langchain_finetune.converters.rendering.examples import (
    Example,
    Refused,
    Row,
    SessionRow,
    lacks_schemas,
)
from langchain_finetune.converters.rendering.read import read_examples
from langchain_finetune.converters.row_facts import Looker, RowFacts
from langchain_finetune.converters.settings import Settings
from langchain_finetune.converters.splitting.split import Groups
from langchain_finetune.errors import UnreadableRunError
from langchain_finetune.handles import ChatSessionFile
from langchain_finetune.rows import FORMATS, Problem, find_problem
from langchain_finetune.runs import SENTENCES, Reason

TOOLS_MISSING: Final = "tools_missing"
"""Reason in the report of a kept row whose answer calls a tool that the run recorded no schema of."""
CONTRADICTORY: Final = "contradictory"
"""Reason in the report of a kept row that answers a prompt otherwise than a row before it."""

TAB: Final = b"\t"

_NOT_A_ROW: Final = -1
_NOT_COUNTED: Final = -1
_UNSIGNED: Final = 2**64 - 1


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
    num_further_left_out: int = 0
    """Rows that were left out although their runs have another one."""
    groups: Groups = field(default_factory=Groups)
    merges: Merges = field(default_factory=Merges)
    labels: Labels = field(default_factory=Labels)
    near: set[int] = field(default_factory=set)
    """Rows that nearly equal an earlier one."""
    dropped: Dropped = field(default_factory=lambda: Dropped(0))

    def kept(self) -> Iterator[int]:
        """Yield the positions of the rows that are kept."""
        return filter(self.is_kept, range(len(self.nodes)))

    def is_kept(self, position: int) -> bool:
        """Say whether a row is a row of its own."""
        return (
            self.nodes[position] != _NOT_A_ROW
            and self.firsts[position] == position
            and position not in self.merges.into
            and not (self.dropped and position in self.dropped)
        )

    def row_of(self, position: int) -> int:
        """Return the position of the row that this one is part of: its own, or that of another one."""
        while True:
            first = self.firsts[position]
            into = self.merges.into.get(first, first)
            if into == position:
                return position
            position = into

    def tokens_of(self, position: int) -> int | None:
        """Return the tokens of a row, None where they were not counted."""
        tokens = self.tokens[position]
        return None if tokens == _NOT_COUNTED else tokens


def decide(sessions: ChatSessionFile, settings: Settings, draft: Scratch) -> Steps[Decisions]:
    """Decide about every session of a file, and draft its rows; an event after every page.

    A row is two lines of the draft: its run's id and, after a tab, the run's tags, nothing for a further row
    of one run; and the row. What is left out is one line, which is the one that stands in the report.

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
        self._has_target = settings.target.host is not None

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
            self.decisions.num_further_left_out += item.is_further
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
            problem = find_problem(item.row)
        else:
            problem = next(self._format.find_problems(item.row), None)
        if problem is None and self._has_target:
            problem = next(self._settings.target.find_problems(item.row), None)
        return facts, problem or self._find_too_long(item, facts)

    def _find_too_long(self, item: Example, facts: RowFacts) -> Problem | None:
        most = self._settings.max_tokens
        # A token has at least a byte: most rows need no count.
        if most is None or len(facts.line) <= most:
            return None
        tokens = self._settings.target.count_tokens(item.row)
        if tokens is None:
            tokens = _recorded_tokens(item.session)
        return Problem(Reason.TOO_LONG, "") if tokens > most else None

    def _take(self, position: int, item: Example, facts: RowFacts) -> None:
        decisions = self.decisions
        node = decisions.groups.join(facts.prompt, _num_asked(item.row), _shared(item))
        first = position
        if self._settings.deduplicate != "none":
            first = self._duplicates.first_of(facts.content, position)
        if self._settings.collapse == "none" or first != position:
            self._trajectories.skip()
        else:
            self._trajectories.enter(facts.ends)
        if note := self._note(item.row, node, facts):
            decisions.notes[position] = note
        if self._settings.pins is not None:
            for split in self._settings.pins.splits_of(item.row, item.run_id):
                decisions.groups.pin(node, split)
        if self._settings.balance.is_asked:
            labels = self._settings.balance.labels_of(item.row, item.session)
            decisions.labels.enter(facts.content, labels)
        if item.merged:
            decisions.merged[position] = item.merged
        decisions.nodes.append(node)
        decisions.firsts.append(first)
        decisions.tokens.append(_recorded_tokens(item.session))
        head = b"" if item.is_further else _head(item)
        self._draft.write(b"%b\n%b\n" % (head, facts.line))

    def _note(self, row: Row, node: int, facts: RowFacts) -> str | None:
        is_contradiction = self._is_supervised and self._answers.contradict(node, facts)
        if lacks_schemas(row):
            return TOOLS_MISSING
        if misfit := next(self._format.find_notes(row), None):
            return misfit.reason.value
        return CONTRADICTORY if is_contradiction else None

    def _leave_out(self, run_id: str, problem: Problem) -> None:
        if self._settings.is_raising:
            raise unreadable(run_id, problem.reason, problem.field)
        decisions = self.decisions
        decisions.reasons[problem.reason.value] += 1
        decisions.firsts.append(len(decisions.nodes))
        decisions.nodes.append(_NOT_A_ROW)
        decisions.tokens.append(_NOT_COUNTED)
        self._trajectories.skip()
        if self._settings.balance.is_asked:
            decisions.labels.enter()
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


def _head(item: Example) -> bytes:
    run_id, tags = orjson.dumps(item.run_id), item.session.get("tags")
    return b"%b%b%b" % (run_id, TAB, orjson.dumps(tags)) if tags else run_id


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
