"""Selections pinned by name, window and run ids, so that a re-run trains on the same data."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from langchain_finetune._spool import RowWriter, read_jsonl, sha256_of, state_directory
from langchain_finetune.errors import SelectionError, SourceError
from langchain_finetune.handles import ChatSessionFile, RunSelection

VERSION: Final = 1
_NOT_COMPARED: Final = frozenset({"snapshot", "refresh"})


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is pinned under a name. It holds no prompt: `langchain-finetune clean` leaves it."""

    path: Path
    selection: dict[str, Any]
    """As it was given, to be compared."""
    sessions: ChatSessionFile
    """What was loaded, its selection with the window in it."""

    def run_ids(self) -> Iterator[str]:
        """Yield the ids of the pinned runs, in their order."""
        for row in read_jsonl(self.path, having=b'"run_id"'):
            yield row["run_id"]

    def kept_sessions(self) -> ChatSessionFile | None:
        """Return what was loaded where it still lies here, byte for byte; None where it was cleaned away."""
        files = self.sessions
        if not files.path.exists() or sha256_of(files.path) != files.sha256:
            return None
        return None if files.rejections is not None and not files.rejections.exists() else files

    def check(self, selection: RunSelection) -> None:
        """Refuse a selection that is not the one that was pinned.

        Raises:
            SelectionError: It differs.
        """
        given = _compared(selection)
        if differing := sorted(name for name in given if given[name] != self.selection.get(name)):
            msg = (
                f"the snapshot {selection.snapshot!r} was taken of another selection ({', '.join(differing)} "
                "differ): choose another name, or take it anew with refresh=True."
            )
            raise SelectionError(msg)


def load_snapshot(name: str) -> Snapshot | None:
    """Return what is pinned under a name, None where nothing is.

    Raises:
        SourceError: Its file is damaged, or of another version.
    """
    path = _path(name)
    if not path.exists():
        return None
    head = next(read_jsonl(path), {})
    try:
        if head["version"] != VERSION:
            raise ValueError  # noqa: TRY301  one sentence for all that is wrong with a head
        return Snapshot(path, head["selection"], ChatSessionFile.model_validate(head["sessions"]))
    except (KeyError, TypeError, ValueError, ValidationError) as e:
        msg = f"{path}, which pins the snapshot {name!r}, cannot be read: take it anew with refresh=True."
        raise SourceError(msg) from e


def take_snapshot(selection: RunSelection, sessions: ChatSessionFile) -> None:
    """Pin what a selection has brought, rejected runs too, under its name."""
    path = _path(selection.snapshot or "")
    path.parent.mkdir(exist_ok=True)
    unfinished = path.with_suffix(f".unfinished-{os.getpid()}")
    described = sessions.model_dump(mode="json")
    if callable(selection.feedback):
        described["selection"]["feedback"] = None  # code does not travel; its name is among what is compared
    writer = RowWriter(unfinished)
    writer.write(
        {
            "version": VERSION,
            "taken": datetime.now(UTC).isoformat(),
            "selection": _compared(selection),
            "sessions": described,
        }
    )
    for file in (sessions.path, sessions.rejections):
        for row in read_jsonl(file) if file else ():
            writer.write({"run_id": row["run_id"]})
    writer.close(durable=True)
    unfinished.replace(path)


def _path(name: str) -> Path:
    return state_directory() / "snapshots" / f"{name}.jsonl"


def _compared(selection: RunSelection) -> dict[str, Any]:
    return selection.model_dump(mode="json", exclude=set(_NOT_COMPARED))
