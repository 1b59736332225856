"""Rows that nearly equal an earlier one: MinHash signatures, found again by their bands.

rensa makes the signatures; it is deterministic, and forty times as fast as datasketch. The tables of both
libraries take 1.7 and 3.4 kB a row, so the index is one of our own: of each signature the lowest byte of each
minimum (b-bit minwise hashing, https://arxiv.org/abs/0910.3349), and an array of row numbers. About 200 bytes
a row that is kept: 200 MB a million.
"""

import sys
import zlib
from array import array
from typing import Any, Final

from langchain_finetune.converters.duplicates.conversation_text import ConversationText, read_text
from langchain_finetune.errors import MissingExtraError

THRESHOLD: Final = 0.8

_NUM_MINIMA: Final = 80
"""Of the last turn: the standard error of the estimate is 0.045 at the threshold."""
_NUM_MINIMA_HISTORY: Final = 24
_MARGIN_HISTORY: Final = 0.1
"""What the estimate of a history may lie below the threshold: its standard error is 0.08."""
_NUM_BANDS: Final = 12
_BAND: Final = 5
"""Minima a band. Rows of similarity s have a band in common with a probability of s^5, one of twelve with
1 - (1 - s^5)^12: 0.99 at 0.8, 0.9999 at 0.9, 0.32 at 0.5."""
_SEED: Final = 1
_GUARD: Final = 8
_FIRST_SLOTS: Final = 256
_FULL: Final = 0.75
_MOST_ALIKE: Final = 16
"""Rows that are looked at, and kept, in one band: bounds the time where thousands of a template have a band
in common and are not near. A row that is near has further bands to be found by."""
_RECORD: Final = _GUARD + _NUM_MINIMA + _NUM_MINIMA_HISTORY


class NearDuplicates:
    """Finds rows that nearly equal one before; see `conversation_text` for what counts.

    Of the answers, all calls and all numbers have to be the same, so that rows of a template with other
    arguments, ids or amounts are not taken for one.

    Args:
        threshold: The least estimated Jaccard similarity of near duplicates, in (0.5, 1].

    Raises:
        MissingExtraError: The extra `near-dup` is not installed.
    """

    def __init__(self, threshold: float = THRESHOLD) -> None:
        try:
            from rensa import RMinHash  # noqa: PLC0415  # the extra `near-dup`
        except ImportError as e:
            msg = (
                'deduplicate="near" needs rensa: pip install "langchain-finetune[near-dup]", '
                'or pass deduplicate="exact".'
            )
            raise MissingExtraError(msg) from e
        self._minhash = RMinHash
        self._least_equal = _least_equal(threshold, _NUM_MINIMA)
        self._least_equal_history = _least_equal(threshold - _MARGIN_HISTORY, _NUM_MINIMA_HISTORY)
        self._records = bytearray()
        """Guard, minima of the last turn, minima of the history, of each row that was new."""
        self._positions = array("I")
        self._slots = array("I", bytes(4 * _FIRST_SLOTS))
        """The number of a row with a band of this hash, from 1 on; a row is in as many as it has bands."""
        self._num_taken = 0

    def first_of(self, row: Any, position: int) -> int:
        """Return the position of the earlier row that this one nearly equals, `position` for a new one.

        Of several it is the most similar one, of those the first. Only new rows are entered, so what a row is
        near to is never a duplicate itself.
        """
        record = self._record(read_text(row))
        free: list[int] = []
        if (nearest := self._nearest(record, free)) is not None:
            return self._positions[nearest]
        self._records += record
        self._positions.append(position)
        mask = len(self._slots) - 1
        for slot in free:
            while self._slots[slot]:  # another band of this row came to stand there
                slot = (slot + 1) & mask  # noqa: PLW2901  # the next one
            self._slots[slot] = len(self._positions)
        self._num_taken += len(free)
        if self._num_taken + _NUM_BANDS > _FULL * len(self._slots):
            self._grow()
        return position

    def _record(self, text: ConversationText) -> bytes:
        last_turn = self._minima(text.last_turn, _NUM_MINIMA)
        return text.guard + last_turn + self._minima(text.history, _NUM_MINIMA_HISTORY)

    def _minima(self, shingles: set[str], number: int) -> bytes:
        if not shingles:
            return bytes(number)
        minhash = self._minhash(num_perm=number, seed=_SEED)
        minhash.update(shingles)
        lowest = slice(None, None, 4) if sys.byteorder == "little" else slice(3, None, 4)
        return array("I", minhash.digest()).tobytes()[lowest]

    def _nearest(self, record: bytes, free: list[int]) -> int | None:
        """Return the number of the nearest row; `free` gets the slots where this one's bands belong."""
        seen: set[int] = set()
        best, nearest = self._least_equal, None
        for band in range(_NUM_BANDS):
            slot, alike = self._alike(record, band)
            if len(alike) < _MOST_ALIKE:
                free.append(slot)
            for number in alike:
                if number not in seen:
                    num_equal = self._num_equal(record, number)
                    is_first = nearest is None or number < nearest
                    if num_equal > best or (num_equal == best and is_first):
                        best, nearest = num_equal, number
            seen.update(alike)
        return nearest

    def _alike(self, record: bytes, band: int) -> tuple[int, list[int]]:
        """Return the rows with this band and the same guard, and the empty slot behind them."""
        slots, records = self._slots, self._records
        mask = len(slots) - 1
        start = _GUARD + band * _BAND
        guard, part = record[:_GUARD], record[start : start + _BAND]
        slot = zlib.crc32(guard + part, band) & mask
        alike = []
        while entered := slots[slot]:
            at = (entered - 1) * _RECORD
            if records.startswith(part, at + start) and records.startswith(guard, at):
                alike.append(entered - 1)
            slot = (slot + 1) & mask
        return slot, alike

    def _num_equal(self, record: bytes, number: int) -> int:
        """Return how many minima of the last turns are the same; 0 where the histories are not near."""
        start = number * _RECORD + _GUARD
        middle, end = start + _NUM_MINIMA, start + _NUM_MINIMA + _NUM_MINIMA_HISTORY
        if (
            _count_equal(record[_GUARD + _NUM_MINIMA :], self._records[middle:end])
            < self._least_equal_history
        ):
            return 0
        return _count_equal(record[_GUARD : _GUARD + _NUM_MINIMA], self._records[start:middle])

    def _grow(self) -> None:
        self._slots = array("I", bytes(8 * len(self._slots)))
        self._num_taken = 0
        for number, start in enumerate(range(0, len(self._records), _RECORD), start=1):
            record = bytes(self._records[start : start + _RECORD])
            for band in range(_NUM_BANDS):
                slot, alike = self._alike(record, band)
                if len(alike) < _MOST_ALIKE:
                    self._slots[slot] = number
                    self._num_taken += 1


def _count_equal(left: bytes, right: bytes | bytearray) -> int:
    difference = int.from_bytes(left) ^ int.from_bytes(right)
    return difference.to_bytes(len(left)).count(0)


def _least_equal(threshold: float, number: int) -> int:
    """Return how many of the minima's lowest bytes are the same at a similarity: some are so by chance."""
    by_chance = 1 / 256
    return round((threshold * (1 - by_chance) + by_chance) * number)
