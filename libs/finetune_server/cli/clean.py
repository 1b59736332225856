"""Removal of what is old: uploaded files and result files, and the logs and inputs of jobs that have ended.

Jobs, their events and the tuned models stay. The store has one writer: a server that runs is asked over HTTP
to delete its files; where none runs, this process holds the state directory for the while.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import httpx2

from finetune_server.cli.parser import command_parser, within
from finetune_server.config import Settings
from finetune_server.jobs import job_files
from finetune_server.lifecycle import Announcement, ServerStartError, StateDirectory
from finetune_server.storage.database import StoreUnusableError
from finetune_server.storage.records import TERMINAL_STATUSES
from finetune_server.storage.store import Store

_DESCRIPTION = """\
Remove uploaded files and result files that are older than DAYS, and the logs of jobs that ended before.
Files of jobs that have not ended stay, as do the jobs themselves and the tuned models."""

_JOB_LEFTOVERS = (
    job_files.TRAINING,
    job_files.VALIDATION,
    job_files.EVENTS,
    job_files.TRAINER_LOG,
)
_CLAIM_SECONDS = 10.0
_PAGE = 100
_TIMEOUT_SECONDS = 60.0
_LAST = sys.maxsize


class CleaningError(RuntimeError):
    """The server that runs would not have it; the message says why."""


@dataclass(frozen=True, kw_only=True)
class File:
    """As much of a file as matters here."""

    id: str
    created_at: int


@dataclass(frozen=True, kw_only=True)
class Job:
    """As much of a job as matters here."""

    id: str
    has_ended: bool
    finished_at: int | None
    inputs: frozenset[str]


class Shelf(Protocol):
    """Where jobs and files are known, and files can be deleted."""

    def jobs(self) -> Iterator[Job]:
        """All jobs."""

    def files(self) -> Iterator[File]:
        """All files."""

    def delete(self, file: File) -> None:
        """Forgets a file and its bytes."""


@dataclass(frozen=True, kw_only=True)
class Removed:
    """What is gone."""

    num_files: int
    num_jobs: int
    num_bytes: int


def main(arguments: Sequence[str]) -> int:
    """Runs the command and gives its exit code."""
    parser = command_parser("clean", arguments, _DESCRIPTION)
    days = within(float, 0.0, 1e6)
    parser.add_argument("--older-than", metavar="DAYS", type=days, required=True, help="age in days")
    parser.add_argument("--json", action="store_true", help="print the result as a JSON object")
    given = parser.parse_args(arguments)
    settings = Settings(state_dir=given.state_dir)
    os.umask(0o077)
    try:
        removed = clean(settings, before=time.time() - given.older_than * 86_400)
    except (CleaningError, ServerStartError, StoreUnusableError, httpx2.HTTPError, OSError) as error:
        sys.stderr.write(f"{parser.prog}: {error}\n")
        return 1
    if given.json:
        sys.stdout.write(json.dumps(asdict(removed)) + "\n")
        return 0
    sys.stdout.write(
        f"removed {removed.num_files} files of the server and what {removed.num_jobs} ended jobs left, "
        f"{removed.num_bytes / 1e6:.1f} MB\n"
    )
    return 0


def clean(settings: Settings, *, before: float) -> Removed:
    """Removes what was made, or ended, at that moment or earlier.

    Raises:
        ServerStartError: Another process holds the directory, and does not say where it listens.
        CleaningError: The server that runs refuses.
    """
    if not settings.database_file.exists():
        return Removed(num_files=0, num_jobs=0, num_bytes=0)
    claimed = StateDirectory.claim(settings, wait_seconds=_CLAIM_SECONDS)
    if isinstance(claimed, Announcement):
        with _RunningServer(claimed, settings) as server:
            return _clean(server, settings, before)
    try:
        with closing(Store.open(settings.database_file)) as store:
            return _clean(_IdleStore(store, settings), settings, before)
    finally:
        claimed.release()


def _clean(shelf: Shelf, settings: Settings, before: float) -> Removed:
    jobs = list(shelf.jobs())
    in_use = frozenset[str]().union(*(job.inputs for job in jobs if not job.has_ended))
    old = [file for file in shelf.files() if file.created_at <= before and file.id not in in_use]
    num_bytes = 0
    for file in old:
        num_bytes += _size(settings.file_path(file.id))
        shelf.delete(file)
    num_jobs = 0
    for job in jobs:
        if job.has_ended and job.finished_at is not None and job.finished_at <= before:
            left = [path for name in _JOB_LEFTOVERS if (path := settings.job_dir(job.id) / name).exists()]
            num_jobs += bool(left)
            for path in left:
                num_bytes += _size(path)
                path.unlink(missing_ok=True)
    return Removed(num_files=len(old), num_jobs=num_jobs, num_bytes=num_bytes)


def _size(path: Path) -> int:
    """What the disk gains when this name of the bytes goes."""
    try:
        told = path.stat()
    except FileNotFoundError:
        return 0
    return told.st_size if told.st_nlink == 1 else 0


class _IdleStore:
    """The store of a directory in which no server runs."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings

    def jobs(self) -> Iterator[Job]:
        after = None
        while True:
            page = self._store.jobs.page(limit=_PAGE, after=after)
            for job in page.records:
                after = job.id
                inputs = frozenset(filter(None, (job.training_file, job.validation_file)))
                yield Job(id=job.id, has_ended=job.is_terminal, finished_at=job.finished_at, inputs=inputs)
            if not page.has_more:
                return

    def files(self) -> Iterator[File]:
        page = self._store.page_of_files(now=0, limit=_LAST - 1, order="asc", purpose=None, after=None)
        for file in page.records:
            yield File(id=file.id, created_at=file.created_at)

    def delete(self, file: File) -> None:
        self._store.delete_file(file.id)
        self._settings.file_path(file.id).unlink(missing_ok=True)


class _RunningServer:
    """The same over HTTP, as its owner's own process."""

    def __init__(self, announced: Announcement, settings: Settings) -> None:
        key = settings.key_file.read_text(encoding="ascii").strip()
        self._client = httpx2.Client(
            base_url=announced.base_url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=_TIMEOUT_SECONDS,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def jobs(self) -> Iterator[Job]:
        for job in self._pages("/fine_tuning/jobs"):
            inputs = frozenset(filter(None, (job["training_file"], job["validation_file"])))
            has_ended = job["status"] in TERMINAL_STATUSES
            yield Job(id=job["id"], has_ended=has_ended, finished_at=job["finished_at"], inputs=inputs)

    def files(self) -> Iterator[File]:
        for file in self._pages("/files"):
            yield File(id=file["id"], created_at=file["created_at"])

    def delete(self, file: File) -> None:
        # Not found: its time ran out, or somebody else was quicker.
        self._answer("DELETE", f"/files/{file.id}", accepted=(httpx2.codes.OK, httpx2.codes.NOT_FOUND))

    def _pages(self, path: str) -> Iterator[dict[str, Any]]:
        params: dict[str, str | int] = {"limit": _PAGE}
        while True:
            page = self._answer("GET", path, params=params)
            yield from page["data"]
            if not page["has_more"]:
                return
            params["after"] = page["data"][-1]["id"]

    def _answer(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, str | int] | None = None,
        accepted: tuple[int, ...] = (httpx2.codes.OK,),
    ) -> dict[str, Any]:
        response = self._client.request(method, path, params=params)
        if response.status_code not in accepted:
            msg = f"the server answered {response.status_code} to {method} {path}: {response.text[:500]}"
            raise CleaningError(msg)
        body: dict[str, Any] = response.json()
        return body
