"""Files at the host: found again by their hash, sent once, shared by the orders that need them."""

import hashlib
import logging
from pathlib import Path
from typing import Final, NamedTuple

from langchain_finetune.errors import HostError
from langchain_finetune.trainers.exchange import Exchange, Sleep
from langchain_finetune.trainers.hosts.refusals import is_transient
from langchain_finetune.trainers.jobs.key import upload_name
from langchain_finetune.trainers.ledger.key_lock import KeyLock, acquire
from langchain_finetune.trainers.ledger.rows import Attempt, Role, Upload
from langchain_finetune.trainers.placing.site import Site

logger = logging.getLogger(__name__)

_RETRY_SECONDS: Final = (1.0, 4.0)
"""Pauses before an upload that failed in passing is looked for, and sent again."""

_LEAST_LIFE_SECONDS: Final = 86_400.0
"""How long an upload has to last at least: a job may wait in the host's queue before it reads its files."""

_NAMES: Final[dict[Role, str]] = {"training": "train", "validation": "validation"}


class Rows(NamedTuple):
    """A file that is wanted at the host."""

    role: Role
    path: Path
    sha256: str


def have_upload(site: Site, attempt: Attempt, rows: Rows, *, was_interrupted: bool) -> Exchange[str]:
    """Find a file at the host, or send it, and return its id.

    Args:
        site: Where.
        attempt: What needs it; the ledger then says so.
        rows: The file, and what for.
        was_interrupted: Whether the attempt was left by a process that died: what is found under the name and
            is not in the ledger was uploaded by that one.

    Raises:
        HostError: The host refused it, or cannot be reached.
        StorageError: The state directory cannot be used.
    """
    role, path, sha256 = rows
    name = upload_name(_NAMES[role], sha256)
    lock_name = hashlib.sha256(f"{site.ledger.identity} {name}".encode()).hexdigest()
    with KeyLock(lock_name) as lock:
        # Two orders with the same rows would both find nothing and both send them.
        yield from acquire(lock, "is sending the same rows")
        num_bytes = path.stat().st_size
        upload = yield from _find(site, name, num_bytes, is_own=was_interrupted)
        if upload and (yield from site.ledger.claim(attempt, role, upload)):
            logger.info("found the upload %s of the %s rows", upload.file_id, role)
            return upload.file_id
        upload = Upload((yield from _send(site, path, name, num_bytes)), name, is_own=True)
        yield from site.ledger.claim(attempt, role, upload)
        return upload.file_id


def _find(site: Site, name: str, num_bytes: int, *, is_own: bool) -> Exchange[Upload | None]:
    lasting_until = site.clock() + _LEAST_LIFE_SECONDS
    recorded = yield from site.ledger.upload_named(name)
    if recorded and (
        yield from site.protocol.has_upload(recorded.file_id, num_bytes, lasting_until=lasting_until)
    ):
        return recorded
    found = yield from site.protocol.find_upload(name, num_bytes, lasting_until=lasting_until)
    return Upload(found, name, is_own) if found else None


def _send(site: Site, path: Path, name: str, num_bytes: int) -> Exchange[str]:
    for pause in _RETRY_SECONDS:
        try:
            return (yield from site.protocol.upload(path, name))
        except HostError as e:
            if not is_transient(e):
                raise
            logger.warning("uploading %s failed, looking for it before it is sent again: %s", name, e)
        yield Sleep(pause)
        lasting_until = site.clock() + _LEAST_LIFE_SECONDS
        if found := (yield from site.protocol.find_upload(name, num_bytes, lasting_until=lasting_until)):
            return found
    return (yield from site.protocol.upload(path, name))
