"""Growing histories: the calls of one thread or agent loop, each of which repeats the ones before it.

A call whose prompt and answer are how another call's prompt begins is *continued* by that call. What is
continued becomes no row of its own: its answer is trained on where it stands in the history of the row that
continues it. What a row's history holds beyond that, examples that every prompt brings along for instance, or
an answer that was not selected, has the weight 0. Branches stay apart, and what they share is trained on in
one of them.
"""

from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
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
    targets: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """The answers in a row's history that are trained on there: the first assistant message is 0. A row that
    is not here has none."""


class Trajectories:
    """Finds the rows that others continue; keeps digests only, 16 bytes an answer and 8 a row."""

    def __init__(self) -> None:
        self._ends = bytearray()
        """Of what each row holds up to its last answer."""
        self._histories = bytearray()
        """Of what rows begin with, up to each answer of their histories, one behind the other."""
        self._history_ends = array("Q")
        """By row, how many answers the histories up to and with its own have."""

    def enter(self, ends: Sequence[bytes]) -> None:
        """Enter the next row, by the digests of what it holds up to each of its answers."""
        self._histories += b"".join(ends[:-1])
        self._ends += ends[-1]
        self._history_ends.append(len(self._histories) // _SIZE)

    def skip(self) -> None:
        """Enter a row that is left out: it continues nothing."""
        self._ends += _NOT_ENTERED
        self._history_ends.append(len(self._histories) // _SIZE)

    def merges(self) -> Merges:
        """Return which rows are continued, and by which."""
        waiting = self._continued()
        merged = bytearray(len(self._history_ends))
        for positions in waiting.values():
            for position in positions:
                merged[position] = True
        merges = Merges()
        last: dict[bytes, int] = {}
        if waiting:
            for position, history in self._with_history():
                if not merged[position] and (
                    targets := self._claim(position, history, waiting, merges.into, last)
                ):
                    merges.targets[position] = targets
        # Equal rows that no further branch is left for: the answer is trained on once, in the last branch.
        merges.into.update((it, last[end]) for end, positions in waiting.items() for it in positions)
        return merges

    def _continued(self) -> dict[bytes, list[int]]:
        """Return the rows that stand in the history of another one, by their digests."""
        # First by a coarse look, which costs a byte or two a row, then among the few that are left.
        mask = (1 << (2 * len(self._histories) // _SIZE).bit_length()) - 1
        seen = bytearray(mask + 1)
        for digest in _split(self._histories):
            seen[hash(digest) & mask] = 1
        likely: dict[bytes, list[int]] = {}
        for position, end in enumerate(_split(self._ends)):
            if seen[hash(end) & mask] and end != _NOT_ENTERED:
                likely.setdefault(end, []).append(position)
        stands_in_another = bytearray(len(self._history_ends))
        for digest in _split(self._histories) if likely else ():
            if positions := likely.get(digest):
                stands_in_another[positions[0]] = True
        for end in [end for end, positions in likely.items() if not stands_in_another[positions[0]]]:
            del likely[end]
        return likely

    def _with_history(self) -> Iterator[tuple[int, Iterator[bytes]]]:
        start = 0
        for position, end in enumerate(self._history_ends):
            if end > start:
                yield position, _split(self._histories[start * _SIZE : end * _SIZE])
            start = end

    def _claim(
        self,
        position: int,
        history: Iterator[bytes],
        waiting: Mapping[bytes, list[int]],
        into: dict[int, int],
        last: dict[bytes, int],
    ) -> tuple[int, ...]:
        targets = []
        for number, end in enumerate(history):
            if end in waiting:
                last[end] = position
                if waiting[end]:
                    into[waiting[end].pop(0)] = position
                    targets.append(number)
        return tuple(targets)


def weighted(line: bytes, targets: Collection[int]) -> bytes:
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


def _split(digests: bytes | bytearray) -> Iterator[bytes]:
    return (bytes(digests[start : start + _SIZE]) for start in range(0, len(digests), _SIZE))
