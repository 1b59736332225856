"""API keys: made of random bits, stored as hashes, compared in constant time.

```text
api_key                     opens for the owner's own processes, in plain text, as an SSH key lies
keys.json                   opens for whoever was handed a named key; holds their hashes
$FINETUNE_SERVER_API_KEY    one more, where a secret comes as a variable: in a container
```

The server holds hashes alone. A plain SHA-256 is right for them: what makes a password's hash slow guards
words that can be guessed, and nobody guesses 256 random bits. See "Look-Up Secret Verifiers" in
https://pages.nist.gov/800-63-3/sp800-63b.html
"""

import fcntl
import hashlib
import hmac
import json
import logging
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from finetune_server.logs import fields

VARIABLE = "FINETUNE_SERVER_API_KEY"
LOCAL = "local"
ENVIRONMENT = "environment"

_LOCAL_PREFIX = "sk-local-"
_NAMED_PREFIX = "sk-ft-"
_NUM_BYTES = 32
_MIN_LENGTH = 24
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_VERSION = 1
_log = logging.getLogger(__name__)


class UnusableKeyError(ValueError):
    """A key, a key's name or the file of the keys cannot be used; the message says why and what to do."""


def digest_of(key: str) -> bytes:
    """What is kept of a key."""
    return hashlib.sha256(key.encode()).digest()


def local_key_digest(path: Path) -> bytes:
    """The hash of the key in the file; writes a new key where there is none."""
    try:
        key = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        key = ""
    if not key:
        key = _LOCAL_PREFIX + secrets.token_urlsafe(_NUM_BYTES)
        _write_private(path, key + "\n")
    return digest_of(key)


def take_environment_key() -> bytes | None:
    """The hash of the key in the environment, which is not left there for child processes to inherit.

    Raises:
        UnusableKeyError: When it is too short to be a secret, or no header can carry it.
    """
    key = os.environ.pop(VARIABLE, None)
    if key is None:
        return None
    if len(key) < _MIN_LENGTH or not all("!" <= character <= "~" for character in key):
        msg = (
            f"{VARIABLE} must have at least {_MIN_LENGTH} characters, visible ASCII only; it has {len(key)}. "
            "`openssl rand -hex 32` makes a good one; unset the variable to do without it"
        )
        raise UnusableKeyError(msg)
    return digest_of(key)


@dataclass(frozen=True, kw_only=True)
class NamedKey:
    """What is kept of a key that somebody was handed."""

    name: str
    sha256: str
    created_at: int


class KeyFile:
    """`keys.json`: the named keys, without the keys.

    Args:
        path: Where it lies; it need not be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> tuple[NamedKey, ...]:
        """The named keys, oldest first.

        Raises:
            UnusableKeyError: When the file cannot be read or is damaged.
        """
        try:
            return _parse(self.path.read_bytes())
        except FileNotFoundError:
            return ()
        except OSError as error:
            msg = f"{self.path} cannot be read: {error.strerror}. It must belong to the server's user"
            raise UnusableKeyError(msg) from error
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            msg = f"{self.path} is damaged. Restore it, or remove it and create its keys anew"
            raise UnusableKeyError(msg) from error

    def create(self, name: str, *, now: int) -> str:
        """Enters a new key, and returns it: nobody can read it again.

        Raises:
            UnusableKeyError: When the name is none, or taken.
        """
        if not _NAME.fullmatch(name) or name in (LOCAL, ENVIRONMENT):
            msg = (
                f"a key cannot be named {name!r}: take 1 to 64 letters, digits, dots, dashes and "
                f"underscores, a letter or digit first, and neither '{LOCAL}' nor '{ENVIRONMENT}'"
            )
            raise UnusableKeyError(msg)
        with self._locked():
            keys = self.read()
            if any(each.name == name for each in keys):
                msg = f"there is a key named {name} already. Delete it first, or take another name"
                raise UnusableKeyError(msg)
            key = _NAMED_PREFIX + secrets.token_urlsafe(_NUM_BYTES)
            self._write(*keys, NamedKey(name=name, sha256=digest_of(key).hex(), created_at=now))
            return key

    def delete(self, name: str) -> bool:
        """Forgets a key; whether there was one of that name."""
        with self._locked():
            keys = self.read()
            kept = [each for each in keys if each.name != name]
            if len(kept) < len(keys):
                self._write(*kept)
            return len(kept) < len(keys)

    def _write(self, *keys: NamedKey) -> None:
        told = {"version": _VERSION, "keys": [asdict(each) for each in keys]}
        _write_private(self.path, json.dumps(told, indent=2) + "\n")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # Two commands at once must not lose each other's key.
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            yield
        finally:
            os.close(directory)


class KeyCheck:
    """Says whether a request may come in, and holds no key itself.

    Named keys are read again whenever their file has changed: a key that was created opens with the next
    request, one that was deleted does not. A file that cannot be used opens for nobody.

    Args:
        local: The hash of the local key.
        named: Where the named keys lie.
        environment: The hash of the environment's key.
    """

    def __init__(self, local: bytes, *, named: KeyFile, environment: bytes | None = None) -> None:
        self._local = local
        self._environment = environment
        self._file = named
        self._version: tuple[int, ...] | None = None
        self._named: tuple[tuple[str, bytes], ...] = ()

    def caller(self, authorization: str, *, is_local: bool) -> str | None:
        """Whose key an `Authorization` header carries, None where it carries none that opens.

        Args:
            authorization: The header.
            is_local: Whether the request comes from this machine; the local key opens for no other.
        """
        scheme, _, token = authorization.partition(" ")
        given = digest_of(token.strip())
        found = None
        # All are compared whatever is found, so that the time tells neither which nor how many.
        for name, digest in self._known():
            if hmac.compare_digest(given, digest):
                found = name
        is_allowed = scheme.lower() == "bearer" and (is_local or found != LOCAL)
        return found if is_allowed else None

    def check_reachable(self) -> None:
        """Makes sure that somebody on another machine could come in.

        Raises:
            UnusableKeyError: When there is neither a named key nor the environment's.
        """
        if self._environment is None and not self._file.read():
            msg = "there is no key that other machines could use"
            raise UnusableKeyError(msg)

    def _known(self) -> Iterator[tuple[str, bytes]]:
        self._refresh()
        yield LOCAL, self._local
        if self._environment is not None:
            yield ENVIRONMENT, self._environment
        yield from self._named

    def _refresh(self) -> None:
        version = _version_of(self._file.path)
        if version == self._version:
            return
        self._version = version
        try:
            self._named = tuple((each.name, bytes.fromhex(each.sha256)) for each in self._file.read())
        except UnusableKeyError as error:
            self._named = ()
            _log.error("no named key is accepted", extra=fields(reason=str(error)))
        else:
            _log.info("named keys read", extra=fields(num_keys=len(self._named)))


def _version_of(path: Path) -> tuple[int, ...]:
    try:
        told = path.stat()
    except OSError:
        return ()
    return told.st_ino, told.st_mtime_ns, told.st_ctime_ns, told.st_size


def _parse(content: bytes) -> tuple[NamedKey, ...]:
    told: dict[str, Any] = json.loads(content)
    keys = tuple(NamedKey(**each) for each in told["keys"])
    is_sound = told["version"] == _VERSION and all(
        _NAME.fullmatch(each.name) and _SHA256.fullmatch(each.sha256) and isinstance(each.created_at, int)
        for each in keys
    )
    if not is_sound:
        raise ValueError
    return keys


def _write_private(path: Path, text: str) -> None:
    """Writes a file for its owner alone, whole or not at all."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
