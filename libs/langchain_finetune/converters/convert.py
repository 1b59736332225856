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
from langchain_finetune._stage import Steps
from langchain_finetune.converters.card import CARD_NAME, Facts, bucket_of, render_card
from langchain_finetune.converters.decisions import (
    Decisions,
    Settings,
    count_reasons,
    decide,
    unreadable,
)
from langchain_finetune.converters.progress import PAGE, event
from langchain_finetune.converters.render import lacks_schemas
from langchain_finetune.converters.sessions import read_sessions
from langchain_finetune.converters.split import HELD_OUT, plan_splits
from langchain_finetune.errors import NotEnoughExamplesError
from langchain_finetune.handles import ChatSessionFile, RecordedSession, Split, TrainingData
from langchain_finetune.runs import Reason

TOOLS_MISSING: Final = "tools_missing"
"""Reason in the report of a kept row whose answer calls a tool that the run recorded no schema of."""


def convert(sessions: ChatSessionFile, settings: Settings) -> Steps[TrainingData]:
    """Convert the sessions of a file; an event after every page.

    Raises:
        NotEnoughExamplesError: Fewer rows than the minimum are left to train on.
        UnreadableRunError: A run cannot be trained on, and the settings say to raise.
        SourceError: The file holds no sessions.
    """
    if settings.is_raising:
        for line in _rejections(sessions):
            raise unreadable(line["run_id"], Reason(line["reason"]))
    decisions = yield from decide(sessions, settings)
    places = _places(decisions, _plan(decisions, sessions, settings))
    if num_lacking := sum(position in decisions.without_schemas for position in decisions.kept()):
        _warn(
            f"{num_lacking} answers call tools although their runs recorded no schema: a model trained on "
            f"them is not told its tools. They stand as {TOOLS_MISSING} in the report."
        )
    return (yield from _write(sessions, decisions, places))


def _rejections(sessions: ChatSessionFile) -> Iterator[dict[str, Any]]:
    if sessions.rejections is not None:
        yield from read_jsonl(sessions.rejections)


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=2)


# --- which split, which row -----------------------------------------------------------------------------


def _plan(decisions: Decisions, sessions: ChatSessionFile, settings: Settings) -> dict[int, Split]:
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
    sessions: ChatSessionFile, decisions: Decisions, num_rows: int, least: int
) -> NotEnoughExamplesError:
    reasons = count_reasons(sessions, decisions)
    num_merged = len(decisions.merges.into)
    num_duplicates = len(decisions.nodes) - len(decisions.problems) - num_merged - num_rows
    counts = [f"{count} {reason}" for reason, count in reasons.most_common(3)]
    counts += [f"{num_duplicates} duplicates"] if num_duplicates else []
    account = f" Left out: {', '.join(counts)}." if counts else ""
    account += f" {num_merged} are part of other rows." if num_merged else ""
    return NotEnoughExamplesError(
        f"{sessions.num_runs} runs of {sessions.source or sessions.path} give {num_rows} rows, "
        f"{least} are needed to train.{account} Load more runs, or loosen the selection."
    )


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the rows stand, by the position of their session: in which split, and in which row of it."""

    splits: bytearray
    rows: "array[int]"

    def of(self, position: int) -> tuple[Split, int]:
        return SPLITS[self.splits[position]], self.rows[position]


def _places(decisions: Decisions, splits: dict[int, Split]) -> _Places:
    num_sessions = len(decisions.nodes)
    places = _Places(bytearray(num_sessions), array("q", bytes(8 * num_sessions)))
    num_rows = dict.fromkeys(SPLITS, 0)
    for position in decisions.kept():
        split = splits[decisions.groups.root(decisions.nodes[position])]
        places.splits[position], places.rows[position] = SPLITS.index(split), num_rows[split]
        num_rows[split] += 1
    return places


# --- second pass ----------------------------------------------------------------------------------------


def _write(sessions: ChatSessionFile, decisions: Decisions, places: _Places) -> Steps[TrainingData]:
    with Spool("data") as spool:
        writers: dict[Split, RowWriter] = {split: spool.writer(f"{split}.jsonl") for split in SPLITS}
        report = _Report(spool.writer("report.jsonl"), decisions, places)
        for position, session in enumerate(read_sessions(sessions.path)):
            report.enter(position, session, writers)
            if (position + 1) % PAGE == 0:
                yield event(writers, report.reasons.total())
        for line in _rejections(sessions):
            report.enter_rejection(line)
        data = publish_training_data(
            spool,
            writers,
            report.writer,
            num_runs=report.writer.num_rows,
            num_merged=report.num_merged,
            num_duplicates=report.num_duplicates,
            num_rejected=report.reasons.total(),
            rejected_by_reason=dict(report.reasons.most_common()),
            redactions=dict(report.redactions.most_common()),
            num_tokens=report.num_tokens,
            card=_write_card(spool, sessions, writers, report),
        )
        yield event(writers, report.reasons.total())
        return data


def _write_card(
    spool: Spool, sessions: ChatSessionFile, writers: dict[Split, RowWriter], report: "_Report"
) -> str:
    card = render_card(
        Facts(
            sessions=sessions,
            settings=report.decisions.settings.told(),
            splits={
                it: (writer.num_rows, writer.sha256) for it, writer in writers.items() if writer.num_rows
            },
            num_merged=report.num_merged,
            num_duplicates=report.num_duplicates,
            rejected_by_reason=dict(report.reasons.most_common()),
            redactions=dict(report.redactions.most_common()),
            tokens=report.histogram,
        )
    )
    writer = spool.writer(CARD_NAME)
    writer.write_line(card.encode())
    return writer.path.name


@dataclass(slots=True)
class _Report:
    """Writes the rows, and a line for every run that came in."""

    writer: RowWriter
    decisions: Decisions
    places: _Places
    reasons: Counter[str] = field(default_factory=Counter)
    redactions: Counter[str] = field(default_factory=Counter)
    num_merged: int = 0
    num_duplicates: int = 0
    num_tokens: int | None = None
    histogram: Counter[int] = field(default_factory=Counter)

    def enter(self, position: int, session: RecordedSession, writers: dict[Split, RowWriter]) -> None:
        decisions = self.decisions
        if problem := decisions.problems.get(position):
            self.reasons[problem.reason.value] += 1
            self._line(session, "rejected", reason=problem.reason.value, field=problem.field)
            return
        split, number = self.places.of(decisions.row_of(position))
        place: dict[str, Any] = {"split": split, "row": number}
        if decisions.firsts[position] != position:
            self.num_duplicates += 1
            self._line(session, "duplicate", **place)
        elif position in decisions.merges.into:
            self.num_merged += 1
            self._line(session, "merged", **place)
        else:
            self._keep(position, session, writers[split], place)

    def _keep(
        self, position: int, session: RecordedSession, writer: RowWriter, place: dict[str, Any]
    ) -> None:
        redacted = self.decisions.render(position, session)
        writer.write(redacted.row)
        self.redactions += redacted.counts
        reason = TOOLS_MISSING if lacks_schemas(redacted.row) else None
        tokens = self._line(session, "kept", reason=reason, **place, redactions=dict(redacted.counts) or None)
        if tokens is not None:
            self.num_tokens = (self.num_tokens or 0) + tokens
            self.histogram[bucket_of(tokens)] += 1

    def enter_rejection(self, line: dict[str, Any]) -> None:
        self.reasons[line["reason"]] += 1
        self.writer.write({"run_id": line["run_id"], "status": "rejected", "reason": line["reason"]})

    def _line(self, session: RecordedSession, status: str, **fields: Any) -> int | None:
        tokens = (session.usage or {}).get("total_tokens")
        line = {"run_id": session.run_id, "status": status, "tokens": tokens, **fields}
        self.writer.write({key: value for key, value in line.items() if value is not None})
        return tokens
