"""What may go wrong under a server that runs: each fault is there while its file is.

`clock` holds seconds that the time is off; `store-full` lets the store not grow; `child-memory` holds how
many bytes an inference child may take.
"""

import asyncio
import resource
import time
from pathlib import Path

from finetune_server.storage.database import Database

_true_time = time.time


def install_faults(directory: str | None) -> None:
    """Lets the files in the directory be faults of this process."""
    if directory is not None:
        install_clock(Path(directory) / "clock")
        _install_full_store(Path(directory) / "store-full")
        _install_child_memory(Path(directory) / "child-memory")


def install_clock(path: Path) -> None:
    """Puts `time.time` off by the seconds that the file holds."""

    def shifted() -> float:
        try:
            return _true_time() + float(path.read_text())
        except (FileNotFoundError, ValueError):
            return _true_time()

    time.time = shifted


def _install_full_store(path: Path) -> None:
    transaction = Database.transaction

    def limited(self: Database):
        # SQLite takes a bound below the present size for the present size: no page more, as on a full disk.
        self._writer.execute(f"PRAGMA max_page_count = {1 if path.exists() else 2**30}")
        return transaction(self)

    Database.transaction = limited


def _install_child_memory(path: Path) -> None:
    create = asyncio.create_subprocess_exec

    def limited(*command, **more):
        if path.exists():
            limits = (int(path.read_text()), resource.RLIM_INFINITY)
            more["preexec_fn"] = lambda: resource.setrlimit(resource.RLIMIT_AS, limits)
        return create(*command, **more)

    asyncio.create_subprocess_exec = limited
