"""Rows that belong together: of one thread, of one trace, with one prompt, or near duplicates.

What is trained on must not be asked again, so a group is never divided between splits. Only hashes are kept,
in arrays: a row with a prompt, a thread and a trace of its own takes about 120 bytes, and a dict of them 500.
"""

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from typing import Final

from langchain_finetune._spool import SPLITS
from langchain_finetune.converters.duplicates.digest_index import DigestIndex
from langchain_finetune.handles import Split

_KIN_SIZE: Final = 8
"""Bytes of a shared key's digest. A million keys have one collision in ten million data sets, and then two
groups are one: nothing leaks."""

STRENGTH: Final[tuple[Split, ...]] = SPLITS
"""Where pinned rows of several splits meet, the last one wins: what was held out is never trained on."""


class Groups:
    """Joins rows into groups."""

    def __init__(self) -> None:
        self._prompts = DigestIndex()
        self._lengths = array("I")
        self._parents = array("I")
        self._openings = array("I")
        """The node with the shortest prompt of a group, by its root."""
        self._kin = DigestIndex(_KIN_SIZE)
        self._first_kin = array("I")
        """The node that came first with this key."""
        self._pins = bytearray()

    def join(self, prompt: bytes, num_messages: int, keys: Iterable[bytes]) -> int:
        """Enter a row by the hashes of its prompt and of the keys that it shares; return its node."""
        node = self._prompts.enter(prompt)
        if node == len(self._parents):
            self._lengths.append(num_messages)
            self._parents.append(node)
            self._openings.append(node)
            self._pins.append(0)
        for key in keys:
            kin = self._kin.enter(key)
            if kin == len(self._first_kin):
                self._first_kin.append(node)
            else:
                self.unite(node, self._first_kin[kin])
        return node

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
            self._openings[left] = min(self._openings[left], self._openings[right], key=self._opening)

    def _opening(self, node: int) -> tuple[int, bytes]:
        return self._lengths[node], self._prompts[node]

    def opening(self, root: int) -> bytes:
        """Return the hash of the shortest prompt of a group."""
        return self._prompts[self._openings[root]]

    def place(self, root: int, seed: int) -> float:
        """Return the place of a group in [0, 1): a seeded hash of its shortest prompt."""
        text = f"{seed}:".encode() + self.opening(root)
        return int.from_bytes(hashlib.sha256(text).digest()[:8]) / 2**64

    def pin(self, node: int, split: Split) -> None:
        """Say in which split a row was before; its whole group follows it."""
        self._pins[node] |= 1 << STRENGTH.index(split)

    def pinned(self) -> bytearray:
        """Return the splits that the rows of a group were in, as bits in the order of `STRENGTH`, by root."""
        pins = bytearray(len(self._pins))
        for node, bits in enumerate(self._pins):
            if bits:
                pins[self.root(node)] |= bits
        return pins

    def __len__(self) -> int:
        """Return the number of nodes: of different prompts."""
        return len(self._parents)


class Sizes:
    """Rows by the root of their group, four bytes a node; what a `Counter` of them holds takes a hundred."""

    def __init__(self, groups: Groups) -> None:
        self._groups = groups
        self._counts = array("I", bytes(4 * len(groups)))

    def add(self, node: int) -> None:
        """Count a row by its node."""
        self._counts[self._groups.root(node)] += 1

    def total(self) -> int:
        """Return the number of rows."""
        return sum(self._counts)

    def items(self) -> Iterator[tuple[int, int]]:
        """Yield the root and the number of rows of each group that has any."""
        return ((root, count) for root, count in enumerate(self._counts) if count)

    def __len__(self) -> int:
        """Return the number of groups that have rows."""
        return len(self._counts) - self._counts.count(0)
