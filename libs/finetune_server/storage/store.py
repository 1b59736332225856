"""The server's memory: one SQLite file, of which the server is the only writer."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from finetune_server.storage.database import Database
from finetune_server.storage.job_table import (
    JobTable,
    NewEvent,
    change_job,
    insert_events,
    insert_row,
)
from finetune_server.storage.records import (
    ALIAS_FIELD,
    EventRecord,
    FileRecord,
    JobRecord,
    ModelRecord,
    Page,
)

NUM_CHECKPOINTS = 3
"""Of one job that are kept, as OpenAI does."""

__all__ = ["EventRecord", "FileRecord", "JobRecord", "ModelRecord", "NewEvent", "Page", "Store"]

_TUNED = (
    "SELECT models.*, bases.max_model_len, bases.weights_sha256"
    " FROM models LEFT JOIN bases ON bases.id = models.base"
)

_ALIASED = (
    "SELECT job_metadata.value AS alias, models.*, bases.max_model_len, bases.weights_sha256"
    " FROM job_metadata JOIN models ON models.job_id = job_metadata.job_id AND models.step IS NULL"
    " LEFT JOIN bases ON bases.id = models.base WHERE job_metadata.key = ?"
)
"""A job has a model other than its checkpoints once it has succeeded, and while the model is not deleted."""


class Store:
    """Files, jobs, events and models.

    Every call is one short transaction or look-up by an index (under a millisecond without a flush), and
    may come from any thread. Routes that write are plain functions, which FastAPI runs in its threads, so
    that a flush never holds the event loop.

    Args:
        database: The opened file.
        root: The state directory, to which stored paths are relative, so that it can be moved.
    """

    def __init__(self, database: Database, root: Path) -> None:
        self._database = database
        self._root = root
        self.jobs = JobTable(database)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Opens the store of the state directory in which `path` lies; makes it if it is missing."""
        return cls(Database.open(path), path.parent)

    def close(self) -> None:
        """Closes the file; nothing can be asked afterwards."""
        self._database.close()

    def add_file(self, file: FileRecord) -> None:
        """Enters a file whose bytes are in place."""
        row = {column: getattr(file, column) for column in FileRecord.__dataclass_fields__}
        with self._database.transaction() as connection:
            insert_row(connection, "files", row)

    def find_file(self, file_id: str, *, now: int) -> FileRecord | None:
        """The file of that id that has not expired."""
        query = "SELECT * FROM files WHERE id = ? AND (expires_at IS NULL OR expires_at > ?)"
        with self._database.reading() as connection:
            row = connection.execute(query, (file_id, now)).fetchone()
        return _file_of(row) if row else None

    def page_of_files(
        self, *, now: int, limit: int, order: Literal["asc", "desc"], purpose: str | None, after: str | None
    ) -> Page[FileRecord]:
        """Files that have not expired, in the order of their creation or against it."""
        conditions = ["(expires_at IS NULL OR expires_at > ?)"]
        values: list[str | int] = [now]
        if purpose is not None:
            conditions.append("purpose = ?")
            values.append(purpose)
        if after is not None:
            compare = ">" if order == "asc" else "<"
            conditions.append(f"seq {compare} (SELECT seq FROM files WHERE id = ?)")  # noqa: S608 - constants
            values.append(after)
        where = " AND ".join(conditions)
        query = f"SELECT * FROM files WHERE {where} ORDER BY seq {order.upper()} LIMIT ?"  # noqa: S608
        with self._database.reading() as connection:
            rows = connection.execute(query, (*values, limit + 1)).fetchall()
        return Page(records=tuple(_file_of(row) for row in rows[:limit]), has_more=len(rows) > limit)

    def expired_files(self, *, now: int) -> list[FileRecord]:
        """Files whose time has come."""
        query = "SELECT * FROM files WHERE expires_at <= ?"
        with self._database.reading() as connection:
            return [_file_of(row) for row in connection.execute(query, (now,))]

    def delete_file(self, file_id: str) -> bool:
        """Forgets a file; whether there was one."""
        with self._database.transaction() as connection:
            return connection.execute("DELETE FROM files WHERE id = ?", (file_id,)).rowcount > 0

    def enter_progress(
        self,
        job_id: str,
        *,
        changes: Mapping[str, Any],
        events: Iterable[NewEvent],
        checkpoints: Mapping[int, ModelRecord],
    ) -> list[ModelRecord]:
        """Enters what a trainer has told of a job that still runs.

        Args:
            job_id: The job.
            changes: Columns of the job.
            events: What was told; a step or a checkpoint that was told before is left out.
            checkpoints: The model of each step of which the events tell that it is a checkpoint.

        Returns:
            The checkpoints that are not offered any more, as newer ones have come.
        """
        with self._database.transaction() as connection:
            job = change_job(connection, job_id, when={"running", "pausing"}, changes=changes)
            if job is None:
                return []
            for event in insert_events(connection, job_id, events):
                if event.checkpoint_step is not None and event.checkpoint_step in checkpoints:
                    insert_row(connection, "models", self._model_row(checkpoints[event.checkpoint_step]))
            old = self._checkpoints(connection, job_id)[NUM_CHECKPOINTS:]
            connection.executemany("DELETE FROM models WHERE id = ?", [(model.id,) for model in old])
            return old

    def finish_job(
        self,
        job_id: str,
        *,
        changes: Mapping[str, Any],
        model: ModelRecord,
        result_file: FileRecord | None,
        events: Iterable[NewEvent],
    ) -> JobRecord | None:
        """Enters all that a successful job leaves, or nothing; None when the job does not run any more."""
        with self._database.transaction() as connection:
            job = change_job(connection, job_id, when={"running", "pausing"}, changes=changes, events=events)
            if job is not None:
                insert_row(connection, "models", self._model_row(model))
                if result_file is not None:
                    insert_row(connection, "files", vars(result_file))
            return job

    def find_model(self, model_id: str) -> ModelRecord | None:
        """The model of that id or alias, base or tuned, None when there is none."""
        return self.find_named(model_id) or self._find_aliased(model_id)

    def find_named(self, model_id: str) -> ModelRecord | None:
        """The model of that very id, base or tuned, None when there is none."""
        with self._database.reading() as connection:
            row = connection.execute(f"{_TUNED} WHERE models.id = ?", (model_id,)).fetchone()
            if row is not None:
                return self._tuned_of(row)
            row = connection.execute("SELECT * FROM bases WHERE id = ?", (model_id,)).fetchone()
        return _base_of(row) if row else None

    def list_models(self) -> list[ModelRecord]:
        """All tuned models, oldest first; bases are in `list_bases`."""
        with self._database.reading() as connection:
            return [self._tuned_of(row) for row in connection.execute(f"{_TUNED} ORDER BY models.seq")]

    def _find_aliased(self, alias: str) -> ModelRecord | None:
        query = f"{_ALIASED} AND job_metadata.value = ? ORDER BY models.seq DESC LIMIT 1"
        with self._database.reading() as connection:
            row = connection.execute(query, (ALIAS_FIELD, alias)).fetchone()
        return self._tuned_of(row) if row else None

    def list_aliases(self) -> dict[str, ModelRecord]:
        """The model behind each alias: that of the newest job."""
        with self._database.reading() as connection:
            rows = connection.execute(f"{_ALIASED} ORDER BY models.seq", (ALIAS_FIELD,))
            return {row["alias"]: self._tuned_of(row) for row in rows}

    def checkpoints(self, job_id: str) -> list[ModelRecord]:
        """The checkpoints of a job that can be asked, newest first."""
        with self._database.reading() as connection:
            return self._checkpoints(connection, job_id)

    def _checkpoints(self, connection: sqlite3.Connection, job_id: str) -> list[ModelRecord]:
        query = f"{_TUNED} WHERE job_id = ? AND step IS NOT NULL ORDER BY step DESC"
        return [self._tuned_of(row) for row in connection.execute(query, (job_id,))]

    def delete_model(self, model_id: str) -> bool:
        """Forgets a tuned model; whether there was one."""
        with self._database.transaction() as connection:
            return connection.execute("DELETE FROM models WHERE id = ?", (model_id,)).rowcount > 0

    def list_bases(self) -> list[ModelRecord]:
        """The base models that this server has resolved, by name."""
        with self._database.reading() as connection:
            return [_base_of(row) for row in connection.execute("SELECT * FROM bases ORDER BY id")]

    def add_base(self, name: str, *, weights_sha256: str, max_model_len: int, now: int) -> None:
        """Enters a base model, or brings up to date what is known of it."""
        query = (
            "INSERT INTO bases (id, created_at, max_model_len, weights_sha256) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET max_model_len = excluded.max_model_len,"
            " weights_sha256 = excluded.weights_sha256"
        )
        with self._database.transaction() as connection:
            connection.execute(query, (name, now, max_model_len, weights_sha256))

    def _model_row(self, model: ModelRecord) -> dict[str, Any]:
        return {
            "id": model.id,
            "base": model.base,
            "adapter_dir": self._relative(model.adapter_dir),
            "adapter_gguf": self._relative(model.adapter_gguf),
            "job_id": model.job_id,
            "created_at": model.created_at,
            "step": model.step,
            "metrics": None if model.metrics is None else json.dumps(model.metrics),
        }

    def _relative(self, path: Path | None) -> str | None:
        return str(path.relative_to(self._root)) if path else None

    def _tuned_of(self, row: sqlite3.Row) -> ModelRecord:
        return ModelRecord(
            id=row["id"],
            base=row["base"],
            adapter_gguf=self._root / row["adapter_gguf"] if row["adapter_gguf"] else None,
            adapter_dir=self._root / row["adapter_dir"],
            job_id=row["job_id"],
            created_at=row["created_at"],
            max_model_len=row["max_model_len"],
            weights_sha256=row["weights_sha256"],
            step=row["step"],
            metrics=json.loads(row["metrics"]) if row["metrics"] else None,
        )


def _file_of(row: sqlite3.Row) -> FileRecord:
    return FileRecord(**{column: row[column] for column in FileRecord.__dataclass_fields__})


def _base_of(row: sqlite3.Row) -> ModelRecord:
    return ModelRecord(
        id=row["id"],
        base=row["id"],
        adapter_gguf=None,
        adapter_dir=None,
        job_id=None,
        created_at=row["created_at"],
        max_model_len=row["max_model_len"],
        weights_sha256=row["weights_sha256"],
    )
