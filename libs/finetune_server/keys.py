"""The API key: made once, kept for its owner's eyes, compared in constant time."""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

_PREFIX = "sk-local-"


def load_or_make_key(path: Path) -> str:
    """The key in the file; writes a new one where there is none."""
    try:
        key = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        key = ""
    if key:
        return key
    key = _PREFIX + secrets.token_urlsafe(32)
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(key + "\n")
    temporary.replace(path)
    return key


class KeyCheck:
    """Says whether a request may come in, and holds no key itself.

    Args:
        key: The key that opens.
    """

    def __init__(self, key: str) -> None:
        self._digest = hashlib.sha256(key.encode()).digest()

    def accepts(self, authorization: str) -> bool:
        """Whether an `Authorization` header carries the key; takes as long for any wrong one."""
        scheme, _, token = authorization.partition(" ")
        digest = hashlib.sha256(token.strip().encode()).digest()
        return hmac.compare_digest(digest, self._digest) and scheme.lower() == "bearer"
