"""Which rows are held out: decided by group, by a seeded hash, stable as data grows.

Rows of one thread, of one trace, or with the same prompt are one group, so that nothing that is trained on
is asked again. A group's place in [0, 1) is a hash of its opening prompt (the shortest one), which neither
the order of rows nor new rows change: turns that are added to a thread are longer, repeated questions are
the same. Only a row that joins two groups can move one of them.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

from langchain_finetune.handles import Split

HELD_OUT: Final[tuple[Split, ...]] = ("test", "validation")
"""In the order in which they are filled; they give rows back in the opposite order."""


class _Opening(NamedTuple):
    num_messages: int
    digest: bytes


class Groups:
    """Joins rows into groups; keeps only hashes."""

    def __init__(self) -> None:
        self._nodes: dict[bytes, int] = {}
        self._parents: list[int] = []
        self._openings: list[_Opening | None] = []

    def join(self, prompt: bytes, num_messages: int, keys: Iterable[bytes]) -> int:
        """Enter a row by the hash of its prompt and the keys that it shares; return its node."""
        node = self._node(prompt, _Opening(num_messages, prompt))
        for key in keys:
            self.unite(node, self._node(key, None))
        return node

    def _node(self, key: bytes, opening: _Opening | None) -> int:
        if key not in self._nodes:
            self._nodes[key] = len(self._parents)
            self._parents.append(len(self._parents))
            self._openings.append(opening)
        return self._nodes[key]

    def root(self, node: int) -> int:
        """Return the node that stands for the whole group."""
        parents = self._parents
        while parents[node] != node:
            parents[node] = parents[parents[node]]
            node = parents[node]
        return node

    def unite(self, left: int, right: int) -> None:
        """Make one group of two nodes' groups."""
        left, right = self.root(left), self.root(right)
        if left != right:
            self._parents[right] = left
            openings = [opening for it in (left, right) if (opening := self._openings[it]) is not None]
            self._openings[left] = min(openings)

    def place(self, root: int, seed: int) -> float:
        """Return the place of a group in [0, 1)."""
        opening = self._openings[root]
        text = f"{seed}:".encode() + (opening.digest if opening else b"")
        return int.from_bytes(hashlib.sha256(text).digest()[:8]) / 2**64


class Plan(NamedTuple):
    """The split of each group, and what had to give way."""

    splits: dict[int, Split]
    """By the group's root."""
    num_moved: int
    """Rows that went back to training because it had too few."""


class _Group(NamedTuple):
    place: float
    num_rows: int
    root: int


def plan_splits(
    groups: Groups,
    sizes: Counter[int],
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
        min_train: Rows that training has to keep.
    """
    ordered = sorted(_Group(groups.place(root, seed), size, root) for root, size in sizes.items())
    half = sizes.total() / 2
    # A group of more than half of all rows cannot be held out, wherever its place.
    movable = [group for group in ordered if group.num_rows <= half]
    splits: dict[int, Split] = dict.fromkeys(sizes, "train")
    for group in movable:
        splits[group.root] = _natural(group.place, fractions)
    num_moved = _shrink(movable, splits, sizes, min_train)
    _fill(movable, splits, sizes, fractions, min_train)
    return Plan(splits, num_moved)


def _interval(split: Split, fractions: dict[Split, float]) -> tuple[float, float]:
    start = 0.0 if split == "test" else fractions["test"]
    return start, start + fractions[split]


def _natural(place: float, fractions: dict[Split, float]) -> Split:
    for split in HELD_OUT:
        start, end = _interval(split, fractions)
        if start <= place < end:
            return split
    return "train"


def _num_train(splits: dict[int, Split], sizes: Counter[int]) -> int:
    return sum(size for root, size in sizes.items() if splits[root] == "train")


def _shrink(movable: list[_Group], splits: dict[int, Split], sizes: Counter[int], min_train: int) -> int:
    """Give groups back until training has enough: validation's first, then those nearest to training."""
    num_moved = 0
    missing = min_train - _num_train(splits, sizes)
    for split in reversed(HELD_OUT):
        for group in reversed(movable):
            if num_moved >= missing:
                return num_moved
            if splits[group.root] == split:
                splits[group.root] = "train"
                num_moved += group.num_rows
    return num_moved


def _fill(
    movable: list[_Group],
    splits: dict[int, Split],
    sizes: Counter[int],
    fractions: dict[Split, float],
    min_train: int,
) -> None:
    """Give an empty split that was asked for the nearest group that another one can spare."""
    for split in HELD_OUT:
        if not fractions[split] or split in splits.values():
            continue
        start, end = _interval(split, fractions)
        if donors := _donors(movable, splits, sizes, min_train):
            nearest = min(donors, key=lambda it: (max(start - it.place, it.place - end), it.place))
            splits[nearest.root] = split


def _donors(
    movable: list[_Group], splits: dict[int, Split], sizes: Counter[int], min_train: int
) -> list[_Group]:
    spare = _num_train(splits, sizes) - min_train
    donors = [it for it in movable if splits[it.root] == "train" and it.num_rows <= spare]
    held_out = [it for it in movable if splits[it.root] != "train"]
    # At most one held-out split has groups here: the other is the empty one.
    return donors or (held_out if len(held_out) > 1 else [])
