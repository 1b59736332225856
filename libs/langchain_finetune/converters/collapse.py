"""Growing histories: the calls of one thread or agent loop, each of which repeats the ones before it.

A call whose prompt and answer are how another call's prompt begins is *continued* by that call. What is
continued becomes no row of its own: its answer is trained on where it stands in the history of the row that
continues it. What a row's history holds beyond that, examples that every prompt brings along for instance, or
an answer that was not selected, has the weight 0. Branches stay apart, and what they share is trained on in
one of them.
"""

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from langchain_finetune.converters.row_facts import DIGEST_SIZE, SLOT

_SIZE: Final = DIGEST_SIZE
_NOT_ENTERED: Final = bytes(_SIZE)
_TRAINED: Final = b',"weight":1'
_NOT_TRAINED: Final = b',"weight":0'


@dataclass(frozen=True, slots=True)
class Merges:
    """Which rows became part of others, by position."""

    into: dict[int, int] = field(default_factory=dict)
    """The row that continues a row, all the way."""
    targets: dict[int, frozenset[int]] = field(default_factory=dict)
    """The answers in a row's history that are trained on there: the first assistant message is 0."""


class Trajectories:
    """Finds the rows that others continue; keeps hashes only, 16 bytes an answer."""

    def __init__(self) -> None:
        self._ends = bytearray()
        self._histories: dict[int, bytes] = {}
        """Hashes of what a row begins with, up to each answer of its history, one behind the other."""

    def enter(self, ends: Sequence[bytes]) -> None:
        """Enter the next row, by the digests of what it holds up to each of its answers."""
        *history, end = ends
        if history:
            self._histories[len(self._ends) // _SIZE] = b"".join(history)
        self._ends += end

    def skip(self) -> None:
        """Enter a row that is left out: it continues nothing."""
        self._ends += _NOT_ENTERED

    def merges(self) -> Merges:
        """Return which rows are continued, and by which."""
        continued = {it for history in self._histories.values() for it in _split(history)}
        waiting: defaultdict[bytes, deque[int]] = defaultdict(deque)
        for position, end in enumerate(_split(self._ends)):
            if end in continued and end != _NOT_ENTERED:
                waiting[end].append(position)
        merged = {position for positions in waiting.values() for position in positions}
        merges = Merges()
        last: dict[bytes, int] = {}
        for position, history in self._histories.items():
            if position not in merged:
                merges.targets[position] = self._claim(position, history, waiting, merges.into, last)
        # Equal rows that no further branch is left for: the answer is trained on once, in the last branch.
        merges.into.update((it, last[end]) for end, positions in waiting.items() for it in positions)
        return merges

    def _claim(
        self,
        position: int,
        history: bytes,
        waiting: Mapping[bytes, deque[int]],
        into: dict[int, int],
        last: dict[bytes, int],
    ) -> frozenset[int]:
        targets = set()
        for number, end in enumerate(_split(history)):
            if end in waiting:
                last[end] = position
                if waiting[end]:
                    into[waiting[end].popleft()] = position
                    targets.add(number)
        return frozenset(targets)


def weighted(line: bytes, targets: frozenset[int]) -> bytes:
    """Return a row that is trained on in its answer and in those answers of its history, and nowhere else.

    Args:
        line: The row with its slots, see `row_facts`.
        targets: The answers of its history: the first assistant message is 0.
    """
    first, *rest = line.split(SLOT)
    if len(targets) >= len(rest) - 1:
        return unweighted(line)
    last = len(rest) - 1
    marks = [_TRAINED if it in targets or it == last else _NOT_TRAINED for it in range(len(rest))]
    return first + b"".join([mark + piece for mark, piece in zip(marks, rest, strict=True)])


def unweighted(line: bytes) -> bytes:
    """Return a row that is trained on in all its answers."""
    return line.replace(SLOT, b"")


def _split(hashes: bytes | bytearray) -> list[bytes]:
    return [bytes(hashes[start : start + _SIZE]) for start in range(0, len(hashes), _SIZE)]
