"""Jobs and their events in the store: each change of state and its event are one transaction."""

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from finetune_server.ids import derived_id, new_id
from finetune_server.storage.database import Database
from finetune_server.storage.records import (
    EventLevel,
    EventRecord,
    EventType,
    JobError,
    JobRecord,
    JobStatus,
    Page,
)

_JSON_COLUMNS = frozenset({"hyperparameters", "metadata", "result_files", "error"})
_CHANGEABLE = frozenset(JobRecord.__dataclass_fields__) - {"id", "created_at"}
_UNFINISHED = "status NOT IN ('succeeded', 'failed', 'cancelled')"


@dataclass(frozen=True, kw_only=True)
class NewEvent:
    """An event that has no id yet."""

    message: str
    created_at: int
    level: EventLevel = "info"
    type: EventType = "message"
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def step(self) -> int | None:
        """The training step that a metrics event is about."""
        step = self.data.get("step") if self.type == "metrics" else None
        return step if isinstance(step, int) else None

    @property
    def checkpoint_step(self) -> int | None:
        """The training step of the checkpoint that the event tells of."""
        step = self.data.get("step") if self.data.get("phase") == "checkpoint" else None
        return step if isinstance(step, int) else None


class JobTable:
    """What the store knows of jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        job: JobRecord,
        events: Iterable[NewEvent],
        *,
        idempotency_key: str | None = None,
        request_sha256: str | None = None,
    ) -> None:
        """Enters a new job with its first events."""
        row = _row_of(job) | {"idempotency_key": idempotency_key, "request_sha256": request_sha256}
        with self._database.transaction() as connection:
            insert_row(connection, "jobs", row)
            pairs = [(key, value, job.id) for key, value in (job.metadata or {}).items()]
            connection.executemany("INSERT INTO job_metadata (key, value, job_id) VALUES (?, ?, ?)", pairs)
            insert_events(connection, job.id, events)

    def get(self, job_id: str) -> JobRecord | None:
        """The job of that id."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return _job_of(row) if row else None

    def with_idempotency_key(self, key: str) -> tuple[JobRecord, str] | None:
        """The job created under that key, and the SHA-256 of the request that did it."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT * FROM jobs WHERE idempotency_key = ?", (key,)).fetchone()
        return (_job_of(row), row["request_sha256"]) if row else None

    def page(
        self, *, limit: int, after: str | None = None, metadata: Mapping[str, str] | None = None
    ) -> Page[JobRecord]:
        """Jobs, newest first, that carry all the metadata asked for; `{}` asks for jobs without any."""
        conditions, values = _metadata_conditions(metadata)
        if after is not None:
            conditions.append("seq < (SELECT seq FROM jobs WHERE id = ?)")
            values.append(after)
        where = " AND ".join(conditions) or "TRUE"
        query = f"SELECT * FROM jobs WHERE {where} ORDER BY seq DESC LIMIT ?"  # noqa: S608 - constants only
        with self._database.reading() as connection:
            rows = connection.execute(query, (*values, limit + 1)).fetchall()
        return Page(records=tuple(_job_of(row) for row in rows[:limit]), has_more=len(rows) > limit)

    def unfinished(self, *statuses: JobStatus) -> list[JobRecord]:
        """Jobs in one of these non-terminal states, first come first."""
        marks = ", ".join("?" * len(statuses))
        query = f"SELECT * FROM jobs WHERE {_UNFINISHED} AND status IN ({marks}) ORDER BY seq"  # noqa: S608
        with self._database.reading() as connection:
            return [_job_of(row) for row in connection.execute(query, statuses)]

    def num_unfinished(self) -> int:
        """How many jobs wait or run; a paused one does neither."""
        query = f"SELECT count(*) FROM jobs WHERE {_UNFINISHED} AND status <> 'paused'"  # noqa: S608
        with self._database.reading() as connection:
            count: int = connection.execute(query).fetchone()[0]
        return count

    def num_created(self, base: str, *, since: int) -> int:
        """How many jobs on a base were created since that second."""
        query = "SELECT count(*) FROM jobs WHERE base = ? AND created_at >= ?"
        with self._database.reading() as connection:
            count: int = connection.execute(query, (base, since)).fetchone()[0]
        return count

    def transition(
        self,
        job_id: str,
        *,
        when: Collection[JobStatus],
        changes: Mapping[str, Any],
        events: Iterable[NewEvent] = (),
    ) -> JobRecord | None:
        """Changes a job that is in one of these states; None when it is in another, and nothing is done."""
        with self._database.transaction() as connection:
            return change_job(connection, job_id, when=when, changes=changes, events=events)

    def has_event(self, job_id: str, event_id: str) -> bool:
        """Whether the job has that event."""
        query = "SELECT 1 FROM events WHERE id = ? AND job_id = ?"
        with self._database.reading() as connection:
            return connection.execute(query, (event_id, job_id)).fetchone() is not None

    def events(self, job_id: str, *, limit: int, after: str | None = None) -> Page[EventRecord]:
        """Events of a job, newest first."""
        condition, values = "TRUE", [job_id]
        if after is not None:
            condition = "seq < (SELECT seq FROM events WHERE id = ?)"
            values.append(after)
        query = f"SELECT * FROM events WHERE job_id = ? AND {condition} ORDER BY seq DESC LIMIT ?"  # noqa: S608
        with self._database.reading() as connection:
            rows = connection.execute(query, (*values, limit + 1)).fetchall()
        return Page(records=tuple(_event_of(row) for row in rows[:limit]), has_more=len(rows) > limit)


def change_job(
    connection: sqlite3.Connection,
    job_id: str,
    *,
    when: Collection[JobStatus],
    changes: Mapping[str, Any],
    events: Iterable[NewEvent] = (),
) -> JobRecord | None:
    """`JobTable.transition` inside a transaction of the caller's."""
    if unknown := changes.keys() - _CHANGEABLE:
        msg = f"no such columns of a job: {sorted(unknown)}"
        raise ValueError(msg)
    row = connection.execute("SELECT status FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if row is None or row["status"] not in when:
        return None
    if changes:
        assignments = ", ".join(f"{column} = :{column}" for column in changes)
        values = {column: _to_column(column, value) for column, value in changes.items()}
        query = f"UPDATE jobs SET {assignments} WHERE id = :id"  # noqa: S608 - columns are checked above
        connection.execute(query, values | {"id": job_id})
    insert_events(connection, job_id, events)
    return _job_of(connection.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone())


def insert_row(connection: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> None:
    """Inserts a row given by its columns; table and columns are the program's, never a client's."""
    columns, marks = ", ".join(row), ", ".join(f":{column}" for column in row)
    connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", row)  # noqa: S608 - see above


def insert_events(connection: sqlite3.Connection, job_id: str, events: Iterable[NewEvent]) -> list[NewEvent]:
    """Enters events, and returns those that are new: a step or a checkpoint is told once."""
    query = (
        "INSERT INTO events (id, job_id, created_at, level, type, message, data, step)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
    )
    entered = []
    for event in events:
        data = json.dumps(dict(event.data))
        told = (event.created_at, event.level, event.type, event.message, data, event.step)
        if connection.execute(query, (_event_id(job_id, event), job_id, *told)).rowcount:
            entered.append(event)
    return entered


def _event_id(job_id: str, event: NewEvent) -> str:
    step = event.checkpoint_step
    return new_id("ftevent") if step is None else derived_id("ftevent", job_id, f"checkpoint {step}")


def _metadata_conditions(metadata: Mapping[str, str] | None) -> tuple[list[str], list[str]]:
    if metadata is None:
        return [], []
    if not metadata:
        return ["metadata IS NULL"], []
    condition = "id IN (SELECT job_id FROM job_metadata WHERE key = ? AND value = ?)"
    return [condition] * len(metadata), [text for pair in metadata.items() for text in pair]


def _row_of(job: JobRecord) -> dict[str, Any]:
    return {column: _to_column(column, getattr(job, column)) for column in JobRecord.__dataclass_fields__}


def _to_column(column: str, value: Any) -> Any:
    if column not in _JSON_COLUMNS or value is None:
        return value
    return json.dumps(asdict(value) if isinstance(value, JobError) else value)


def _job_of(row: sqlite3.Row) -> JobRecord:
    fields = {column: row[column] for column in JobRecord.__dataclass_fields__}
    for column in _JSON_COLUMNS:
        fields[column] = json.loads(fields[column]) if fields[column] is not None else None
    fields["result_files"] = tuple(fields["result_files"])
    fields["error"] = JobError(**fields["error"]) if fields["error"] else None
    return JobRecord(**fields)


def _event_of(row: sqlite3.Row) -> EventRecord:
    fields = {column: row[column] for column in EventRecord.__dataclass_fields__}
    return EventRecord(**(fields | {"data": json.loads(row["data"])}))
