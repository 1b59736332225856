"""Which rows are held out: decided by group, by a seeded hash, stable as data grows.

Rows of one thread, of one trace, or with the same prompt are one group, so that nothing that is trained on
is asked again. A group's place in [0, 1) is a hash of its opening prompt (the shortest one), which neither
the order of rows nor new rows change: turns that are added to a thread are longer, repeated questions are
the same. Only a row that joins two groups can move one of them. A group that is pinned, by a row that was in
a split of earlier data, goes where that row was, whatever its place.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from operator import eq
from typing import Final, NamedTuple, Protocol

from langchain_finetune.converters.splitting.groups import STRENGTH, Groups, Sizes
from langchain_finetune.handles import Split

__all__ = ["HELD_OUT", "Groups", "Plan", "Sizes", "Splits", "plan_splits"]

HELD_OUT: Final[tuple[Split, ...]] = ("test", "validation")
"""In the order in which they are filled; they give rows back in the opposite order."""

_NO_ROWS: Final = 255


class _Counts(Protocol):
    """Rows by the root of their group: `Sizes`, or a `Counter`."""

    def items(self) -> Iterable[tuple[int, int]]: ...

    def total(self) -> int: ...


class Splits:
    """The split of each group by its root, one byte a node."""

    def __init__(self, num_nodes: int) -> None:
        self._codes = bytearray([_NO_ROWS]) * num_nodes

    def __getitem__(self, root: int) -> Split:
        return STRENGTH[self._codes[root]]

    def __setitem__(self, root: int, split: Split) -> None:
        self._codes[root] = STRENGTH.index(split)

    def number(self, root: int) -> int:
        """Return the split of a group as its place in `SPLITS`."""
        return self._codes[root]

    def values(self) -> set[Split]:
        """Return the splits that have a row."""
        return {split for code, split in enumerate(STRENGTH) if code in self._codes}


class Plan(NamedTuple):
    """The split of each group, and what had to give way."""

    splits: Splits
    """By the group's root."""
    num_moved: int
    """Rows that went back to training because it had too few."""
    num_train: int = 0
    """Rows to train on."""
    num_pinned: int = 0
    """Rows of groups that were in a split of earlier data."""
    num_conflicts: int = 0
    """Groups that joined rows of several splits of earlier data; what was held out stays held out."""


class _Group(NamedTuple):
    place: float
    num_rows: int
    root: int


def plan_splits(
    groups: Groups,
    sizes: _Counts,
    *,
    fractions: dict[Split, float],
    seed: int,
    min_train: int,
) -> Plan:
    """Assign each group to a split.

    Args:
        groups: The groups.
        sizes: Rows by the root of their group.
        fractions: The share of rows to hold out, by split.
        seed: Seed of the hash.
        min_train: Rows that training has to keep. Pinned rows are not moved for it.
    """
    planner = _Planner(groups, sizes, fractions, seed, min_train, groups.pinned(), Splits(len(groups)))
    planner.assign()
    num_moved = planner.shrink()
    planner.fill()
    conflicts = sum(_is_conflict(bits) for bits in planner.pins)
    return Plan(planner.splits, num_moved, planner.num_train, planner.num_pinned, conflicts)


def _is_conflict(bits: int) -> bool:
    return bits.bit_count() > 1


def _natural(place: float, fractions: dict[Split, float]) -> Split:
    for split in HELD_OUT:
        start, end = _interval(split, fractions)
        if start <= place < end:
            return split
    return "train"


def _interval(split: Split, fractions: dict[Split, float]) -> tuple[float, float]:
    start = 0.0 if split == "test" else fractions["test"]
    return start, start + fractions[split]


@dataclass(slots=True)
class _Planner:
    groups: Groups
    sizes: _Counts
    fractions: dict[Split, float]
    seed: int
    min_train: int
    pins: bytearray
    splits: Splits
    num_train: int = 0
    num_pinned: int = 0
    half: float = field(init=False)

    def __post_init__(self) -> None:
        self.half = self.sizes.total() / 2

    def assign(self) -> None:
        """Give each group the split of its pin, or of its place."""
        for root, num_rows in self.sizes.items():
            if bits := self.pins[root]:
                split = STRENGTH[bits.bit_length() - 1]
                self.num_pinned += num_rows
            elif num_rows > self.half:
                split = "train"  # a group of more than half of all rows cannot be held out
            else:
                split = _natural(self.groups.place(root, self.seed), self.fractions)
            self.splits[root] = split
            self.num_train += num_rows if split == "train" else 0

    def _movable(self, is_wanted: Callable[[Split], bool]) -> Iterator[_Group]:
        for root, num_rows in self.sizes.items():
            if num_rows <= self.half and not self.pins[root] and is_wanted(self.splits[root]):
                yield _Group(self.groups.place(root, self.seed), num_rows, root)

    def shrink(self) -> int:
        """Give groups back until training has enough: validation's first, then those nearest to training."""
        num_moved = 0
        missing = self.min_train - self.num_train
        for split in reversed(HELD_OUT):
            if num_moved >= missing:
                break
            for group in sorted(self._movable(partial(eq, split)), reverse=True):
                if num_moved >= missing:
                    break
                self.splits[group.root] = "train"
                num_moved += group.num_rows
        self.num_train += num_moved
        return num_moved

    def fill(self) -> None:
        """Give an empty split that was asked for the nearest group that another one can spare."""
        for split in HELD_OUT:
            if not self.fractions[split] or split in self.splits.values():
                continue
            start, end = _interval(split, self.fractions)
            nearest = min(
                self._donors(), key=lambda it: (max(start - it.place, it.place - end), it.place), default=None
            )
            if nearest:
                if self.splits[nearest.root] == "train":
                    self.num_train -= nearest.num_rows
                self.splits[nearest.root] = split

    def _donors(self) -> Iterable[_Group]:
        spare = self.num_train - self.min_train
        donors = (it for it in self._movable(lambda it: it == "train") if it.num_rows <= spare)
        if first := next(donors, None):
            yield first
            yield from donors
            return
        # At most one held-out split has groups here: the other is the empty one.
        held_out = list(self._movable(lambda it: it != "train"))
        yield from held_out if len(held_out) > 1 else ()
