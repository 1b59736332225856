"""Rows that people already have, in files of JSON Lines, as training data: checked, accounted for, kept."""

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args

from langchain_finetune._spool import SPLITS, RowWriter, Spool, ended, publish_training_data, read_lines
from langchain_finetune.converters.own_files.line_problems import Checked, LineProblems, check_line, counted
from langchain_finetune.converters.own_files.repeats import Repeats
from langchain_finetune.converters.target import Target
from langchain_finetune.errors import NotEnoughExamplesError, SettingError, TrainingDataError
from langchain_finetune.handles import Method, Split, TrainingData

OnError = Literal["raise", "reject"]

REPEATED: Final = "repeated"
"""Reason in the report of a kept row that is equal to one before it, in its own file or in another."""

_REPORT: Final = "report_of_files.jsonl"
"""A name of its own: rows that a converter wrote have a report beside them, which is not theirs to lose."""

_ABOVE_THE_METHOD: Final = 3
"""Frames from a warning here to the caller of `TrainingData.from_jsonl`."""


def read_own_rows(
    files: Mapping[Split, Path],
    *,
    method: Method = "supervised",
    target: str | None = None,
    on_error: OnError = "raise",
) -> TrainingData:
    """Check the rows of files and spool them, byte for byte but for how their lines end.

    Args:
        files: The file of each split; that of `train` has to be there.
        method: Method of training that the rows are for.
        target: `"provider:base"`, to hold them to that host's rules too; None for OpenAI's alone.
        on_error: Whether a row that breaks a rule ends it, or stands as rejected in the report.

    Raises:
        InvalidRowsError: Rows break rules, and `on_error` is "raise"; it tells the first of them.
        NotEnoughExamplesError: There are fewer training rows than the target's host takes.
        TrainingDataError: There is no row to train on, or the host takes fewer, or wants validation rows.
        SettingError: There is no such method, or no such way of dealing with errors.
        UnknownProviderError: There is no such target.
        SourceNotFoundError: A file is missing.
        SourceError: A file cannot be read.
    """
    _require(method, get_args(Method), "method")
    _require(on_error, get_args(OnError), "on_error")
    with Target.of(target, method) as goal, Spool("data") as spool:
        writers: dict[Split, RowWriter] = {split: spool.writer(f"{split}.jsonl") for split in SPLITS}
        books = _Books(goal, writers, spool.writer(_REPORT), LineProblems(method))
        for split in SPLITS:
            if (path := files.get(split)) is not None:
                books.enter_file(split, path)
        if books.problems and on_error == "raise":
            raise books.problems.error(books.report.num_rows, goal.host.title if goal.host else "a host")
        _require_rows(books, files["train"])
        for sentence in filter(None, (*books.repeats.sentences(files), _notes(books))):
            warnings.warn(sentence, UserWarning, stacklevel=_ABOVE_THE_METHOD)
        return publish_training_data(
            spool,
            writers,
            books.report,
            method=method,
            num_runs=books.report.num_rows,
            num_rejected=books.reasons.total(),
            rejected_by_reason=dict(books.reasons.most_common()),
            num_tokens=books.num_tokens,
        )


def _require(value: str, known: tuple[str, ...], name: str) -> None:
    if value not in known:
        msg = f"there is no {name} {value!r}: give one of {', '.join(known)}."
        raise SettingError(msg)


@dataclass(slots=True)
class _Books:
    """Writes the rows, and a line of the report for each line of the files."""

    target: Target
    writers: Mapping[Split, RowWriter]
    report: RowWriter
    problems: LineProblems
    reasons: Counter[str] = field(default_factory=Counter)
    """Of rejected rows: the first problem of each."""
    notes: Counter[str] = field(default_factory=Counter)
    """Of kept rows: the first of each."""
    repeats: Repeats = field(default_factory=Repeats)
    num_tokens: int | None = None

    def enter_file(self, split: Split, path: Path) -> None:
        for number, line in read_lines(path):
            checked = check_line(line, self.target)
            if checked.errors:
                self._reject(checked, split, path, number)
            else:
                self._keep(checked, line, split, f"{path}:{number}")

    def _keep(self, checked: Checked, line: bytes, split: Split, place: str) -> None:
        writer, row = self.writers[split], checked.row
        told: dict[str, Any] = {"split": split, "row": writer.num_rows}
        if (first := self.repeats.enter(row, _prompt_of(row, self.target.method), split)) is not None:
            told |= {"reason": REPEATED, "repeats": {"split": first[0], "row": first[1]}}
        if checked.notes:
            note = checked.notes[0]
            self.notes[note.reason.value] += 1
            told |= {"reason": note.reason.value, "field": note.field}
        if checked.tokens is not None:
            self.num_tokens = (self.num_tokens or 0) + checked.tokens
            told["tokens"] = checked.tokens
        writer.write_line(ended(line))
        self.report.write({"run_id": place, "status": "kept", **told})

    def _reject(self, checked: Checked, split: Split, path: Path, number: int) -> None:
        first = checked.errors[0]
        line = {"run_id": f"{path}:{number}", "status": "rejected", "reason": first.reason.value}
        self.report.write({**line, "field": first.field} if first.field else line)
        self.reasons[first.reason.value] += 1
        self.problems.enter(checked, split, path, number)


def _prompt_of(row: Mapping[str, Any], method: Method) -> Any:
    if method == "dpo":
        return row["input"]["messages"]
    return row["messages"][:-1] if method == "supervised" else row["messages"]


def _notes(books: _Books) -> str | None:
    if not books.notes:
        return None
    return (
        f"{books.notes.total():,} rows have what keeps no host from training, and is worth a look: "
        f"{counted(books.notes)}. The report has their lines."
    )


def _require_rows(books: _Books, train: Path) -> None:
    """Refuse numbers of rows with which nothing can be trained."""
    target, num_train = books.target, books.writers["train"].num_rows
    rejected = f" ({counted(books.reasons)} rejected)" if books.reasons else ""
    if not num_train:
        msg = f"{train} has no row to train on{rejected}: give rows for {target.method!r}."
        raise TrainingDataError(msg)
    if target.host is None:
        return
    title = target.host.title
    if num_train < target.host.min_examples:
        msg = f"{train} has {num_train} rows{rejected}, {title} needs at least {target.host.min_examples}."
        raise NotEnoughExamplesError(msg)
    for split, writer in books.writers.items():
        most = target.max_rows(split)
        if most is not None and writer.num_rows > most:
            msg = f"there are {writer.num_rows:,} {split} rows, {title} takes {most:,}: leave some out."
            raise TrainingDataError(msg)
    if target.needs_validation and not books.writers["validation"].num_rows:
        msg = f"{title} trains by the method {target.method!r} only with validation rows: give `validation`."
        raise TrainingDataError(msg)
