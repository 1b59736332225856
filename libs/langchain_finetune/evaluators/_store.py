"""Answers on disk, each as soon as it is there: nothing is asked twice, what broke off goes on."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from langchain_finetune.errors import StorageError
from langchain_finetune.evaluators.tool_calls import Answer, ToolCall

_VERSION: Final = 2

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS answers (
    model TEXT NOT NULL,
    settings TEXT NOT NULL,
    question TEXT NOT NULL,
    answer TEXT NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (model, settings, question)
) WITHOUT ROWID
"""


class Sheet(NamedTuple):
    """What a set of answers belongs to."""

    model: str
    """The model: where it is, its name, and its weights where the host tells them."""
    settings: str
    """Everything else that an answer depends on, but for the question."""


class AnswerStore:
    """The answers of all comparisons, by model and question.

    Args:
        path: The SQLite file; made on first use, for its owner's eyes only.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._storage():
            path.touch(mode=0o600)
            self._connection = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=30.0
            )
            self._set_up()

    def _set_up(self) -> None:
        found = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if found not in (0, 1, _VERSION):
            self._connection.close()
            msg = f"{self._path} was written by another version (layout {found}): move it away to start anew."
            raise StorageError(msg)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        if found == 1:
            # Its answers are keyed by the model's name alone: of which weights they are, nobody knows.
            self._connection.execute("DROP TABLE IF EXISTS answers")
        self._connection.execute(_SCHEMA)
        self._connection.execute(f"PRAGMA user_version = {_VERSION}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()

    def answers(self, sheet: Sheet) -> dict[str, Answer]:
        """Return the answers that are there, by the question's key."""
        query = "SELECT question, answer FROM answers WHERE model = ? AND settings = ?"
        with self._storage():
            return {question: _loaded(answer) for question, answer in self._connection.execute(query, sheet)}

    def add(self, sheet: Sheet, question: str, answer: Answer) -> None:
        """Keep an answer."""
        values = (*sheet, question, _dumped(answer), time.time())
        with self._storage():
            self._connection.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)", values)

    @contextmanager
    def _storage(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as e:
            if isinstance(e, StorageError):
                raise
            msg = f"cannot use {self._path}: {e}. Free some space, or move the file away to start anew."
            raise StorageError(msg) from e


def _dumped(answer: Answer) -> str:
    return json.dumps({**answer._asdict(), "calls": [call._asdict() for call in answer.calls]})


def _loaded(stored: str) -> Answer:
    fields = json.loads(stored)
    return Answer(**{**fields, "calls": tuple(ToolCall(**call) for call in fields["calls"])})
