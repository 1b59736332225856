"""What was ordered over HTTP, on disk: any process of the server can answer for any order."""

import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from langchain_finetune.serving.database import database, default_path

PREPARING: Final = "preparing"
PLACED: Final = "placed"
"""There is a job; its state is the host's to tell."""
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"
INTERRUPTED: Final = "interrupted"
FINISHED: Final = "finished"
"""The job has succeeded, and the steps after it are done."""

_COLUMNS: Final = "id, route, status, job_id, is_reused, is_handed_on, error_code, error, owner, created_at"
_KEPT_SECONDS: Final = 90 * 86_400.0
_ME: Final = secrets.token_hex(8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order."""

    id: str
    """128 random bits: who knows it may look at the job, and nobody guesses it."""
    route: str
    """The route that it came by; another one does not answer for it."""
    status: str
    job_id: str | None
    is_reused: bool
    is_handed_on: bool | None
    error_code: str | None
    error: str | None
    owner: str
    """The process that works on it."""
    created_at: float


class OrderBook:
    """The orders of a state directory.

    Args:
        path: The SQLite file; None is `serving.sqlite` in the state directory.
        clock: Tells the time, in seconds since 1970.
    """

    def __init__(self, path: Path | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path or default_path()
        self._clock = clock

    def add(self, route: str) -> Order:
        """Write down a new order of this process; those of long ago are forgotten, their jobs are not."""
        order_id = f"order-{secrets.token_hex(16)}"
        with database(self._path) as db:
            db.execute("DELETE FROM orders WHERE created_at < ?", (self._clock() - _KEPT_SECONDS,))
            db.execute(
                "INSERT INTO orders (id, route, status, owner, created_at) VALUES (?, ?, ?, ?, ?)",
                (order_id, route, PREPARING, this_process(), self._clock()),
            )
            return _required(db, order_id)

    def find(self, order_id: str, route: str) -> Order | None:
        """Return an order of a route, None where there is none."""
        query = f"SELECT {_COLUMNS} FROM orders WHERE id = ? AND route = ?"  # noqa: S608 - constants
        with database(self._path) as db:
            row = db.execute(query, (order_id, route)).fetchone()
        return _order_of(row) if row else None

    def change(self, order: Order, **fields: Any) -> Order:
        """Change what is known of an order, unless another process has taken it over."""
        assignments = ", ".join(f"{name} = ?" for name in fields)
        with database(self._path) as db:
            db.execute(
                f"UPDATE orders SET {assignments} WHERE id = ? AND owner = ?",  # noqa: S608 - names of fields
                (*fields.values(), order.id, order.owner),
            )
            return _required(db, order.id)

    def take_over(self, order: Order) -> Order | None:
        """Make an order this process's whose own has died; None where another one was quicker."""
        with database(self._path) as db:
            taken = db.execute(
                "UPDATE orders SET owner = ? WHERE id = ? AND owner = ?",
                (this_process(), order.id, order.owner),
            )
            return _required(db, order.id) if taken.rowcount else None


def this_process() -> str:
    """Return what tells this process from all others that there were."""
    # The number is asked anew: a worker may be a fork of the process that imported this.
    return f"{os.getpid()}:{_ME}"


def is_alive(owner: str) -> bool:
    """Tell whether the process is still there that an order belongs to."""
    if owner == this_process():
        return True
    pid = int(owner.partition(":")[0])
    if pid == os.getpid():
        return False  # its number has come round to this one
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _required(db: Any, order_id: str) -> Order:
    query = f"SELECT {_COLUMNS} FROM orders WHERE id = ?"  # noqa: S608 - constants
    return _order_of(db.execute(query, (order_id,)).fetchone())


def _order_of(row: tuple[Any, ...]) -> Order:
    named = dict(zip(_COLUMNS.split(", "), row, strict=True))
    named["is_reused"] = bool(named["is_reused"])
    if named["is_handed_on"] is not None:
        named["is_handed_on"] = bool(named["is_handed_on"])
    return Order(**named)
