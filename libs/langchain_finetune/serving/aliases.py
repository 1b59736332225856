"""Names that stay while the models behind them change."""

import re
import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from langchain_openai import ChatOpenAI

from langchain_finetune.errors import AliasError, AliasNotFoundError
from langchain_finetune.handles import FineTunedModel, Handle
from langchain_finetune.serving.database import database, default_path, transaction
from langchain_finetune.trainers.served import tuned_model_of

_ALIAS: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}(@[A-Za-z0-9][A-Za-z0-9._-]{0,63})?")

_COLUMNS: Final = "number, alias, kind, model, note, moved_at"


class AliasMove(Handle):
    """One move of an alias."""

    number: int
    """Greater than that of every earlier move of any alias."""

    alias: str
    kind: Literal["promotion", "rollback", "removal"]
    model: FineTunedModel | None
    """What the alias stands for from then on; None after its removal."""

    note: str = ""
    """Why, for a person to read."""

    moved_at: datetime


class AliasStore:
    """The aliases of a state directory: which model each stands for, and which it stood for before.

    A move is one transaction: whoever asks, in whichever process, gets the model before it or the one after.
    Moves are kept, none is changed.

    ```python
    from langchain_finetune import AliasStore

    aliases = AliasStore()
    aliases.promote("calculator@production", model)
    aliases.resolve("calculator@production").to_chat_model().invoke("What's 56/7?")
    aliases.rollback("calculator@production")
    ```

    Args:
        path: The SQLite file; None is `serving.sqlite` in the state directory.
        clock: Tells the time, in seconds since 1970.
    """

    def __init__(self, path: Path | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock

    @property
    def path(self) -> Path:
        """The file."""
        return self._path or default_path()

    def promote(self, alias: str, model: ChatOpenAI | FineTunedModel, *, note: str = "") -> AliasMove:
        """Let an alias stand for a model from now on; where it does already, nothing is moved.

        Args:
            alias: The name, such as `"calculator@production"`: letters, digits, `.`, `_` and `-`, with at
                most one `@` in between.
            model: What `FineTuneRunnable` returns, or a `FineTunedModel`.
            note: Why, for a person to read.

        Returns:
            The move, or the last one where nothing was moved.

        Raises:
            AliasError: The name is none, or the model was not tuned by this package.
            StorageError: The file cannot be written.
        """
        _check(alias)
        tuned = model if isinstance(model, FineTunedModel) else tuned_model_of(model)
        with database(self.path) as db, transaction(db):
            last = _last(db, alias)
            if last is not None and last.model is not None and _is_same(last.model, tuned):
                return last
            return self._move(db, alias, "promotion", tuned, note)

    def rollback(self, alias: str, *, note: str = "") -> AliasMove:
        """Let an alias stand for the model again that it stood for before the present one.

        Called twice, it goes back twice.

        Args:
            alias: The name.
            note: Why, for a person to read.

        Raises:
            AliasNotFoundError: Nothing was promoted to it.
            AliasError: There is no earlier model.
        """
        with database(self.path) as db, transaction(db):
            before = _stack(_moves(db, alias))
            if not before:
                raise _not_found(alias)
            if len(before) == 1:
                msg = f"the alias {alias!r} never stood for another model than {before[0].model!r}."
                raise AliasError(msg)
            return self._move(db, alias, "rollback", before[-2], note)

    def remove(self, alias: str, *, note: str = "") -> AliasMove:
        """Let an alias stand for nothing; its history is kept, and is nothing to go back to.

        Raises:
            AliasNotFoundError: Nothing was promoted to it.
        """
        with database(self.path) as db, transaction(db):
            last = _last(db, alias)
            if last is None or last.model is None:
                raise _not_found(alias)
            return self._move(db, alias, "removal", None, note)

    def resolve(self, alias: str) -> FineTunedModel:
        """Return the model that an alias stands for now.

        Raises:
            AliasNotFoundError: Nothing was promoted to it.
        """
        with database(self.path) as db:
            last = _last(db, alias)
        if last is None or last.model is None:
            raise _not_found(alias)
        return last.model

    def current(self) -> dict[str, AliasMove]:
        """Return the last move of every alias that stands for a model, by name."""
        query = (
            f"SELECT {_COLUMNS} FROM moves WHERE number IN "  # noqa: S608 - constants
            "(SELECT max(number) FROM moves GROUP BY alias) AND model IS NOT NULL ORDER BY alias"
        )
        with database(self.path) as db:
            return {move.alias: move for move in map(_move_of, db.execute(query))}

    def history(self, alias: str) -> list[AliasMove]:
        """Return every move of an alias, the last one first; empty where there was none."""
        with database(self.path) as db:
            return _moves(db, alias)[::-1]

    def _move(
        self,
        db: sqlite3.Connection,
        alias: str,
        kind: Literal["promotion", "rollback", "removal"],
        model: FineTunedModel | None,
        note: str,
    ) -> AliasMove:
        dumped = model.model_dump_json() if model else None
        row = (alias, kind, dumped, note, self._clock())
        added = db.execute(
            "INSERT INTO moves (alias, kind, model, note, moved_at) VALUES (?, ?, ?, ?, ?)", row
        )
        return _move_of((added.lastrowid, *row))


def _check(alias: str) -> None:
    if not _ALIAS.fullmatch(alias):
        msg = (
            f"{alias!r} is no name for an alias: letters, digits, '.', '_' and '-', such as "
            "'calculator' or 'calculator@production'."
        )
        raise AliasError(msg)


def _is_same(one: FineTunedModel, other: FineTunedModel) -> bool:
    """Tell whether both are one model; what is known of it besides may have grown."""
    return (one.provider, one.model, one.base_url) == (other.provider, other.model, other.base_url)


def _not_found(alias: str) -> AliasNotFoundError:
    msg = f"no model was promoted to the alias {alias!r}: `AliasStore().promote({alias!r}, model)`."
    return AliasNotFoundError(msg)


def _last(db: sqlite3.Connection, alias: str) -> AliasMove | None:
    query = f"SELECT {_COLUMNS} FROM moves WHERE alias = ? ORDER BY number DESC LIMIT 1"  # noqa: S608 - constants
    row = db.execute(query, (alias,)).fetchone()
    return _move_of(row) if row else None


def _moves(db: sqlite3.Connection, alias: str) -> list[AliasMove]:
    query = f"SELECT {_COLUMNS} FROM moves WHERE alias = ? ORDER BY number"  # noqa: S608 - constants
    return [_move_of(row) for row in db.execute(query, (alias,))]


def _stack(moves: list[AliasMove]) -> list[FineTunedModel]:
    """Return the models that an alias stands for and would go back to, the present one last."""
    stack: list[FineTunedModel] = []
    for move in moves:
        if move.model is None:
            stack.clear()
        elif move.kind == "promotion":
            stack.append(move.model)
        else:
            stack.pop()
    return stack


def _move_of(row: tuple[object, ...]) -> AliasMove:
    number, alias, kind, model, note, moved_at = row
    return AliasMove.model_validate(
        {
            "number": number,
            "alias": alias,
            "kind": kind,
            "model": FineTunedModel.model_validate_json(str(model)) if model is not None else None,
            "note": note,
            "moved_at": datetime.fromtimestamp(float(str(moved_at)), UTC),
        }
    )
