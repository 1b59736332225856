"""What a start removes, and what it leaves."""

import pytest

from finetune_server.config import Settings
from finetune_server.jobs.sweep import sweep
from finetune_server.storage.job_table import NewEvent
from finetune_server.storage.records import ModelRecord
from finetune_server.storage.store import Store
from tests.server_records import job


@pytest.fixture
def settings(tmp_path) -> Settings:
    settings = Settings(state_dir=tmp_path)
    settings.make_directories()
    return settings


@pytest.fixture
def store(settings):
    store = Store.open(settings.database_file)
    yield store
    store.close()


def make_work(settings: Settings, number: int) -> None:
    """A job's directory, as a training leaves it that was broken off."""
    directory = settings.job_dir(job(number).id)
    for step in (3, 6):
        (directory / "epochs" / f"step-{step}").mkdir(parents=True)
    (directory / "checkpoints" / "step-6").mkdir(parents=True)
    for name in ("training.jsonl", "validation.jsonl", "events.jsonl"):
        (directory / name).touch()


def left(settings: Settings, number: int) -> list[str]:
    directory = settings.job_dir(job(number).id)
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
def test_a_job_that_has_ended_keeps_what_was_made_only(settings, store, status):
    store.jobs.create(job(1, status="running"), [])
    epoch = settings.job_dir(job(1).id) / "epochs" / "step-6"
    model = ModelRecord(
        id="ft:x", base="b", adapter_gguf=None, adapter_dir=epoch, job_id=job(1).id, created_at=1, step=6
    )
    event = {"message": "c", "created_at": 1, "data": {"phase": "checkpoint", "step": 6}}
    store.enter_progress(job(1).id, changes={}, events=[NewEvent(**event)], checkpoints={6: model})
    store.jobs.transition(job(1).id, when={"running"}, changes={"status": status})
    make_work(settings, 1)

    sweep(settings, store)

    assert left(settings, 1) == ["epochs", "epochs/step-6", "events.jsonl"]


@pytest.mark.parametrize("status", ["validating_files", "queued", "running", "pausing", "paused"])
def test_a_job_that_goes_on_is_left_alone(settings, store, status):
    store.jobs.create(job(1, status=status), [])
    make_work(settings, 1)
    before = left(settings, 1)

    sweep(settings, store)

    assert left(settings, 1) == before


def test_a_directory_without_a_job_goes_when_nothing_was_trained_in_it(settings, store):
    unknown = settings.job_dir(job(1).id)
    unknown.mkdir()
    (unknown / "training.jsonl").touch()
    make_work(settings, 2)
    (settings.jobs_dir / "notes.txt").touch()
    before = left(settings, 2)

    sweep(settings, store)

    assert not unknown.exists()
    assert left(settings, 2) == before
    assert (settings.jobs_dir / "notes.txt").exists()
