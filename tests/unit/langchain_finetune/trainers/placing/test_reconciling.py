"""A post whose answer nobody saw: the job is looked for, by key and by upload, before another is posted."""

import logging
from dataclasses import replace

import httpx2
import pytest

from langchain_finetune._spool import state_directory
from langchain_finetune.errors import HostError
from langchain_finetune.trainers.jobs.key import KEY_FIELD, idempotency_key
from tests.fakes.openai_answers import HostError as Refusal
from tests.fakes.openai_host import FakeHost
from tests.fakes.openai_plan import Manners, Plan
from tests.fakes.placer import BrokenOffError, Placer, finish, order_in, posts, uploads

NOW = 1.7e9
"""Earlier than whatever the host does: its jobs bear the real time."""

CREATE = ("POST", "/fine_tuning/jobs")
LISTS = ("GET", "/fine_tuning/jobs")

MANNERS = [
    Manners(),
    Manners(ignores_filter=True),
    Manners(drops_metadata=True),
    Manners(drops_metadata=True, ignores_filter=True),
    Manners(listings_behind=3),
    Manners(honors_idempotency=True),
]


@pytest.fixture
def host():
    return FakeHost()


@pytest.fixture
def order(tmp_path):
    return order_in(tmp_path)


def killed_in_create(host, order, now=NOW, **wishes):
    placer = Placer(host, now)
    placer.dies_at = CREATE
    with pytest.raises(BrokenOffError):
        placer(order, **wishes)


@pytest.mark.parametrize("retrain", [False, True])
@pytest.mark.parametrize("is_created", [True, False])
@pytest.mark.parametrize("manners", MANNERS)
def test_after_a_kill_in_the_create_there_is_one_job(host, order, manners, is_created, retrain):
    host.manners = manners
    if not is_created:
        host.fail(*CREATE, httpx2.ReadError("reset"))
    killed_in_create(host, order, retrain=retrain)
    placed = Placer(host, NOW)(order, retrain=retrain)
    assert list(host.jobs) == [placed.job.id]
    assert placed.is_reused == is_created
    assert uploads(host) == 2


@pytest.mark.parametrize("manners", MANNERS)
def test_after_a_lost_answer_there_is_one_job(host, order, manners):
    host.manners = manners
    host.fail(*CREATE, httpx2.ReadTimeout("slow"), is_after=True)
    placed = Placer(host, NOW)(order)
    assert list(host.jobs) == [placed.job.id]
    assert posts(host) == 1
    # And the next run knows it by its id, whatever the host says of metadata.
    assert Placer(host, NOW)(order).job.id == placed.job.id


def test_a_kill_long_ago_costs_one_look_and_a_young_one_a_few(host, order):
    host.fail(*CREATE, httpx2.ReadError("reset"), times=2)
    killed_in_create(host, order)
    young = Placer(host, NOW + 10)
    young.dies_at = CREATE
    with pytest.raises(BrokenOffError):
        young(order)
    assert young.pauses == [0.5, 1.0, 2.0, 4.0]
    late = Placer(host, NOW + 1000)
    late(order)
    assert late.pauses == []
    assert posts(host) == 3


def test_a_job_of_another_order_on_the_same_file_is_not_taken_for_it(host, order):
    host.manners.drops_metadata = True
    other = Placer(host, NOW)(replace(order, suffix="other")).job
    host.fail(*CREATE, httpx2.ReadError("reset"))
    killed_in_create(host, order)
    assert Placer(host, NOW)(order).job.id != other.id
    assert len(host.jobs) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"model": "another-base"},
        {"created_at": 1},
        {"validation_file": "file-other"},
        {"metadata": {KEY_FIELD: "of another order"}},
    ],
)
def test_a_stranger_on_the_same_file_is_not_taken_for_it(host, order, change):
    host.manners.drops_metadata = True
    killed_in_create(host, order, now=NOW)
    [stranger] = host.jobs.values()
    stranger.update(change)
    assert Placer(host, NOW)(order).job.id != stranger["id"]


def test_a_job_that_failed_at_once_is_told_and_not_posted_again(host, order):
    host.plan = Plan(states=("failed", "failed"))
    host.fail(*CREATE, 500, is_after=True)
    assert Placer(host, NOW)(order).job.status == "failed"
    assert posts(host) == 1


def test_too_many_jobs_after_a_lost_answer_leaves_the_files_and_the_question_open(host, order):
    host.manners.listings_behind = 99
    host.fail(*CREATE, 500, is_after=True)
    host.fail(*CREATE, Refusal(429, "1 active request", "rate_limit_exceeded").response)
    with pytest.raises(HostError, match="429"):
        Placer(host, NOW)(order)
    assert len(host.files) == 2
    host.manners.listings_behind = 0
    host._unlisted.clear()
    placed = Placer(host, NOW)(order)
    assert list(host.jobs) == [placed.job.id]


def test_a_look_that_fails_is_followed_by_another(host, order):
    host.fail(*CREATE, 500, is_after=True)
    placer = Placer(host, NOW)
    answer = placer.connection._answer

    def first_look_fails(call):
        if host.jobs and len(placer.pauses) == 1:
            host.fail(*LISTS, 503)
        return answer(call)

    placer.connection._answer = first_look_fails
    placed = placer(order)
    assert list(host.jobs) == [placed.job.id]
    assert (posts(host), placer.pauses) == (1, [0.5, 1.0])


def test_looks_that_fail_to_the_last_leave_the_question_open(host, order):
    host.fail(*CREATE, 500, is_after=True)
    placer = Placer(host, NOW)
    answer = placer.connection._answer

    def looks_fail(call):
        if host.jobs and not host.sent(*LISTS)[1:]:
            host.fail(*LISTS, 503, times=4)
        return answer(call)

    placer.connection._answer = looks_fail
    with pytest.raises(HostError, match="503"):
        placer(order)
    assert posts(host) == 1
    placed = Placer(host, NOW)(order)
    assert list(host.jobs) == [placed.job.id]


def test_without_a_ledger_a_kill_is_made_up_for_by_the_key(host, order):
    killed_in_create(host, order)
    for file in state_directory().glob("ledger.sqlite*"):
        file.unlink()
    Placer(host, NOW)(order)
    assert (len(host.jobs), uploads(host)) == (1, 2)


def test_a_job_that_the_host_does_not_know_any_more_is_not_believed(host, order, caplog):
    first = Placer(host, NOW)(order).job
    del host.jobs[first.id]
    host.events["ftjob-kept"] = []
    host.jobs["ftjob-kept"] = {"id": "ftjob-kept", "metadata": {}, "status": "failed"}
    host._hold_to = lambda *_: None
    with caplog.at_level(logging.WARNING):
        assert Placer(host, NOW)(order).job.id != first.id
    assert "not believed" in caplog.text


def test_a_host_that_has_not_heard_of_its_own_new_job_yet_is_asked_again(host, order):
    first = Placer(host, NOW)(order).job
    host.fail("GET", f"/fine_tuning/jobs/{first.id}", 404, times=2)
    host._unlisted[first.id] = 9
    again = Placer(host, NOW)
    assert again(order).job.id == first.id
    assert (len(host.jobs), again.pauses) == (1, [0.5, 1.0])


def test_a_job_that_is_gone_for_long_is_asked_for_once(host, order):
    first = Placer(host, NOW)(order).job
    del host.jobs[first.id]
    host.jobs["ftjob-kept"] = {"id": "ftjob-kept", "metadata": {}, "status": "failed"}
    host._hold_to = lambda *_: None
    later = Placer(host, NOW + 3600)
    later(order)
    assert later.pauses == []


def test_a_job_of_another_order_under_an_id_of_the_ledger_is_not_believed(host, order):
    first = Placer(host, NOW)(order).job
    host.jobs[first.id]["metadata"] = {KEY_FIELD: "of another order"}
    assert Placer(host, NOW)(order).job.id != first.id


# --- the Idempotency-Key ---


def sent_keys(host):
    return [request.headers["idempotency-key"] for request in host.sent(*CREATE)]


def test_a_repeated_post_has_the_same_idempotency_key_also_after_a_kill(host, order):
    host.fail(*CREATE, 500, times=1)
    host.fail(*CREATE, httpx2.ReadError("reset"))
    killed_in_create(host, order)
    Placer(host, NOW)(order)
    assert len(sent_keys(host)) == 3
    assert len(set(sent_keys(host))) == 1


@pytest.mark.parametrize("has_ledger", [True, False])
@pytest.mark.parametrize("status", ["failed", "cancelled", "succeeded"])
def test_a_host_that_remembers_brings_no_old_job_back(host, order, status, has_ledger):
    host.manners.honors_idempotency = True
    host.plan = Plan(states=("running", status))
    first = Placer(host, NOW)(order).job
    finish(host, first, status)
    if not has_ledger:
        for file in state_directory().glob("ledger.sqlite*"):
            file.unlink()
    # The end of a job that succeeded is no reason for a new one but this.
    second = Placer(host, NOW)(order, retrain=status == "succeeded").job
    assert second.id != first.id
    assert len(set(sent_keys(host))) == 2


def test_after_a_refusal_it_is_another_key(host, order):
    host.fail(*CREATE, Refusal(400, "no", None, "seed").response)
    with pytest.raises(HostError):
        Placer(host, NOW)(order)
    Placer(host, NOW)(order)
    assert len(set(sent_keys(host))) == 2


def test_the_key_of_a_post_says_nothing_of_the_order():
    key = idempotency_key("a" * 64, 0, {"ftjob-2", "ftjob-1"}, ["file-1"])
    assert key == idempotency_key("a" * 64, 0, ["ftjob-1", "ftjob-2"], ["file-1"])
    assert len(key) == 64
    assert "a" * 10 not in key
