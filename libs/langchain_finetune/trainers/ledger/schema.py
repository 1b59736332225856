"""The ledger's tables, and how an older file comes to have them."""

import sqlite3
from typing import Final

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
        CREATE TABLE attempts (
            host TEXT NOT NULL,
            key TEXT NOT NULL,
            generation INTEGER NOT NULL,
            phase TEXT NOT NULL CHECK (phase IN ('uploading', 'creating', 'created', 'refused')),
            is_forced INTEGER NOT NULL,
            clears_uploads INTEGER NOT NULL,
            training_file TEXT,
            validation_file TEXT,
            seen TEXT NOT NULL DEFAULT '[]',
            job_id TEXT,
            created_at REAL NOT NULL,
            posted_at REAL,
            ended_at REAL,
            cleared_at REAL,
            PRIMARY KEY (host, key, generation)
        )
        """,
        "CREATE INDEX attempts_by_job ON attempts (host, job_id)",
        """
        CREATE TABLE uploads (
            host TEXT NOT NULL,
            file_id TEXT NOT NULL,
            name TEXT NOT NULL,
            is_own INTEGER NOT NULL,
            condemned_at REAL,
            PRIMARY KEY (host, file_id)
        )
        """,
        "CREATE INDEX uploads_by_name ON uploads (host, name)",
    ),
)
"""What makes each version out of the one before; the last one's number is the file's `user_version`."""


class NewerLedger(Exception):
    """The file's version is above every one that is known here."""


def set_up(db: sqlite3.Connection) -> None:
    """Bring a file to the newest version; one that is there already costs a look.

    Args:
        db: The file, outside of a transaction.

    Raises:
        NewerLedger: It is newer than that.
    """
    db.execute("PRAGMA journal_mode = WAL")
    # A row that says "about to post" has to be on the disk before the post is on the wire.
    db.execute("PRAGMA synchronous = FULL")
    if _version(db) == len(MIGRATIONS):
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        found = _known_version(db)
        for statements in MIGRATIONS[found:]:
            for statement in statements:
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    except BaseException:
        db.rollback()
        raise
    db.execute("COMMIT")


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _known_version(db: sqlite3.Connection) -> int:
    if (found := _version(db)) > len(MIGRATIONS):
        raise NewerLedger(found)
    return found
