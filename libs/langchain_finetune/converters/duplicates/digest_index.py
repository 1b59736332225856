"""A set of digests that numbers its members: about 24 bytes a digest, where a dict of them takes 150."""

from array import array
from typing import Final

_FIRST_SLOTS: Final = 64
_FULL: Final = 0.7
"""Share of the slots that may be taken. Digests are random: at 0.7 a look-up meets two slots on average."""


class DigestIndex:
    """Numbers digests from 0 on, in the order in which they come: open addressing over two arrays.

    A million look-ups take about a second. Digests are compared in full.

    Args:
        size: Bytes of a digest, at least 8; further ones are cut off.
    """

    def __init__(self, size: int = 16) -> None:
        self._size = size
        self._digests = bytearray()
        self._slots = array("I", bytes(4 * _FIRST_SLOTS))
        """The number of the digest in this slot, from 1 on; 0 where there is none."""

    def __len__(self) -> int:
        return len(self._digests) // self._size

    def __getitem__(self, number: int) -> bytes:
        start = number * self._size
        return bytes(self._digests[start : start + self._size])

    def enter(self, digest: bytes) -> int:
        """Return the number of a digest: `len(self)` as it was before the call for a new one."""
        digest = digest[: self._size]
        slot = self._slot(digest)
        if entered := self._slots[slot]:
            return entered - 1
        self._digests += digest
        number = len(self)
        self._slots[slot] = number
        if number > _FULL * len(self._slots):
            self._grow()
        return number - 1

    def find(self, digest: bytes) -> int | None:
        """Return the number of a digest, None where it was not entered."""
        entered = self._slots[self._slot(digest[: self._size])]
        return entered - 1 if entered else None

    def _slot(self, digest: bytes) -> int:
        """Return the slot of a digest, or the empty one where it belongs."""
        slots, digests, size = self._slots, self._digests, self._size
        mask = len(slots) - 1
        slot = int.from_bytes(digest[:8]) & mask
        while (entered := slots[slot]) and not digests.startswith(digest, (entered - 1) * size):
            slot = (slot + 1) & mask
        return slot

    def _grow(self) -> None:
        slots = array("I", bytes(8 * len(self._slots)))
        mask, digests, size = len(slots) - 1, self._digests, self._size
        for number, start in enumerate(range(0, len(digests), size), start=1):
            slot = int.from_bytes(digests[start : start + 8]) & mask
            while slots[slot]:
                slot = (slot + 1) & mask
            slots[slot] = number
        self._slots = slots
