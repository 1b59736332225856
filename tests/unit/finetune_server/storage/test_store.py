import sqlite3
from pathlib import Path

import pytest

from finetune_server.storage.job_table import NewEvent
from finetune_server.storage.records import JobRecord, ModelRecord
from finetune_server.storage.store import Store
from tests.server_records import file, job, messages, said


@pytest.fixture
def store(tmp_path):
    store = Store.open(tmp_path / "server.sqlite")
    yield store
    store.close()


def model_of(store_root: Path, made_by: JobRecord) -> ModelRecord:
    job_dir = store_root / "jobs" / made_by.id
    return ModelRecord(
        id="ft:base:local::x",
        base="base",
        adapter_gguf=job_dir / "adapter.gguf",
        adapter_dir=job_dir / "adapter",
        job_id=made_by.id,
        created_at=9,
    )


def test_files_are_paged_both_ways_and_expire(store):
    for number in range(4):
        store.add_file(file(number, purpose="fine-tune" if number else "fine-tune-results"))
    store.add_file(file(9, expires_at=50))
    ids = [file(number).id for number in range(4)]
    newest = store.page_of_files(now=50, limit=2, order="desc", purpose=None, after=None)
    assert ([each.id for each in newest.records], newest.has_more) == ([ids[3], ids[2]], True)
    oldest = store.page_of_files(now=50, limit=9, order="asc", purpose="fine-tune", after=ids[1])
    assert ([each.id for each in oldest.records], oldest.has_more) == ([ids[2], ids[3]], False)
    assert store.find_file(file(9).id, now=49) is not None
    assert store.find_file(file(9).id, now=50) is None
    assert [each.id for each in store.expired_files(now=50)] == [file(9).id]
    assert store.delete_file(ids[0])
    assert not store.delete_file(ids[0])


def test_what_a_finished_job_leaves_is_entered_together(store, tmp_path):
    store.add_base("base", weights_sha256="w", max_model_len=64, now=1)
    store.jobs.create(job(status="running"), [])
    model = model_of(tmp_path, job())
    finished = store.finish_job(
        job().id,
        changes={"status": "succeeded", "fine_tuned_model": model.id},
        model=model,
        result_file=file(5),
        events=[said("done")],
    )
    assert finished.status == "succeeded"
    found = store.find_model(model.id)
    assert found.adapter_gguf == tmp_path / "jobs" / job().id / "adapter.gguf"
    assert (found.base, found.max_model_len, found.weights_sha256, found.job_id) == (
        "base",
        64,
        "w",
        job().id,
    )
    assert store.list_models() == [found]
    assert store.find_file(file(5).id, now=0) is not None
    assert store.delete_model(model.id)
    assert store.find_model(model.id) is None


def checkpoint_of(root: Path, made_by: JobRecord, step: int) -> ModelRecord:
    adapter_dir = root / "jobs" / made_by.id / "epochs" / f"step-{step}"
    return ModelRecord(
        id=f"ft:base:local::x:ckpt-step-{step}",
        base="base",
        adapter_gguf=None,
        adapter_dir=adapter_dir,
        job_id=made_by.id,
        created_at=step,
        step=step,
        metrics={"step": step, "train_loss": 0.5},
    )


def tell_checkpoints(store: Store, root: Path, *steps: int) -> list[int | None]:
    """Enters checkpoints; the steps of those that are offered no more."""
    made = {step: checkpoint_of(root, job(), step) for step in steps}
    events = [
        NewEvent(message=f"Checkpoint {step}", created_at=step, data={"phase": "checkpoint", "step": step})
        for step in steps
    ]
    old = store.enter_progress(job().id, changes={}, events=events, checkpoints=made)
    return [model.step for model in old]


def test_the_last_three_checkpoints_of_a_job_are_kept_and_told_once(store, tmp_path):
    store.add_base("base", weights_sha256="w", max_model_len=64, now=1)
    store.jobs.create(job(status="running"), [])
    assert tell_checkpoints(store, tmp_path, 2, 4) == []
    assert tell_checkpoints(store, tmp_path, 4, 6, 8) == [2]
    newest, *_ = kept = store.checkpoints(job().id)
    assert [model.step for model in kept] == [8, 6, 4]
    assert newest == store.find_model("ft:base:local::x:ckpt-step-8")
    assert (newest.metrics, newest.max_model_len) == ({"step": 8, "train_loss": 0.5}, 64)
    assert messages(store, job().id) == ["Checkpoint 2", "Checkpoint 4", "Checkpoint 6", "Checkpoint 8"]


@pytest.mark.parametrize("step", [2, 8], ids=["one that has had its time", "one that was deleted"])
def test_a_checkpoint_told_again_does_not_come_back(store, tmp_path, step):
    store.jobs.create(job(status="running"), [])
    tell_checkpoints(store, tmp_path, 2, 4, 6, 8)
    assert store.delete_model("ft:base:local::x:ckpt-step-8")
    tell_checkpoints(store, tmp_path, step)
    assert [model.step for model in store.checkpoints(job().id)] == [6, 4]


def test_a_job_that_has_ended_takes_no_checkpoint(store, tmp_path):
    store.jobs.create(job(status="cancelled"), [])
    assert tell_checkpoints(store, tmp_path, 2) == []
    assert store.checkpoints(job().id) == []
    assert messages(store, job().id) == []


def test_a_job_that_was_cancelled_meanwhile_leaves_nothing(store, tmp_path):
    store.jobs.create(job(status="cancelled"), [])
    changes = {"status": "succeeded"}
    model = model_of(tmp_path, job())
    assert (
        store.finish_job(job().id, changes=changes, model=model, result_file=file(5), events=[said("x")])
        is None
    )
    assert store.list_models() == []
    assert store.find_file(file(5).id, now=0) is None


def test_a_model_that_cannot_be_entered_leaves_the_job_running(store, tmp_path):
    store.add_file(file(5))
    store.jobs.create(job(status="running"), [])
    with pytest.raises(sqlite3.IntegrityError):
        store.finish_job(
            job().id,
            changes={"status": "succeeded"},
            model=model_of(tmp_path, job()),
            result_file=file(5),
            events=[said("x")],
        )
    assert store.jobs.get(job().id).status == "running"
    assert store.list_models() == []
    assert messages(store, job().id) == []


def test_a_base_is_found_as_a_model_and_kept_up_to_date(store):
    store.add_base("base", weights_sha256="old", max_model_len=1, now=3)
    store.add_base("base", weights_sha256="new", max_model_len=2, now=4)
    (base,) = store.list_bases()
    assert store.find_model("base") == base
    assert (base.weights_sha256, base.max_model_len, base.created_at, base.job_id) == ("new", 2, 3, None)


def test_what_was_entered_is_there_when_the_store_is_opened_again(tmp_path):
    for number in range(3):
        store = Store.open(tmp_path / "server.sqlite")
        store.jobs.create(job(number), [])
        assert len(store.jobs.page(limit=9).records) == number + 1
        store.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["server.sqlite"]
