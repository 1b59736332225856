"""Rows that are the same, whatever the order of their keys."""

import hashlib
from typing import Any

import orjson

_DIGEST_SIZE = 16


def digest(value: Any) -> bytes:
    """Return a short content hash of JSON values, independent of the order of keys."""
    text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(text, digest_size=_DIGEST_SIZE).digest()


class Duplicates:
    """Finds rows that came before; keeps only their hashes."""

    def __init__(self) -> None:
        self._first: dict[bytes, int] = {}

    def first_of(self, content: bytes, index: int) -> int:
        """Return the index of the first row with this digest of its content: `index` itself for a new one."""
        return self._first.setdefault(content, index)
