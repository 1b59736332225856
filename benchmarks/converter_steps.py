"""The converter's steps, each alone over rows that are in memory."""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from langchain_finetune._spool import RowWriter
from langchain_finetune.converters.collapse import Trajectories, weighted
from langchain_finetune.converters.duplicates.deduplicate import Duplicates, digest
from langchain_finetune.converters.duplicates.near_duplicates import NearDuplicates
from langchain_finetune.converters.redaction.redact import Redactor
from langchain_finetune.converters.rendering.supervised import supervised_row
from langchain_finetune.converters.row_facts import Looker
from langchain_finetune.converters.sessions import read_session_rows
from langchain_finetune.converters.splitting.split import Groups, plan_splits
from langchain_finetune.rows import estimate_tokens, find_problem

Work = Callable[[], object]


def steps(sessions: Path, out: Path) -> dict[str, Work]:
    """Return each step as something to measure, in their order."""
    given = _Given(sessions)
    return {
        "read": lambda: _exhaust(read_session_rows(sessions)),
        "render": lambda: _exhaust(map(supervised_row, given.sessions)),
        "look: serialize, hash, seek secrets": given.look,
        f"redact the {len(given.suspects):,} that may hold secrets": given.redact,
        "check": lambda: _exhaust(map(find_problem, given.rows)),
        "collapse": given.collapse,
        "deduplicate, exact": given.deduplicate,
        "deduplicate, near": given.deduplicate_near,
        "split": given.split,
        "count tokens, by length": lambda: _exhaust(map(estimate_tokens, given.rows)),
        "write": lambda: given.write(out),
    }


class _Given:
    """What a step gets from the steps before it."""

    def __init__(self, sessions: Path) -> None:
        self.sessions = [*read_session_rows(sessions)]
        self.rows = [supervised_row(session) for session in self.sessions]
        self._redactor = Redactor(is_finding_secrets=True, rules=())
        self._facts = self.look()
        self.suspects = [row for row, fact in zip(self.rows, self._facts, strict=True) if fact.is_suspect]

    def look(self) -> list[Any]:
        looker = Looker(self._redactor.is_suspect)
        return [looker.look(row, "") for row in self.rows]

    def redact(self) -> None:
        _exhaust(map(self._redactor, self.suspects))

    def collapse(self) -> None:
        trajectories = Trajectories()
        for fact in self._facts:
            trajectories.enter(fact.ends)
        trajectories.merges()

    def deduplicate(self) -> None:
        duplicates = Duplicates()
        for position, fact in enumerate(self._facts):
            duplicates.first_of(fact.content, position)

    def deduplicate_near(self) -> None:
        near = NearDuplicates()
        for position, row in enumerate(self.rows):
            near.first_of(row, position)

    def split(self) -> None:
        groups = Groups()
        nodes = [
            groups.join(fact.prompt, len(session["messages"]), [digest(f"trace:{session['trace_id']}")])
            for fact, session in zip(self._facts, self.sessions, strict=True)
        ]
        sizes = Counter(map(groups.root, nodes))
        plan_splits(groups, sizes, fractions={"validation": 0.1, "test": 0.1}, seed=0, min_train=10)

    def write(self, out: Path) -> None:
        writer, untrained = RowWriter(out), frozenset[int]()
        for fact in self._facts:
            writer.write_line(weighted(fact.line + b"\n", untrained))
        writer.close(durable=False)


def _exhaust(values: Iterable[Any]) -> None:
    for _ in values:
        pass
