"""New jobs on purpose, and uploads that go when their job has ended: once each, also after a restart."""

import asyncio
import logging
from dataclasses import replace

import pytest

from langchain_finetune._spool import state_directory
from langchain_finetune.errors import JobCancelled, StorageError, TrainingFailed
from langchain_finetune.trainers.ledger.ledger import Ledger
from tests.fakes.clients import trainer_at
from tests.fakes.colors import COLORS
from tests.fakes.openai_answers import HostError as Refusal
from tests.fakes.openai_host import FakeHost
from tests.fakes.openai_plan import Plan
from tests.fakes.placer import BrokenOffError, Placer, finish, order_in, posts
from tests.fakes.training_rows import training_data


@pytest.fixture
def host():
    return FakeHost()


@pytest.fixture
def order(tmp_path):
    return order_in(tmp_path)


@pytest.fixture(params=["sync", "async"])
def color(request):
    return COLORS[request.param]


# --- retrain ---


async def test_retrain_makes_a_new_job_each_time_and_leaves_the_old_one(host, color):
    data = training_data()
    names = [(await color(trainer_at(host), "invoke", data)).model_name]
    names += [(await color(trainer_at(host, retrain=True), "invoke", data)).model_name for _ in range(2)]
    assert len(set(names)) == len(host.jobs) == 3
    assert len(host.contents) == 2
    assert (await color(trainer_at(host), "invoke", data)).model_name == names[-1]


@pytest.mark.parametrize("dies_at", [("POST", "/files"), ("POST", "/fine_tuning/jobs")])
def test_a_forced_job_that_was_broken_off_is_gone_on_with(host, order, dies_at):
    old = Placer(host)(order).job
    finish(host, old)
    host.files.clear()
    placer = Placer(host)
    placer.dies_at = dies_at
    with pytest.raises(BrokenOffError):
        placer(order, retrain=True)
    new = Placer(host)(order, retrain=True).job
    assert list(host.jobs) == [old.id, new.id]


async def test_a_forced_job_whose_end_nobody_saw_is_taken_up(host, color):
    data = training_data()
    trainer = trainer_at(host, retrain=True)
    job = await color(trainer, "submit", data)
    again = await color(trainer, "submit", data)
    assert (again.id, again.is_reused) == (job.id, True)
    finish(host, job)
    # It ended while nobody looked, and its model was handed to nobody.
    model = await color(trainer, "invoke", data)
    assert (model.model_name[-8:], len(host.jobs)) == (job.id[-8:], 1)
    assert (await color(trainer, "submit", data)).id != job.id


async def test_a_forced_job_that_failed_is_not_taken_up(host, color):
    host.plan = Plan(states=("running", "failed"))
    trainer = trainer_at(host, retrain=True)
    for _ in range(2):
        with pytest.raises(TrainingFailed):
            await color(trainer, "invoke", training_data())
    assert len(host.jobs) == 2


async def test_a_batch_of_the_same_rows_forces_one_job(host):
    job_ids = [job.id for job in await asyncio.gather(*(_submit(host) for _ in range(4)))]
    assert len(set(job_ids)) == len(host.jobs) == 1


async def _submit(host):
    return await trainer_at(host, retrain=True).asubmit(training_data())


# --- delete_uploads_after ---


async def test_the_uploads_are_deleted_when_the_job_has_succeeded(host, color):
    model = await color(trainer_at(host, delete_uploads_after=True), "invoke", training_data())
    assert model.model_name.startswith("ft:")
    assert host.files == {}
    assert len(host.sent("DELETE", "/files/.*")) == 2


@pytest.mark.parametrize(("status", "error"), [("failed", TrainingFailed), ("cancelled", JobCancelled)])
async def test_the_uploads_are_deleted_however_the_job_ended(host, color, status, error):
    host.plan = Plan(states=("running", status))
    with pytest.raises(error):
        await color(trainer_at(host, delete_uploads_after=True), "invoke", training_data())
    assert host.files == {}


async def test_the_uploads_are_deleted_when_the_job_is_cancelled(host, color):
    job = await color(trainer_at(host, delete_uploads_after=True), "submit", training_data())
    assert len(host.files) == 2
    await color(job, "cancel")
    assert host.files == {}


async def test_they_stay_when_nobody_asked(host, color):
    await color(trainer_at(host), "invoke", training_data())
    assert len(host.files) == 2


async def test_attaching_with_the_wish_deletes_them_too(host, color):
    job = await color(trainer_at(host), "submit", training_data())
    for file in state_directory().glob("ledger.sqlite*"):
        file.unlink()
    await color(await color(trainer_at(host, delete_uploads_after=True), "attach", job.id), "result")
    assert host.files == {}


async def test_after_a_restart_the_next_run_at_the_host_deletes_them(host, color):
    job = await color(trainer_at(host, delete_uploads_after=True), "submit", training_data())
    finish(host, job)
    other = await color(trainer_at(host), "submit", training_data(num_train=20, num_validation=3))
    assert {host.jobs[other.id]["training_file"], host.jobs[other.id]["validation_file"]} == set(host.files)


async def test_a_run_that_only_finds_the_job_deletes_them(host, color):
    job = await color(trainer_at(host), "submit", training_data())
    finish(host, job)
    await color(trainer_at(host, delete_uploads_after=True), "invoke", training_data())
    assert host.files == {}


@pytest.mark.parametrize("has_ledger", [True, False])
def test_what_another_live_job_uses_stays_until_that_has_ended(host, order, has_ledger):
    host.plan = Plan(states=("running",) * 50 + ("succeeded",))
    other = Placer(host)(replace(order, suffix="other")).job
    job = Placer(host)(order, clears_uploads=True).job
    finish(host, job)
    # The one is known from the ledger alone, or from the host's listing alone.
    if has_ledger:
        host._unlisted[other.id] = 99
    else:
        _drop_attempts_with(other.id)
    Placer(host)(replace(order, train_sha256="e" * 64))
    assert len(host.files) == 3
    finish(host, other)
    Placer(host)(replace(order, train_sha256="f" * 64, validation=None, validation_sha256=None))
    kept = {file["filename"][:9] for file in host.files.values()}
    assert kept == {"train-eee", "train-fff", "validatio"}


def _drop_attempts_with(job_id):
    import sqlite3  # noqa: PLC0415

    db = sqlite3.connect(state_directory() / "ledger.sqlite")
    with db:
        db.execute("DELETE FROM attempts WHERE job_id = ?", (job_id,))
    db.close()


async def test_a_file_that_cannot_be_deleted_is_no_failure_and_goes_later(host, color, caplog):
    host.fail("DELETE", "/files/.*", 500)
    trainer = trainer_at(host, delete_uploads_after=True)
    with caplog.at_level(logging.WARNING):
        assert (await color(trainer, "invoke", training_data())).model_name.startswith("ft:")
    assert "could not be deleted" in caplog.text
    assert len(host.files) == 1
    await color(trainer_at(host), "submit", training_data(num_train=20))
    assert "train" in " ".join(file["filename"] for file in host.files.values())
    assert len(host.files) == 2


def test_a_refused_order_leaves_the_uploads_of_others(host, order):
    Placer(host)(order)
    host.fail("POST", "/fine_tuning/jobs", Refusal(400, "no", None, "suffix").response)
    with pytest.raises(Exception, match="answered 400"):
        Placer(host)(replace(order, suffix="refused", validation=None, validation_sha256=None))
    assert len(host.files) == 2


def test_what_a_killed_run_uploaded_goes_when_the_next_is_refused(host, order):
    placer = Placer(host)
    placer.dies_at = ("POST", "/files")
    with pytest.raises(BrokenOffError):
        placer(order)
    host.fail("POST", "/fine_tuning/jobs", Refusal(403, "no", "training_not_available").response)
    with pytest.raises(Exception, match="fine-tuning"):
        Placer(host)(order)
    assert host.files == {}


# --- a disk that fills up in the midst ---


async def test_a_job_that_could_not_be_recorded_is_handed_over_all_the_same(host, color, monkeypatch, caplog):
    def created(*_):
        message = "full"
        raise StorageError(message)
        yield

    monkeypatch.setattr(Ledger, "created", created)
    with caplog.at_level(logging.WARNING):
        await color(trainer_at(host), "invoke", training_data())
    assert "could not be recorded" in caplog.text
    assert posts(host) == 1
    monkeypatch.undo()


async def test_without_room_for_the_ledger_nothing_is_sent(host, color):
    (state_directory() / "ledger.sqlite").mkdir()
    with pytest.raises(StorageError, match=r"ledger\.sqlite"):
        await color(trainer_at(host), "invoke", training_data())
    assert host.sent("POST", ".*") == []
