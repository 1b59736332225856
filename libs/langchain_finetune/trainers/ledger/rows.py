"""The ledger's rows: written one transaction each, and read without trust."""

import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal, NamedTuple

import orjson

Phase = Literal["uploading", "creating", "created", "refused"]
Role = Literal["training", "validation"]

_PHASES: Final = ("uploading", "creating", "created", "refused")


class Damage(Exception):
    """The file holds what no version has written."""


class Upload(NamedTuple):
    """A file at the host."""

    file_id: str
    name: str
    is_own: bool
    """Whether this machine uploaded it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt at having a job for an order; times are seconds since 1970."""

    key: str
    generation: int
    """The how many-eth attempt at its order, refused ones included."""
    phase: Phase = "uploading"
    is_forced: bool = False
    clears_uploads: bool = False
    training_file: str | None = None
    validation_file: str | None = None
    seen: frozenset[str] = frozenset()
    """Ids of the jobs that the order had had before the post."""
    job_id: str | None = None
    created_at: float
    posted_at: float | None = None
    ended_at: float | None = None
    cleared_at: float | None = None

    @property
    def name(self) -> tuple[str, int]:
        """What sets it apart from every other attempt at the same host."""
        return self.key, self.generation

    @property
    def is_open(self) -> bool:
        """Whether the job is still to be had, or may exist without its id being known."""
        return self.phase in ("uploading", "creating")

    @property
    def file_ids(self) -> list[str]:
        """The uploads that it uses, the training file first."""
        return [file_id for file_id in (self.training_file, self.validation_file) if file_id]


_NAMES: Final = tuple(field.name for field in fields(Attempt))
_COLUMNS: Final = ", ".join(_NAMES)
_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    **dict.fromkeys(("generation", "is_forced", "clears_uploads"), (int,)),
    **dict.fromkeys(("key", "phase", "seen"), (str,)),
    **dict.fromkeys(("training_file", "validation_file", "job_id"), (str, type(None))),
    "created_at": (float, int),
    **dict.fromkeys(("posted_at", "ended_at", "cleared_at"), (float, int, type(None))),
}


def _attempt(row: tuple[Any, ...]) -> Attempt:
    values = dict(zip(_NAMES, row, strict=True))
    is_odd = any(not isinstance(values[name], kinds) for name, kinds in _KINDS.items())
    if is_odd or values["phase"] not in _PHASES:
        raise Damage
    values["seen"] = _ids(values["seen"])
    values |= {name: bool(values[name]) for name in ("is_forced", "clears_uploads")}
    return Attempt(**values)


def _ids(text: str) -> frozenset[str]:
    try:
        ids = orjson.loads(text)
    except ValueError as e:
        raise Damage from e
    if not isinstance(ids, list) or not all(isinstance(item, str) for item in ids):
        raise Damage
    return frozenset(ids)


def _stored(value: Any) -> Any:
    return orjson.dumps(sorted(value)).decode() if isinstance(value, frozenset) else value


def _select(db: sqlite3.Connection, where: str, *values: Any) -> list[Attempt]:
    query = f"SELECT {_COLUMNS} FROM attempts WHERE {where}"  # noqa: S608  only our own words
    return [_attempt(row) for row in db.execute(query, values)]


def check(db: sqlite3.Connection) -> None:
    """Read every row.

    Raises:
        Damage: One is none.
    """
    if db.execute("PRAGMA quick_check(1)").fetchall() != [("ok",)]:
        raise Damage
    _select(db, "1")
    db.execute("SELECT host, file_id, name, is_own, condemned_at FROM uploads").fetchall()


def attempts_of(db: sqlite3.Connection, host: str, key: str) -> list[Attempt]:
    """Return an order's attempts that were not refused, newest first."""
    return _select(db, "host = ? AND key = ? AND phase != 'refused' ORDER BY generation DESC", host, key)


def attempt_with_job(db: sqlite3.Connection, host: str, job_id: str) -> Attempt | None:
    """Return the attempt that made a job, the newest where a host answered several with the same one."""
    found = _select(db, "host = ? AND job_id = ? ORDER BY rowid DESC LIMIT 1", host, job_id)
    return found[0] if found else None


def jobs_of_all(db: sqlite3.Connection, limit: int) -> list[tuple[str, Attempt]]:
    """Return the attempts with a job, newest first, each with its account, whatever that is."""
    query = f"SELECT host, {_COLUMNS} FROM attempts WHERE job_id IS NOT NULL ORDER BY rowid DESC LIMIT ?"  # noqa: S608
    return [(str(host), _attempt(tuple(row))) for host, *row in db.execute(query, (limit,))]


def attempts_to_clear(db: sqlite3.Connection, host: str, limit: int) -> list[Attempt]:
    """Return the attempts with a job whose uploads are to be deleted and are not, oldest first."""
    where = "host = ? AND clears_uploads AND cleared_at IS NULL AND job_id IS NOT NULL ORDER BY rowid LIMIT ?"
    return _select(db, where, host, limit)


def insert_attempt(db: sqlite3.Connection, host: str, key: str, **values: Any) -> Attempt:
    """Open an attempt, one generation after the last one."""
    query = "SELECT coalesce(max(generation) + 1, 0) FROM attempts WHERE host = ? AND key = ?"
    [generation] = db.execute(query, (host, key)).fetchone()
    attempt = Attempt(key=key, generation=generation, **values)
    _insert(db, host, attempt)
    return attempt


def _insert(db: sqlite3.Connection, host: str, attempt: Attempt) -> None:
    values = [_stored(getattr(attempt, name)) for name in _NAMES]
    marks = ", ".join("?" for _ in _NAMES)
    db.execute(
        f"INSERT INTO attempts (host, {_COLUMNS}) VALUES (?, {marks})",  # noqa: S608  only our own words
        (host, *values),
    )


def change_attempt(db: sqlite3.Connection, host: str, attempt: Attempt, **values: Any) -> Attempt:
    """Change an attempt, and return it as it is now; one that was lost with its ledger is put back."""
    changed = replace(attempt, **values)
    changes = ", ".join(f"{name} = ?" for name in values)
    done = db.execute(
        f"UPDATE attempts SET {changes} WHERE host = ? AND key = ? AND generation = ?",  # noqa: S608
        (*map(_stored, values.values()), host, *attempt.name),
    )
    if not done.rowcount:
        _insert(db, host, changed)
    return changed


def adopt(db: sqlite3.Connection, host: str, job_id: str, found: Attempt) -> None:
    """Record a job that was found at the host, as an attempt of its own unless it is one already."""
    if known := attempt_with_job(db, host, job_id):
        change_attempt(db, host, known, clears_uploads=known.clears_uploads or found.clears_uploads)
        return
    values = {name: getattr(found, name) for name in _NAMES if name not in ("key", "generation")}
    insert_attempt(db, host, found.key, **values)


def upload_named(db: sqlite3.Connection, host: str, name: str) -> Upload | None:
    """Return the newest upload of a name that is in use."""
    row = db.execute(
        "SELECT file_id, is_own FROM uploads WHERE host = ? AND name = ? AND condemned_at IS NULL "
        "ORDER BY rowid DESC LIMIT 1",
        (host, name),
    ).fetchone()
    if row is None:
        return None
    if not isinstance(row[0], str):
        raise Damage
    return Upload(row[0], name, bool(row[1]))


def claim(db: sqlite3.Connection, host: str, attempt: Attempt, role: Role, upload: Upload) -> bool:
    """Record an upload and that an attempt uses it, unless it is being deleted."""
    query = "SELECT condemned_at FROM uploads WHERE host = ? AND file_id = ?"
    row = db.execute(query, (host, upload.file_id)).fetchone()
    if row is not None and row[0] is not None:
        return False
    db.execute(
        "INSERT INTO uploads (host, file_id, name, is_own) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (host, upload.file_id, upload.name, upload.is_own),
    )
    change_attempt(db, host, attempt, **{f"{role}_file": upload.file_id})
    return True


def claims_on(db: sqlite3.Connection, host: str, file_id: str) -> list[Attempt]:
    """Return the attempts that use an upload and whose end was not seen."""
    where = "host = ?1 AND ?2 IN (training_file, validation_file) AND ended_at IS NULL"
    return _select(db, where, host, file_id)


def condemn(
    db: sqlite3.Connection, host: str, file_id: str, but: Collection[tuple[str, int]], now: float
) -> bool:
    """Take an upload out of use, unless an attempt other than those given has come to use it."""
    if any(attempt.name not in but for attempt in claims_on(db, host, file_id)):
        return False
    db.execute(
        """
        INSERT INTO uploads (host, file_id, name, is_own, condemned_at) VALUES (?1, ?2, '', 0, ?3)
        ON CONFLICT (host, file_id) DO UPDATE SET condemned_at = ?3
        """,
        (host, file_id, now),
    )
    return True


def condemn_own(db: sqlite3.Connection, host: str, attempt: Attempt, now: float) -> list[str]:
    """Take those uploads out of use that were made here for a refused attempt and serve no other."""
    rows = db.execute(
        """
        SELECT file_id FROM uploads WHERE host = ?1 AND is_own AND condemned_at IS NULL AND file_id IN (
            SELECT training_file FROM attempts WHERE host = ?1 AND key = ?2 AND generation = ?3
            UNION SELECT validation_file FROM attempts WHERE host = ?1 AND key = ?2 AND generation = ?3
        ) AND NOT EXISTS (
            SELECT 1 FROM attempts WHERE attempts.host = ?1 AND phase != 'refused'
            AND uploads.file_id IN (training_file, validation_file) AND NOT (key = ?2 AND generation = ?3)
        )
        """,
        (host, *attempt.name),
    ).fetchall()
    file_ids = [str(file_id) for (file_id,) in rows]
    for file_id in file_ids:
        values = (now, host, file_id)
        db.execute("UPDATE uploads SET condemned_at = ? WHERE host = ? AND file_id = ?", values)
    return file_ids
