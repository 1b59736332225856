"""Rows, and prompts, that stand twice in the files of a person: what to tell about them. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from langchain_finetune._spool import SPLITS
from langchain_finetune.converters.duplicates.deduplicate import Duplicates, digest
from langchain_finetune.handles import Split


class Repeats:
    """Finds rows, and prompts, that stand twice; keeps only their hashes."""

    def __init__(self) -> None:
        self._rows, self._prompts = Duplicates(), Duplicates()
        self._starts: dict[Split, int] = {}
        self._num_rows = 0
        self._same_rows: Counter[tuple[Split, Split]] = Counter()
        self._same_prompts: Counter[tuple[Split, Split]] = Counter()

    def enter(self, row: Any, prompt: Any, split: Split) -> tuple[Split, int] | None:
        """Enter a row; return where one that is equal to it stands."""
        position = self._num_rows
        self._starts.setdefault(split, position)
        self._num_rows += 1
        first = self._rows.first_of(digest(row), position)
        asked = self._prompts.first_of(digest(prompt), position) if prompt else position
        if first != position:
            self._same_rows[self._split_of(first), split] += 1
            return self._split_of(first), first - self._starts[self._split_of(first)]
        if self._split_of(asked) != split:
            self._same_prompts[self._split_of(asked), split] += 1
        return None

    def _split_of(self, position: int) -> Split:
        return max((start, split) for split, start in self._starts.items() if start <= position)[1]

    def sentences(self, files: Mapping[Split, Path]) -> Iterator[str]:
        """Yield what to tell about them."""
        for split in SPLITS:
            if number := self._same_rows[split, split]:
                yield (
                    f"{_rows(number)} of {files[split]} are equal to an earlier row of it: as training rows "
                    "they weigh more than the others. The report has them as repeated."
                )
        for first, split in combinations(SPLITS, 2):
            same, asked = self._same_rows[first, split], self._same_prompts[first, split]
            if same or asked:
                more = f"{_rows(asked)} {'more ' if same else ''}of {split} ask what {first} asks"
                facts = [f"{_rows(same)} of {split} are in {first} too"] if same else []
                facts += [more] if asked else []
                yield (
                    f"{' and '.join(facts)} ({files[split]}, {files[first]}): what is held out has to be new "
                    "to the model, or it looks better than it is. Take them out of one of the two files."
                )


def _rows(number: int) -> str:
    return f"{number:,} {'row' if number == 1 else 'rows'}"
