"""What the ledger keeps, and what becomes of it when it is damaged, gone, locked, or of another version."""

import logging
import os
import sqlite3
import stat
from contextlib import closing, suppress

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_finetune._spool import state_directory
from langchain_finetune.errors import StorageError
from langchain_finetune.trainers.exchange import Sleep, run
from langchain_finetune.trainers.jobs.job_state import JobState
from langchain_finetune.trainers.ledger import schema as ledger_schema
from langchain_finetune.trainers.ledger.ledger import Ledger
from langchain_finetune.trainers.ledger.rows import Upload
from langchain_finetune.trainers.placing.site import identity_of

KEY = "a" * 64


def no_pause(act):
    raise AssertionError(act)


def done(exchange, perform=no_pause):
    return run(exchange, perform)


@pytest.fixture
def path():
    return state_directory() / "ledger.sqlite"


@pytest.fixture
def ledger(path):
    return Ledger("host#1", clock=lambda: 2e9)


def begin(ledger, key=KEY, **flags):
    return done(ledger.begin(key, **{"is_forced": False, "clears_uploads": False, **flags}))


def test_an_attempt_is_kept_from_phase_to_phase(ledger):
    attempt = begin(ledger, clears_uploads=True)
    assert done(ledger.claim(attempt, "training", Upload("file-1", "train-x.jsonl", is_own=True)))
    attempt = done(ledger.posting(attempt, {"ftjob-2", "ftjob-1"}))
    assert (attempt.phase, attempt.posted_at) == ("creating", 2e9)
    done(ledger.created(attempt, "ftjob-3"))
    [kept] = done(Ledger("host#1").attempts(KEY))
    assert (kept.phase, kept.job_id, kept.file_ids) == ("created", "ftjob-3", ["file-1"])
    assert kept.seen == {"ftjob-1", "ftjob-2"}
    assert (kept.clears_uploads, kept.is_forced, kept.is_open) == (True, False, False)


def test_attempts_are_counted_refused_ones_too_and_come_newest_first(ledger):
    first = begin(ledger)
    done(ledger.refused(first))
    assert done(ledger.attempts(KEY)) == []
    second, third = begin(ledger), begin(ledger)
    assert [attempt.generation for attempt in (first, second, third)] == [0, 1, 2]
    assert [attempt.generation for attempt in done(ledger.attempts(KEY))] == [2, 1]


def test_another_account_has_another_ledger(ledger):
    begin(ledger)
    assert done(Ledger("host#2").attempts(KEY)) == []
    assert done(ledger.attempts("b" * 64)) == []


def test_a_found_job_is_recorded_once_and_what_was_wanted_of_it_stays_wanted(ledger):
    job = JobState(id="ftjob-1", status="running", training_file="file-1")
    for clears_uploads in (False, True, False):
        done(ledger.adopt(KEY, job, clears_uploads=clears_uploads))
    [attempt] = done(ledger.attempts(KEY))
    assert (attempt.job_id, attempt.file_ids, attempt.clears_uploads) == ("ftjob-1", ["file-1"], True)
    assert done(ledger.to_clear()) == [attempt]
    done(ledger.cleared(attempt))
    assert done(ledger.to_clear()) == []


def test_an_upload_that_is_claimed_is_not_condemned_and_the_other_way_round(ledger):
    upload = Upload("file-1", "train-x.jsonl", is_own=True)
    mine, other = begin(ledger), begin(ledger, "b" * 64)
    done(ledger.claim(mine, "training", upload))
    done(ledger.claim(other, "training", upload))
    assert not done(ledger.condemn("file-1", {mine.name}))
    assert done(ledger.upload_named("train-x.jsonl")) == upload
    assert done(ledger.condemn("file-1", {mine.name, other.name}))
    assert done(ledger.upload_named("train-x.jsonl")) is None
    assert not done(ledger.claim(begin(ledger), "training", upload))


def test_a_refused_attempt_leaves_what_others_use_and_what_it_did_not_upload(ledger):
    own, shared, found = (
        Upload("file-own", "a", is_own=True),
        Upload("file-shared", "b", is_own=True),
        Upload("file-found", "c", is_own=False),
    )
    other = begin(ledger, "b" * 64)
    done(ledger.claim(other, "validation", shared))
    for upload, expected in ((own, ["file-own"]), (shared, []), (found, [])):
        attempt = begin(ledger)
        done(ledger.claim(attempt, "training", upload))
        assert done(ledger.condemn_own(attempt)) == expected


def test_only_its_owner_may_read_it(ledger, path):
    begin(ledger)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


# --- what can become of the file ---


def test_one_that_is_deleted_in_the_midst_of_an_attempt_is_written_anew(ledger, path):
    attempt = begin(ledger)
    for file in path.parent.glob("ledger.sqlite*"):
        file.unlink()
    done(ledger.posting(attempt, set()))
    [kept] = done(ledger.attempts(KEY))
    assert (kept.phase, kept.generation) == ("creating", 0)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"this is no database " * 300),
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
        lambda path: path.write_bytes(path.read_bytes()[:100] + os.urandom(12_000)),
        lambda path: _execute(path, "DROP TABLE uploads"),
        lambda path: _execute(path, "ALTER TABLE attempts RENAME COLUMN phase TO state"),
        lambda path: _execute(path, "UPDATE attempts SET seen = '{'"),
        lambda path: _execute(path, "UPDATE attempts SET job_id = x'00ff'"),
        lambda path: _execute(path, "UPDATE attempts SET created_at = 'yesterday'"),
        lambda path: _execute(path, "UPDATE attempts SET seen = CAST(x'ff' AS TEXT)"),
    ],
)
def test_a_damaged_one_is_set_aside_with_a_warning(ledger, path, damage, caplog):
    begin(ledger)
    damage(path)
    with caplog.at_level(logging.WARNING):
        done(ledger.upload_named("train-x.jsonl"))
        done(ledger.attempts(KEY))
    assert "damaged" in caplog.text
    assert path.with_name("ledger.sqlite.damaged").exists()
    assert begin(ledger).generation == 0


def _execute(path, statement):
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(statement)


@given(st.data())
def test_whatever_bytes_are_in_it_it_works_or_says_so(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("ledger") / "ledger.sqlite"
    ledger = Ledger("host#1", path=path)
    attempt = begin(ledger)
    done(ledger.claim(attempt, "training", Upload("file-1", "train-x.jsonl", is_own=True)))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    # Anything else than these two ends is an error of another kind, and fails the test.
    with suppress(StorageError):
        done(ledger.attempts(KEY))
        begin(ledger)
        done(ledger.upload_named("train-x.jsonl"))


def test_one_of_a_newer_version_is_left_alone(ledger, path):
    begin(ledger)
    _execute(path, "PRAGMA user_version = 99")
    with pytest.raises(StorageError, match=r"newer version \(layout 99\): upgrade"):
        done(ledger.attempts(KEY))
    assert not path.with_name("ledger.sqlite.damaged").exists()


def test_one_of_an_older_version_is_brought_up(ledger, path, monkeypatch):
    begin(ledger)
    more = ("ALTER TABLE uploads ADD COLUMN note TEXT", "UPDATE uploads SET note = 'old'")
    monkeypatch.setattr(ledger_schema, "MIGRATIONS", (*ledger_schema.MIGRATIONS, more))
    assert len(done(ledger.attempts(KEY))) == 1
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (2,)
        assert "note" in [row[1] for row in db.execute("PRAGMA table_info(uploads)")]


def test_a_migration_that_fails_changes_nothing(ledger, path, monkeypatch):
    begin(ledger)
    more = ("ALTER TABLE uploads ADD COLUMN note TEXT", "SELECT * FROM nowhere")
    monkeypatch.setattr(ledger_schema, "MIGRATIONS", (*ledger_schema.MIGRATIONS, more))
    with closing(sqlite3.connect(path, isolation_level=None)) as db, pytest.raises(sqlite3.OperationalError):
        ledger_schema.set_up(db)
    monkeypatch.undo()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        assert "note" not in [row[1] for row in db.execute("PRAGMA table_info(uploads)")]


def test_a_full_disk_is_named(ledger, path, monkeypatch):
    begin(ledger)
    connect = sqlite3.connect

    def connect_to_full(*args, **kwargs):
        db = connect(*args, **kwargs)
        [num_pages] = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {num_pages}")
        return db

    monkeypatch.setattr(sqlite3, "connect", connect_to_full)

    def fill():
        for number in range(300):
            begin(ledger, f"{number:064}")

    with pytest.raises(StorageError, match="full"):
        fill()
    assert not path.with_name("ledger.sqlite.damaged").exists()


def test_a_place_that_cannot_be_used_is_named(ledger, path):
    path.mkdir()
    with pytest.raises(StorageError, match=r"ledger\.sqlite"):
        begin(ledger)


def test_whoever_finds_it_locked_pauses_and_goes_on(ledger, path):
    begin(ledger)
    pauses = []
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        def perform(act):
            assert isinstance(act, Sleep)
            pauses.append(act.seconds)
            if len(pauses) == 3:
                other.execute("COMMIT")

        assert done(ledger.begin(KEY, is_forced=False, clears_uploads=False), perform).generation == 1
    assert len(pauses) == 3


def test_one_that_stays_locked_is_named(ledger, path):
    begin(ledger)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="locked by another process for 30 s"):
            done(ledger.attempts(KEY), lambda _: None)


# --- whose it is ---


def client(**settings):
    return openai.OpenAI(**{"api_key": "sk-secret", "base_url": "https://host.example/v1", **settings})


def test_an_account_is_its_url_key_organization_and_project_and_shows_none_of_its_secrets():
    identities = {
        identity_of(client(**settings), is_embedded=False)
        for settings in (
            {},
            {"api_key": "sk-other"},
            {"organization": "org-1"},
            {"project": "proj_1"},
            {"base_url": "https://user:word@host.example/v1?code=hidden"},
            {"base_url": "https://other.example/v1"},
        )
    }
    assert len(identities) == 6
    for secret in ("sk-", "org-1", "proj_1", "user", "word", "hidden"):
        assert not any(secret in identity for identity in identities)
    assert identity_of(client(), is_embedded=False) == identity_of(client(), is_embedded=False)


def test_the_embedded_server_is_the_same_at_every_port():
    urls = ("http://127.0.0.1:1111/v1", "http://127.0.0.1:2222/v1")
    assert len({identity_of(client(base_url=url), is_embedded=True) for url in urls}) == 1
    assert len({identity_of(client(base_url=url), is_embedded=False) for url in urls}) == 2
