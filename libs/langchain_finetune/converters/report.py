"""The second pass: rows from the draft into the files of their splits, and a line for every run."""

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from langchain_finetune._parsing import loads
from langchain_finetune._spool import SPLITS, RowWriter, Scratch, Spool
from langchain_finetune.converters.card import bucket_of
from langchain_finetune.converters.collapse import unweighted, weighted
from langchain_finetune.converters.decisions import TAB, Decisions
from langchain_finetune.converters.splitting.split import Splits
from langchain_finetune.handles import Split

_NONE: Final[tuple[int, ...]] = ()
_NEAR: Final = "near_duplicate"
"""Reason in the report of a duplicate that nearly equals the row that stands for it."""


class Places:
    """Where the rows stand, by their position in the draft: in which split, and in which row of it."""

    def __init__(self, decisions: Decisions, splits: Splits) -> None:
        num_drafted = len(decisions.nodes)
        self._splits, self._rows = bytearray(num_drafted), array("q", bytes(8 * num_drafted))
        num_rows = [0] * len(SPLITS)
        root_of, nodes = decisions.groups.root, decisions.nodes
        for position in decisions.kept():
            number = splits.number(root_of(nodes[position]))
            self._splits[position], self._rows[position] = number, num_rows[number]
            num_rows[number] += 1

    def of(self, position: int) -> tuple[Split, int]:
        """Return split and row of a kept row."""
        return SPLITS[self._splits[position]], self._rows[position]


@dataclass(slots=True)
class Report:
    """Writes the rows, and what became of each run."""

    writer: RowWriter
    decisions: Decisions
    places: Places
    reasons: Counter[str] = field(default_factory=Counter)
    redactions: Counter[str] = field(default_factory=Counter)
    num_merged: int = 0
    num_duplicates: int = 0
    num_dropped: int = 0
    num_tokens: int | None = None
    histogram: Counter[int] = field(default_factory=Counter)
    _counted_again: bool = False

    @classmethod
    def begin(cls, spool: Spool, decisions: Decisions, places: Places) -> "Report":
        """Open the report of a spool."""
        return cls(
            spool.writer("report.jsonl"),
            decisions,
            places,
            reasons=decisions.reasons.copy(),
            _counted_again=not decisions.settings.target.tokens_are_estimated,
        )

    def write(self, draft: Scratch, writers: Mapping[Split, RowWriter]) -> Iterator[int]:
        """Write every row of the draft; yields the position of each."""
        lines = iter(draft)
        for position, head in enumerate(lines):
            if head.startswith(b"{"):
                self.writer.write_line(head)
            else:
                run_id, _, tags = head[:-1].partition(TAB)
                self._enter(position, run_id, tags, next(lines), writers)
            yield position

    def _enter(
        self,
        position: int,
        run_id: bytes,
        tags: bytes,
        line: bytes,
        writers: Mapping[Split, RowWriter],
    ) -> None:
        decisions = self.decisions
        row = decisions.row_of(position)
        if decisions.dropped and (reason := decisions.dropped[row]):
            self._drop(position, run_id, reason)
            return
        split, number = self.places.of(row)
        if decisions.firsts[position] != position:
            status = "duplicate"
            self.num_duplicates += bool(run_id)
        elif position in decisions.merges.into:
            status = "merged"
            self.num_merged += bool(run_id)
        else:
            status = "kept"
            line = self._weighted(position, line)
            writers[split].write_line(line)
            self._count(position, line)
        if run_id:
            self._line(position, run_id, status, split, number, tags)
        for other in decisions.merged.get(position, ()):
            self.num_merged += 1
            self._line(None, orjson.dumps(other), "merged", split, number)

    def _drop(self, position: int, run_id: bytes, reason: str) -> None:
        for each in (run_id, *map(orjson.dumps, self.decisions.merged.get(position, ()))):
            if each:
                self.num_dropped += 1
                line = b'{"run_id":%b,"status":"dropped","reason":%b}\n' % (each, orjson.dumps(reason))
                self.writer.write_line(line)

    def _weighted(self, position: int, line: bytes) -> bytes:
        if self.decisions.settings.collapse == "none":
            return unweighted(line)
        return weighted(line, self.decisions.merges.targets.get(position, _NONE))

    def _count(self, position: int, line: bytes) -> None:
        decisions = self.decisions
        if self._counted_again:
            counted = decisions.settings.target.count_tokens(loads(line))
            if counted is not None:
                decisions.tokens[position] = counted
        if (tokens := decisions.tokens_of(position)) is not None:
            self.num_tokens = (self.num_tokens or 0) + tokens
            self.histogram[bucket_of(tokens)] += 1
        if redactions := decisions.redactions.get(position):
            self.redactions += redactions

    def _line(  # noqa: PLR0913, PLR0917  # a field each
        self,
        position: int | None,
        run_id: bytes,
        status: str,
        split: Split,
        number: int,
        tags: bytes = b"",
    ) -> None:
        line = b'{"run_id":%b,"status":"%b","split":"%b","row":%d' % (
            run_id,
            status.encode(),
            split.encode(),
            number,
        )
        if tags:
            line += b',"tags":%b' % tags
        if position is not None:
            line += self._details(position, is_kept=status == "kept")
        self.writer.write_line(line + b"}\n")

    def _details(self, position: int, *, is_kept: bool) -> bytes:
        decisions, details = self.decisions, b""
        if (tokens := decisions.tokens_of(position)) is not None:
            details += b',"tokens":%d' % tokens
        note = decisions.notes.get(position) if is_kept else _NEAR if position in decisions.near else None
        if note:
            details += b',"reason":%b' % orjson.dumps(note)
        if is_kept and (redactions := decisions.redactions.get(position)):
            details += b',"redactions":%b' % orjson.dumps(dict(redactions))
        return details

    def enter_rejection(self, line: Mapping[str, Any]) -> None:
        """Enter a run that the loader rejected."""
        self.reasons[line["reason"]] += 1
        self.writer.write({"run_id": line["run_id"], "status": "rejected", "reason": line["reason"]})
