import sqlite3
import threading

import pytest

from finetune_server.storage.job_table import NewEvent
from finetune_server.storage.records import JobError
from finetune_server.storage.store import Store
from tests.server_records import job, messages, metrics, said


@pytest.fixture
def store(tmp_path):
    store = Store.open(tmp_path / "server.sqlite")
    yield store
    store.close()


def test_a_job_comes_back_as_it_was_entered(store):
    whole = job(
        metadata={"a": "b"},
        suffix="s",
        validation_file="file-2",
        result_files=("file-3",),
        error=JobError(code="c", message="m", param="p"),
        num_deaths=2,
    )
    store.jobs.create(whole, [said("one"), said("two")])
    assert store.jobs.get(whole.id) == whole
    assert messages(store, whole.id) == ["one", "two"]
    assert store.jobs.get("ftjob-none") is None


def test_a_transition_happens_only_from_the_states_it_names(store):
    store.jobs.create(job(), [])
    changed = store.jobs.transition(
        job().id, when={"queued"}, changes={"status": "running", "attempt": 1}, events=[said("go")]
    )
    assert (changed.status, changed.attempt) == ("running", 1)
    assert (
        store.jobs.transition(job().id, when={"queued"}, changes={"status": "failed"}, events=[said("no")])
        is None
    )
    assert store.jobs.get(job().id).status == "running"
    assert messages(store, job().id) == ["go"]
    assert store.jobs.transition("ftjob-none", when={"queued"}, changes={}) is None


def test_a_column_that_jobs_do_not_have_cannot_be_changed(store):
    store.jobs.create(job(), [])
    with pytest.raises(ValueError, match="no such columns"):
        store.jobs.transition(job().id, when={"queued"}, changes={"status = 'x' --": 1})


def test_a_step_that_is_reported_again_is_entered_once(store):
    store.jobs.create(job(status="running"), [])
    for events in ([metrics(1), metrics(2)], [metrics(2, loss=0.9), metrics(3), said("a"), said("a")]):
        store.jobs.transition(job().id, when={"running"}, changes={}, events=events)
    assert messages(store, job().id) == ["Step 1", "Step 2", "Step 3", "a", "a"]


def test_events_and_the_offset_they_were_read_to_are_entered_together_or_not_at_all(store):
    store.jobs.create(job(status="running"), [])
    unreadable = NewEvent(message="x", created_at=5, data={"x": object()})
    with pytest.raises(TypeError):
        store.jobs.transition(
            job().id, when={"running"}, changes={"events_offset": 9}, events=[said("a"), unreadable]
        )
    assert store.jobs.get(job().id).events_offset == 0
    assert messages(store, job().id) == []


def test_events_are_paged_newest_first(store):
    store.jobs.create(job(), [said(str(number)) for number in range(5)])
    first = store.jobs.events(job().id, limit=2)
    assert ([event.message for event in first.records], first.has_more) == (["4", "3"], True)
    rest = store.jobs.events(job().id, limit=3, after=first.records[-1].id)
    assert ([event.message for event in rest.records], rest.has_more) == (["2", "1", "0"], False)


def test_jobs_are_paged_newest_first_and_found_by_metadata(store):
    for number in range(4):
        store.jobs.create(job(number, metadata={"n": str(number % 2), "x": "y"} if number else None), [])
    ids = [job(number).id for number in range(4)]
    assert [each.id for each in store.jobs.page(limit=2).records] == [ids[3], ids[2]]
    assert [each.id for each in store.jobs.page(limit=2, after=ids[2]).records] == [ids[1], ids[0]]
    found = store.jobs.page(limit=5, metadata={"n": "1", "x": "y"})
    assert [each.id for each in found.records] == [ids[3], ids[1]]
    assert [each.id for each in store.jobs.page(limit=5, metadata={}).records] == [ids[0]]
    assert store.jobs.page(limit=5, metadata={"n": "7"}).records == ()


def test_a_look_up_by_metadata_does_not_read_every_job(store):
    with store._database.reading() as connection:
        query = "SELECT job_id FROM job_metadata WHERE key = 'k' AND value = 'v'"
        (plan,) = [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}")]
    assert plan.startswith("SEARCH")


def test_unfinished_jobs_come_in_the_order_of_their_creation(store):
    for number, status in enumerate(
        ["succeeded", "running", "queued", "paused", "queued", "validating_files"]
    ):
        store.jobs.create(job(number, status=status), [])
    assert [each.id for each in store.jobs.unfinished("queued")] == [job(2).id, job(4).id]
    assert store.jobs.num_unfinished() == 4


def test_one_idempotency_key_names_one_job(store):
    store.jobs.create(job(1), [], idempotency_key="k", request_sha256="s")
    with pytest.raises(sqlite3.IntegrityError):
        store.jobs.create(job(2), [said("x")], idempotency_key="k", request_sha256="s")
    found, digest = store.jobs.with_idempotency_key("k")
    assert (found.id, digest) == (job(1).id, "s")
    assert store.jobs.get(job(2).id) is None
    assert store.jobs.with_idempotency_key("other") is None


def test_threads_may_write_and_read_at_once(store):
    def work(first: int) -> None:
        for number in range(first, first + 20):
            store.jobs.create(job(number), [said("x")])
            assert store.jobs.get(job(number).id) is not None

    threads = [threading.Thread(target=work, args=(100 * index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.jobs.page(limit=100).records) == 80
