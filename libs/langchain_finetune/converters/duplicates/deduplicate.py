"""Rows that are the same, whatever the order of their keys."""

import hashlib
from array import array
from typing import Any

import orjson

from langchain_finetune.converters.duplicates.digest_index import DigestIndex

_DIGEST_SIZE = 16


def digest(value: Any) -> bytes:
    """Return a short content hash of JSON values, independent of the order of keys."""
    text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(text, digest_size=_DIGEST_SIZE).digest()


class Duplicates:
    """Finds rows that came before; keeps only their hashes, about 28 bytes a row."""

    def __init__(self) -> None:
        self._digests = DigestIndex(_DIGEST_SIZE)
        self._positions = array("I")

    def first_of(self, content: bytes, position: int) -> int:
        """Return the position of the first row with this digest of its content: `position` for a new one."""
        number = self._digests.enter(content)
        if number == len(self._positions):
            self._positions.append(position)
        return self._positions[number]
