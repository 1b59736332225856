"""Sessions to training data, in two passes: first decide about every row, then write it.

Between the passes only hashes and small numbers are in memory, whatever the number of sessions.
"""

import warnings
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from langchain_finetune._spool import SPLITS, RowWriter, Spool, publish_training_data, read_jsonl
from langchain_finetune._stage import Event, Steps
from langchain_finetune.converters.deduplicate import Duplicates, digest
from langchain_finetune.converters.render import lacks_schemas, render
from langchain_finetune.converters.sessions import read_sessions
from langchain_finetune.converters.split import HELD_OUT, Groups, plan_splits
from langchain_finetune.errors import NotEnoughExamplesError, UnreadableRunError
from langchain_finetune.handles import ChatSessionFile, RecordedSession, Split, TrainingData
from langchain_finetune.rows import Problem, find_problem
from langchain_finetune.runs import SENTENCES, Reason

CONVERT_EVENT: Final = "langchain_finetune_convert"
TOOLS_MISSING: Final = "tools_missing"
"""Reason in the report of a kept row whose answer calls a tool that the run recorded no schema of."""

_PAGE: Final = 1000
_NOT_A_ROW: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to convert."""

    fractions: dict[Split, float]
    seed: int
    is_deduplicating: bool
    is_raising: bool
    min_examples: int


@dataclass(slots=True)
class _Decisions:
    """What the first pass found, by the position of the session."""

    nodes: "array[int]" = field(default_factory=lambda: array("q"))
    """The row's node in the groups; `_NOT_A_ROW` for a rejected one."""
    firsts: "array[int]" = field(default_factory=lambda: array("q"))
    """The position of the first row of this content; its own for a row that is kept."""
    problems: dict[int, Problem] = field(default_factory=dict)
    groups: Groups = field(default_factory=Groups)
    num_without_schemas: int = 0

    def kept(self) -> Iterator[int]:
        """Yield the positions of the rows that are kept."""
        for position, (node, first) in enumerate(zip(self.nodes, self.firsts, strict=True)):
            if node != _NOT_A_ROW and first == position:
                yield position


def convert(sessions: ChatSessionFile, settings: Settings) -> Steps[TrainingData]:
    """Convert the sessions of a file; an event after every page.

    Raises:
        NotEnoughExamplesError: Fewer rows than the minimum are left to train on.
        UnreadableRunError: A run cannot be trained on, and the settings say to raise.
        SourceError: The file holds no sessions.
    """
    if settings.is_raising:
        _raise_first_rejection(sessions)
    decisions = yield from _decide(sessions, settings)
    splits = _plan(decisions, sessions, settings)
    if decisions.num_without_schemas:
        _warn(
            f"{decisions.num_without_schemas} answers call tools although their runs recorded no schema: "
            f"a model trained on them is not told its tools. They stand as {TOOLS_MISSING} in the report."
        )
    return (yield from _write(sessions, decisions, splits))


# --- first pass -----------------------------------------------------------------------------------------


def _raise_first_rejection(sessions: ChatSessionFile) -> None:
    for line in _rejections(sessions):
        raise _unreadable(line["run_id"], Reason(line["reason"]))


def _rejections(sessions: ChatSessionFile) -> Iterator[dict[str, Any]]:
    if sessions.rejections is not None:
        yield from read_jsonl(sessions.rejections)


def _unreadable(run_id: str, reason: Reason, where: str = "") -> UnreadableRunError:
    place = f" ({where})" if where else ""
    msg = (
        f"run {run_id} cannot be trained on: {reason.value}{place}. {SENTENCES[reason]} "
        'Leave it out of the selection, or pass on_error="reject".'
    )
    return UnreadableRunError(msg, run_id, reason.value)


def _decide(sessions: ChatSessionFile, settings: Settings) -> Steps[_Decisions]:
    decisions, duplicates = _Decisions(), Duplicates()
    for position, session in enumerate(read_sessions(sessions.path)):
        row = render(session)
        first, node = position, _NOT_A_ROW
        if problem := find_problem(row):
            if settings.is_raising:
                raise _unreadable(session.run_id, problem.reason, problem.field)
            decisions.problems[position] = problem
        else:
            node = _join(decisions.groups, session, row)
            if settings.is_deduplicating:
                first = duplicates.first_of(row, position)
            decisions.num_without_schemas += first == position and lacks_schemas(row)
        decisions.nodes.append(node)
        decisions.firsts.append(first)
        if (position + 1) % _PAGE == 0:
            yield _event({}, len(decisions.problems))
    return decisions


def _join(groups: Groups, session: RecordedSession, row: dict[str, Any]) -> int:
    prompt = row["messages"][:-1]
    kin = [f"thread:{session.thread_id}"] if session.thread_id else []
    kin += [f"trace:{session.trace_id}"] if session.trace_id else []
    return groups.join(digest(prompt), len(prompt), map(digest, kin))


def _plan(decisions: _Decisions, sessions: ChatSessionFile, settings: Settings) -> dict[int, Split]:
    """Return the split of each group, by its root."""
    groups = decisions.groups
    sizes = Counter(groups.root(decisions.nodes[position]) for position in decisions.kept())
    if sizes.total() < settings.min_examples:
        raise _not_enough(sessions, decisions, sizes.total(), settings.min_examples)
    plan = plan_splits(
        groups, sizes, fractions=settings.fractions, seed=settings.seed, min_train=settings.min_examples
    )
    empty = [split for split in HELD_OUT if settings.fractions[split] and split not in plan.splits.values()]
    if plan.num_moved or empty:
        _warn(
            f"{sizes.total()} rows in {len(sizes)} groups are too few to hold out what was asked for and "
            f"to keep {settings.min_examples} to train on: {plan.num_moved} went back to training"
            + (f", {' and '.join(empty)} stay empty" if empty else "")
            + ". Load more runs, or ask for smaller fractions."
        )
    return plan.splits


def _not_enough(
    sessions: ChatSessionFile, decisions: _Decisions, num_rows: int, least: int
) -> NotEnoughExamplesError:
    reasons = Counter(sessions.rejected_by_reason)
    reasons.update(problem.reason.value for problem in decisions.problems.values())
    num_duplicates = len(decisions.nodes) - len(decisions.problems) - num_rows
    counts = [f"{count} {reason}" for reason, count in reasons.most_common(3)]
    counts += [f"{num_duplicates} duplicates"] if num_duplicates else []
    account = f" Left out: {', '.join(counts)}." if counts else ""
    return NotEnoughExamplesError(
        f"{sessions.num_runs} runs of {sessions.source or sessions.path} give {num_rows} rows, "
        f"{least} are needed to train.{account} Load more runs, or loosen the selection."
    )


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=2)


# --- second pass ----------------------------------------------------------------------------------------


def _write(sessions: ChatSessionFile, decisions: _Decisions, splits: dict[int, Split]) -> Steps[TrainingData]:
    with Spool("data") as spool:
        writers: dict[Split, RowWriter] = {split: spool.writer(f"{split}.jsonl") for split in SPLITS}
        report = _Report(spool.writer("report.jsonl"), decisions)
        for position, session in enumerate(read_sessions(sessions.path)):
            report.enter(position, session, writers[_split_of(position, decisions, splits)])
            if (position + 1) % _PAGE == 0:
                yield _event(writers, report.num_rejected)
        for line in _rejections(sessions):
            report.enter_rejection(line)
        data = publish_training_data(
            spool,
            writers,
            report.writer,
            num_runs=report.writer.num_rows,
            num_duplicates=report.num_duplicates,
            num_rejected=report.num_rejected,
            rejected_by_reason=dict(report.reasons.most_common()),
            num_tokens=report.num_tokens,
        )
        yield _event(writers, report.num_rejected)
        return data


def _split_of(position: int, decisions: _Decisions, splits: dict[int, Split]) -> Split:
    node = decisions.nodes[position]
    return "train" if node == _NOT_A_ROW else splits[decisions.groups.root(node)]


def _event(writers: dict[Split, RowWriter], num_rejected: int) -> Event:
    counts = {f"num_{split}": writers[split].num_rows if split in writers else 0 for split in SPLITS}
    return Event(CONVERT_EVENT, {**counts, "num_rejected": num_rejected})


@dataclass(slots=True)
class _Report:
    """Writes the rows, and a line for every run that came in."""

    writer: RowWriter
    decisions: _Decisions
    reasons: Counter[str] = field(default_factory=Counter)
    num_duplicates: int = 0
    num_tokens: int | None = None
    rows: "array[int]" = field(default_factory=lambda: array("q"))
    """The row in its split's file, by position."""

    @property
    def num_rejected(self) -> int:
        return self.reasons.total()

    def enter(self, position: int, session: RecordedSession, writer: RowWriter) -> None:
        problem, first = self.decisions.problems.get(position), self.decisions.firsts[position]
        self.rows.append(_NOT_A_ROW)
        if problem is not None:
            self.reasons[problem.reason.value] += 1
            self._line(session, "rejected", reason=problem.reason.value, field=problem.field)
            return
        split = writer.path.stem
        if first != position:
            self.num_duplicates += 1
            self._line(session, "duplicate", split=split, row=self.rows[first])
            return
        row = render(session)
        self.rows[position] = writer.num_rows
        writer.write(row)
        reason = TOOLS_MISSING if lacks_schemas(row) else None
        tokens = self._line(session, "kept", reason=reason, split=split, row=self.rows[position])
        if tokens is not None:
            self.num_tokens = (self.num_tokens or 0) + tokens

    def enter_rejection(self, line: dict[str, Any]) -> None:
        self.reasons[line["reason"]] += 1
        self.writer.write({"run_id": line["run_id"], "status": "rejected", "reason": line["reason"]})

    def _line(self, session: RecordedSession, status: str, **fields: Any) -> int | None:
        tokens = (session.usage or {}).get("total_tokens")
        line = {"run_id": session.run_id, "status": status, "tokens": tokens, **fields}
        self.writer.write({key: value for key, value in line.items() if value is not None})
        return tokens
