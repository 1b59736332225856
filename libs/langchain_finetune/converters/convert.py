"""Sessions to training data, in two passes: first decide about every row, then write it.

Between the passes only hashes and small numbers are in memory, whatever the number of sessions.
"""

import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from langchain_finetune._spool import SPLITS, RowWriter, Scratch, Spool, publish_training_data, read_jsonl
from langchain_finetune._stage import Steps
from langchain_finetune.converters.card import CARD_NAME, Facts, render_card
from langchain_finetune.converters.decisions import (
    CONTRADICTORY,
    TOOLS_MISSING,
    Decisions,
    decide,
    unreadable,
)
from langchain_finetune.converters.progress import PAGE, event
from langchain_finetune.converters.reduce import balance_rows, leave_out_near_duplicates
from langchain_finetune.converters.report import Places, Report
from langchain_finetune.converters.settings import Settings
from langchain_finetune.converters.splitting.split import HELD_OUT, Plan, Sizes, Splits, plan_splits
from langchain_finetune.errors import NotEnoughExamplesError
from langchain_finetune.handles import ChatSessionFile, Split, TrainingData
from langchain_finetune.runs import Reason

_NOTED: Final = {
    TOOLS_MISSING: "answers call tools although their runs recorded no schema: a model trained on them is "
    "not told its tools.",
    Reason.ARGUMENTS_OFF_SCHEMA.value: "answers call tools with arguments that do not fit their schema.",
    CONTRADICTORY: "rows answer a prompt otherwise than a row before them: a model learns both answers.",
}


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
    with Spool("data") as spool, settings.target:
        draft = spool.scratch()
        decisions = yield from decide(sessions, settings, draft)
        if settings.deduplicate == "near":
            leave_out_near_duplicates(decisions, draft)
        if settings.balance.is_asked:
            balance_rows(decisions)
        places = Places(decisions, _plan(decisions, sessions, settings))
        _warn_of_notes(decisions)
        return (yield from _write(sessions, spool, draft, Report.begin(spool, decisions, places)))


def _rejections(sessions: ChatSessionFile) -> Iterator[dict[str, Any]]:
    if sessions.rejections is not None:
        yield from read_jsonl(sessions.rejections)


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=2)


def _warn_of_notes(decisions: Decisions) -> None:
    notes = Counter(decisions.notes.get(position) for position in decisions.kept()) if decisions.notes else {}
    for note, number in notes.items():
        if note is not None:
            _warn(f"{number} {_NOTED[note]} They stand as {note} in the report.")


# --- which split, which row -----------------------------------------------------------------------------


def _plan(decisions: Decisions, sessions: ChatSessionFile, settings: Settings) -> Splits:
    """Return the split of each group, by its root."""
    groups = decisions.groups
    sizes = Sizes(groups)
    for position in decisions.kept():
        sizes.add(decisions.nodes[position])
    if sizes.total() < settings.min_examples:
        raise _not_enough(sessions, decisions, sizes.total(), settings.min_examples)
    plan = plan_splits(
        groups, sizes, fractions=settings.fractions, seed=settings.seed, min_train=settings.min_examples
    )
    _warn_of_pins(plan)
    _warn_of_limits(plan, sizes, settings)
    empty = [split for split in HELD_OUT if settings.fractions[split] and split not in plan.splits.values()]
    if plan.num_moved or empty:
        _warn(
            f"{sizes.total()} rows in {len(sizes)} groups are too few to hold out what was asked for and "
            f"to keep {settings.min_examples} to train on: {plan.num_moved} went back to training"
            + (f", {' and '.join(empty)} stay empty" if empty else "")
            + ". Load more runs, or ask for smaller fractions."
        )
    return plan.splits


def _warn_of_pins(plan: Plan) -> None:
    if plan.num_conflicts:
        _warn(
            f"{plan.num_conflicts} groups join rows of several splits of the earlier data: what was held out "
            "stays held out, test before validation."
        )


def _warn_of_limits(plan: Plan, sizes: Sizes, settings: Settings) -> None:
    target, counts = settings.target, Counter[Split]()
    for root, number in sizes.items():
        counts[plan.splits[root]] += number
    for split, number in counts.items():
        most = target.max_rows(split)
        if most is not None and number > most:
            _warn(
                f"{number:,} rows in {split}, and the host takes {most:,}: pass sample={most} to have fewer."
            )
    if target.needs_validation and not counts["validation"]:
        _warn("the host trains by this method only with validation rows: pass validation_fraction=0.1.")


def _not_enough(
    sessions: ChatSessionFile, decisions: Decisions, num_rows: int, least: int
) -> NotEnoughExamplesError:
    reasons = Counter(sessions.rejected_by_reason) + decisions.reasons
    num_merged = len(decisions.merges.into)
    num_duplicates = len(decisions.nodes) - decisions.reasons.total() - num_merged - num_rows
    counts = [f"{count} {reason}" for reason, count in reasons.most_common(3)]
    counts += [f"{num_duplicates} duplicates"] if num_duplicates else []
    account = f" Left out: {', '.join(counts)}." if counts else ""
    account += f" {num_merged} are part of other rows." if num_merged else ""
    return NotEnoughExamplesError(
        f"{sessions.num_runs} runs of {sessions.source or sessions.path} give {num_rows} rows, "
        f"{least} are needed to train.{account} Load more runs, or loosen the selection."
    )


# --- second pass ----------------------------------------------------------------------------------------


def _write(sessions: ChatSessionFile, spool: Spool, draft: Scratch, report: Report) -> Steps[TrainingData]:
    settings = report.decisions.settings
    writers: dict[Split, RowWriter] = {split: spool.writer(f"{split}.jsonl") for split in SPLITS}
    for position in report.write(draft, writers):
        if (position + 1) % PAGE == 0:
            yield event(writers, report.reasons.total())
    for line in _rejections(sessions):
        report.enter_rejection(line)
    data = publish_training_data(
        spool,
        writers,
        report.writer,
        num_runs=report.writer.num_rows - report.decisions.num_further_left_out,
        num_merged=report.num_merged,
        num_duplicates=report.num_duplicates,
        num_dropped=report.num_dropped,
        num_rejected=report.reasons.total(),
        rejected_by_reason=dict(report.reasons.most_common()),
        redactions=dict(report.redactions.most_common()),
        num_tokens=report.num_tokens,
        tokens_are_estimated=report.num_tokens is not None and settings.target.tokens_are_estimated,
        method=settings.rendering.method,
        card=_write_card(spool, sessions, writers, report),
    )
    yield event(writers, report.reasons.total())
    return data


def _write_card(
    spool: Spool, sessions: ChatSessionFile, writers: dict[Split, RowWriter], report: Report
) -> str:
    settings = report.decisions.settings
    card = render_card(
        Facts(
            sessions=sessions,
            method=settings.rendering.method,
            settings=settings.told,
            num_dropped=report.num_dropped,
            token_source=settings.target.token_source,
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
