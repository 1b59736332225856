"""A store that an earlier version wrote is brought up to date, and nothing of it is lost."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from finetune_server.storage.schema import MIGRATIONS
from finetune_server.storage.store import Store

_ROWS = """
INSERT INTO files (id, filename, purpose, bytes, sha256, created_at, expires_at)
    VALUES ('file-1', 'a.jsonl', 'fine-tune', 3, 'abc', 10, NULL),
           ('file-2', 'step_metrics.csv', 'fine-tune-results', 4, 'def', 20, 9999999999);
INSERT INTO jobs (id, status, base, training_file, method, hyperparameters, seed, suffix, metadata,
        created_at, started_at, finished_at, trained_tokens, fine_tuned_model, result_files, attempt,
        idempotency_key, request_sha256)
    VALUES ('ftjob-1', 'succeeded', 'base', 'file-1', 'supervised', '{"n_epochs": 3}', 7, 'mine',
        '{"k": "v"}', 11, 12, 19, 100, 'ft:base:local:mine:1', '["file-2"]', 1, 'once', 'digest');
INSERT INTO jobs (id, status, base, training_file, method, hyperparameters, seed, created_at, attempt,
        num_deaths, checkpoint_step, events_offset)
    VALUES ('ftjob-2', 'running', 'base', 'file-1', 'supervised', '{"n_epochs": "auto"}', 8, 21,
        2, 1, 4, 123);
INSERT INTO jobs (id, status, base, training_file, method, hyperparameters, seed, created_at, error)
    VALUES ('ftjob-3', 'failed', 'base', 'file-1', 'supervised', '{}', 8, 22,
        '{"code": "c", "message": "m", "param": null}');
INSERT INTO job_metadata (key, value, job_id) VALUES ('k', 'v', 'ftjob-1');
INSERT INTO events (id, job_id, created_at, level, type, message, data, step)
    VALUES ('ftevent-1', 'ftjob-1', 11, 'info', 'message', 'Created', '{}', NULL),
           ('ftevent-2', 'ftjob-1', 13, 'info', 'metrics', 'Step 1/1', '{"step": 1}', 1),
           ('ftevent-3', 'ftjob-2', 21, 'warn', 'message', 'Killed', '{}', NULL);
INSERT INTO models (id, base, adapter_dir, adapter_gguf, job_id, created_at)
    VALUES ('ft:base:local:mine:1', 'base', 'jobs/ftjob-1/adapter', 'jobs/ftjob-1/adapter.gguf',
        'ftjob-1', 19);
INSERT INTO bases (id, created_at, max_model_len, weights_sha256) VALUES ('base', 9, 2048, 'fed');
"""
_TABLES = ("files", "jobs", "job_metadata", "events", "models", "bases")


@pytest.fixture
def path(tmp_path) -> Path:
    """A store as the first version wrote it."""
    path = tmp_path / "server.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as store:
        store.executescript(f"{MIGRATIONS[0]}\n{_ROWS}\nPRAGMA user_version = 1;")
    return path


@pytest.fixture
def store(path):
    store = Store.open(path)
    yield store
    store.close()


def content(path: Path) -> dict[str, list[dict[str, object]]]:
    with contextlib.closing(sqlite3.connect(path)) as store:
        store.row_factory = sqlite3.Row
        return {table: [dict(row) for row in store.execute(f"SELECT * FROM {table}")] for table in _TABLES}


def test_every_value_of_the_first_version_is_still_there(path):
    before = content(path)
    Store.open(path).close()
    after = content(path)
    for table in _TABLES:
        kept = [
            {column: row[column] for column in old}
            for old, row in zip(before[table], after[table], strict=True)
        ]
        assert kept == before[table]
        assert kept
    with contextlib.closing(sqlite3.connect(path)) as store:
        assert store.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert store.execute("PRAGMA foreign_key_check").fetchall() == []


def test_the_first_versions_records_are_read(store):
    job = store.jobs.get("ftjob-1")
    assert (job.status, job.result_files, job.metadata) == ("succeeded", ("file-2",), {"k": "v"})
    assert store.jobs.with_idempotency_key("once") == (job, "digest")
    assert [job.id for job in store.jobs.unfinished("running")] == ["ftjob-2"]
    assert store.jobs.get("ftjob-2").events_offset == 123
    assert store.jobs.get("ftjob-3").error.code == "c"
    assert [event.id for event in store.jobs.events("ftjob-1", limit=9).records] == ["ftevent-2", "ftevent-1"]
    assert {file.id for file in (store.find_file("file-1", now=30), store.find_file("file-2", now=30))} == {
        "file-1",
        "file-2",
    }
    (model,) = store.list_models()
    assert (model.id, model.job_id, model.max_model_len) == ("ft:base:local:mine:1", "ftjob-1", 2048)
    assert [base.id for base in store.list_bases()] == ["base"]


def test_a_store_is_migrated_once(path):
    Store.open(path).close()
    migrated = content(path)
    Store.open(path).close()
    assert content(path) == migrated
