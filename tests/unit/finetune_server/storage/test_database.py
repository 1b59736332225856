import sqlite3

import pytest

from finetune_server.storage.database import Database, StoreUnusableError, StoreVersionError
from finetune_server.storage.schema import MIGRATIONS
from finetune_server.storage.store import Store


@pytest.fixture
def database(tmp_path):
    database = Database.open(tmp_path / "server.sqlite")
    yield database
    database.close()


def test_a_store_of_a_newer_version_is_refused_and_not_touched(tmp_path):
    path = tmp_path / "server.sqlite"
    Database.open(path).close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreVersionError, match="has version 99, this package knows"):
        Database.open(path)


def test_a_migration_that_fails_leaves_the_version_before(tmp_path, monkeypatch):
    path = tmp_path / "server.sqlite"
    Database.open(path).close()
    monkeypatch.setattr(
        "finetune_server.storage.database.MIGRATIONS", (*MIGRATIONS, "CREATE TABLE new (a); bad;")
    )
    with pytest.raises(sqlite3.OperationalError):
        Database.open(path)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'new'").fetchone() == (0,)
    connection.close()


def test_a_store_of_the_first_version_is_brought_up_to_date_and_keeps_what_it_has(tmp_path):
    path = tmp_path / "server.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(f"{MIGRATIONS[0]}; PRAGMA user_version = 1;")
    connection.execute(
        "INSERT INTO jobs (id, status, base, training_file, method, hyperparameters, seed, created_at)"
        " VALUES ('ftjob-1', 'succeeded', 'base', 'file-1', 'supervised', '{}', 1, 5)"
    )
    connection.execute(
        "INSERT INTO models (id, base, adapter_dir, job_id, created_at)"
        " VALUES ('ft:base:local::x', 'base', 'jobs/ftjob-1/adapter', 'ftjob-1', 6)"
    )
    connection.commit()
    connection.close()
    store = Store.open(path)
    (model,) = store.list_models()
    assert (model.id, model.step, model.metrics) == ("ft:base:local::x", None, None)
    assert store.jobs.get("ftjob-1").status == "succeeded"
    assert store.checkpoints("ftjob-1") == []
    store.close()


def test_the_reading_connection_cannot_write(database):
    with database.reading() as connection, pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("DELETE FROM jobs")


def test_a_commit_is_flushed_to_the_disk(database):
    with database.transaction() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_a_file_that_is_no_store_is_named_and_left_as_it_is(tmp_path):
    path = tmp_path / "server.sqlite"
    path.write_bytes(b"no store " * 1000)
    with pytest.raises(
        StoreUnusableError, match=r"server.sqlite is damaged .* Put a copy of it in its place"
    ):
        Database.open(path)
    assert path.read_bytes() == b"no store " * 1000


def test_damage_behind_a_sound_beginning_is_seen(tmp_path):
    path = tmp_path / "server.sqlite"
    Database.open(path).close()
    content = bytearray(path.read_bytes())
    content[8192:12288] = b"x" * 4096
    path.write_bytes(content)
    with pytest.raises(StoreUnusableError, match="is damaged"):
        Database.open(path)
    assert path.read_bytes() == content


def test_what_cannot_be_opened_is_not_called_damaged(tmp_path):
    with pytest.raises(StoreUnusableError, match=r"server.sqlite cannot be opened .unable to open"):
        Database.open(tmp_path / "nowhere" / "server.sqlite")
