"""What a cleaning takes away where no server runs; the integration tests do the same with one that does."""

import json
import sqlite3
from contextlib import closing

import httpx2
import pytest

from finetune_server import __main__
from finetune_server.cli import clean as command
from finetune_server.config import Settings
from finetune_server.lifecycle import Announcement, StateDirectory
from finetune_server.storage.store import Store
from tests.server_records import file, job

BEFORE = 5000


@pytest.fixture
def settings(tmp_path):
    settings = Settings(state_dir=tmp_path / "server")
    settings.make_directories()
    return settings


@pytest.fixture
def fill(settings):
    """Enters files and jobs, with bytes for each."""

    def enter(*records):
        store = Store.open(settings.database_file)
        for record in records:
            if record.id.startswith("file-"):
                store.add_file(record)
                settings.file_path(record.id).write_bytes(b"x" * 100)
            else:
                store.jobs.create(record, [])
                directory = settings.job_dir(record.id)
                (directory / "checkpoints" / "step-3").mkdir(parents=True)
                (directory / "adapter").mkdir()
                for name in ("training.jsonl", "events.jsonl", "trainer.log", "job.json", "result.json"):
                    (directory / name).write_bytes(b"x" * 10)
        store.close()

    return enter


def left(settings):
    store = Store.open(settings.database_file)
    page = store.page_of_files(now=0, limit=100, order="asc", purpose=None, after=None)
    store.close()
    known = [each.id for each in page.records]
    assert sorted(known) == sorted(each.name for each in settings.files_dir.iterdir())
    return set(known)


def names(settings, record):
    return {each.name for each in settings.job_dir(record.id).iterdir()}


def test_old_files_go_and_newer_ones_stay(settings, fill):
    old, edge, new = (file(n, created_at=at) for n, at in ((1, 1), (2, BEFORE), (3, BEFORE + 1)))
    result = file(4, created_at=1, purpose="fine-tune-results")
    expired = file(5, created_at=1, expires_at=2)
    fill(old, edge, new, result, expired)
    removed = command.clean(settings, before=BEFORE)
    assert removed == command.Removed(num_files=4, num_jobs=0, num_bytes=400)
    assert left(settings) == {new.id}


@pytest.mark.parametrize("status", ["validating_files", "queued", "running", "pausing", "paused"])
def test_what_a_job_that_has_not_ended_needs_stays(settings, fill, status):
    training, validation = file(1, created_at=1), file(2, created_at=1)
    waiting = job(1, status=status, training_file=training.id, validation_file=validation.id)
    fill(training, validation, waiting)
    assert command.clean(settings, before=BEFORE).num_bytes == 0
    assert left(settings) == {training.id, validation.id}
    assert "training.jsonl" in names(settings, waiting)


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
def test_of_a_job_that_has_ended_the_log_goes_and_the_model_and_checkpoints_stay(settings, fill, status):
    training = file(1, created_at=1)
    ended = job(1, status=status, finished_at=BEFORE, training_file=training.id)
    recent = job(2, status=status, finished_at=BEFORE + 1, training_file=training.id)
    fill(training, ended, recent)
    removed = command.clean(settings, before=BEFORE)
    assert removed == command.Removed(num_files=1, num_jobs=1, num_bytes=130)
    assert names(settings, ended) == {"adapter", "checkpoints", "job.json", "result.json"}
    assert "trainer.log" in names(settings, recent)
    assert command.clean(settings, before=BEFORE) == command.Removed(num_files=0, num_jobs=0, num_bytes=0)
    store = Store.open(settings.database_file)
    assert {store.jobs.get(each.id).status for each in (ended, recent)} == {status}
    store.close()


def test_more_jobs_than_a_page_are_all_looked_at(settings, fill, monkeypatch):
    monkeypatch.setattr(command, "_PAGE", 2)
    inputs = [file(n, created_at=1) for n in range(1, 6)]
    fill(*inputs, *(job(n, training_file=each.id) for n, each in enumerate(inputs, start=1)))
    assert command.clean(settings, before=BEFORE).num_files == 0


def test_bytes_that_another_name_keeps_are_not_counted(settings, fill):
    record = file(1, created_at=1)
    fill(record)
    (settings.state_dir / "other").hardlink_to(settings.file_path(record.id))
    assert command.clean(settings, before=BEFORE) == command.Removed(num_files=1, num_jobs=0, num_bytes=0)


@pytest.fixture
def asked(settings):
    """A server that runs, as a function from a request to its answer, and the shelf that asks it."""

    def make(answer):
        settings.key_file.write_text("sk-local-x\n")
        shelf = command._RunningServer(Announcement.of("127.0.0.1", 80), settings)
        shelf._client = httpx2.Client(base_url="http://server/v1", transport=httpx2.MockTransport(answer))
        return shelf

    return make


def test_a_server_that_runs_is_asked_for_one_page_after_the_other(asked):
    def answer(request):
        start = int(request.url.params.get("after", 0))
        page = [{"id": str(number), "created_at": number} for number in range(start + 1, start + 3)]
        return httpx2.Response(200, json={"data": page, "has_more": start < 4})

    with asked(answer) as server:
        assert [each.id for each in server.files()] == ["1", "2", "3", "4", "5", "6"]


@pytest.mark.parametrize(("status", "is_fine"), [(200, True), (404, True), (401, False), (500, False)])
def test_a_file_that_is_gone_already_is_fine_and_a_refusal_is_not(asked, status, is_fine):
    with asked(lambda _: httpx2.Response(status, json={"error": "no"})) as server:
        if is_fine:
            server.delete(command.File(id="file-1", created_at=1))
        else:
            with pytest.raises(command.CleaningError, match=f"answered {status} to DELETE /files/file-1"):
                server.delete(command.File(id="file-1", created_at=1))
        if status != 200:
            with pytest.raises(command.CleaningError):
                list(server.jobs())


def test_where_no_server_ever_ran_nothing_is_made(tmp_path, capsys):
    arguments = ["clean", "--older-than", "3", "--state-dir", str(tmp_path / "none")]
    assert __main__.main(arguments) == 0
    assert capsys.readouterr().out.startswith("removed 0 files")
    assert not (tmp_path / "none").exists()


def test_the_directory_is_let_go_of(settings, fill):
    fill(file(1))
    command.clean(settings, before=BEFORE)
    claimed = StateDirectory.claim(settings, wait_seconds=0)
    assert isinstance(claimed, StateDirectory)
    claimed.release()


def test_a_directory_that_somebody_holds_is_left_alone(settings, fill, monkeypatch, capsys):
    fill(file(1))
    monkeypatch.setattr(command, "_CLAIM_SECONDS", 0.0)
    held = StateDirectory.claim(settings, wait_seconds=0)
    arguments = ["clean", "--older-than", "0", "--state-dir", str(settings.state_dir)]
    assert __main__.main(arguments) == 1
    held.release()
    assert "does not say where it listens" in capsys.readouterr().err
    assert left(settings) == {file(1).id}


def test_the_result_as_json(settings, fill, capsys):
    fill(file(1))
    arguments = ["clean", "--older-than", "0", "--json", "--state-dir", str(settings.state_dir)]
    assert __main__.main(arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"num_files": 1, "num_jobs": 0, "num_bytes": 100}


def test_a_store_of_a_newer_version_is_one_line_and_left_alone(settings, fill, capsys):
    fill(file(1))
    with closing(sqlite3.connect(settings.database_file)) as store:
        store.execute("PRAGMA user_version = 99")
    assert __main__.main(["clean", "--older-than", "0", "--state-dir", str(settings.state_dir)]) == 1
    assert "has version 99" in capsys.readouterr().err
    assert settings.file_path(file(1).id).exists()


@pytest.mark.parametrize("days", ["-1", "nan", "x"])
def test_an_age_that_is_none_is_refused(days, tmp_path):
    with pytest.raises(SystemExit) as caught:
        __main__.main(["clean", f"--older-than={days}", "--state-dir", str(tmp_path)])
    assert caught.value.code == 2
