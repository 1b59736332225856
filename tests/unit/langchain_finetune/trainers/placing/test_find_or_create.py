"""Find or create, by the real client against the fake host's transport, without time."""

import logging
from dataclasses import replace

import httpx2
import pytest

from langchain_finetune.errors import (
    HostError,
    HostUnreachableError,
    TrainingNotAvailable,
    UnknownBaseError,
)
from langchain_finetune.hosts import LOCAL
from langchain_finetune.trainers.exchange import run
from langchain_finetune.trainers.jobs.key import DATA_FIELD, KEY_FIELD, job_key
from langchain_finetune.trainers.ledger.key_lock import KeyLock
from langchain_finetune.trainers.placing.find_or_create import place
from tests.fakes.loopback import Response
from tests.fakes.openai_answers import HostError as Refusal
from tests.fakes.openai_host import FakeHost
from tests.fakes.openai_plan import Plan
from tests.fakes.placer import Placer, finish, order_in, posts, uploads

BASE = "gpt-4.1-mini-2025-04-14"


@pytest.fixture
def host():
    return FakeHost()


@pytest.fixture
def order(tmp_path):
    return order_in(tmp_path)


def test_a_job_is_created_with_its_files_method_and_key(host, order):
    placed = Placer(host)(replace(order, hyperparameters={"n_epochs": 2}, suffix="mine", seed=3))
    assert not placed.is_reused
    [request] = host.sent("POST", "/fine_tuning/jobs")
    names = {host.files[file_id]["filename"]: file_id for file_id in host.files}
    body = request.body
    assert body["training_file"] == names[f"train-{'a' * 64}.jsonl"]
    assert body["validation_file"] == names[f"validation-{'b' * 64}.jsonl"]
    assert body["method"] == {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}}
    assert (body["suffix"], body["seed"], body["model"]) == ("mine", 3, BASE)
    key = job_key(replace(order, hyperparameters={"n_epochs": 2}, suffix="mine", seed=3), None)
    assert body["metadata"] == {KEY_FIELD: key, DATA_FIELD: "c" * 64}


def test_without_validation_rows_and_settings_nothing_is_said_of_them(host, order):
    Placer(host)(replace(order, validation=None, validation_sha256=None))
    [request] = host.sent("POST", "/fine_tuning/jobs")
    assert set(request.body) == {"model", "training_file", "method", "metadata"}
    assert request.body["method"] == {"type": "supervised"}


@pytest.mark.parametrize("status", ["validating_files", "running", "paused", "reticulating", "succeeded"])
def test_a_job_that_is_under_way_or_done_is_found_before_anything_is_uploaded(host, order, status):
    host.plan = Plan(states=("validating_files", "running", status))
    first = Placer(host)(order).job
    finish(host, first, status)
    second = Placer(host)(order)
    assert (second.job.id, second.is_reused) == (first.id, True)
    assert (posts(host), uploads(host)) == (1, 2)


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_job_that_failed_or_was_cancelled_is_not_taken_up(host, order, status):
    host.plan = Plan(states=("running", status))
    first = Placer(host)(order).job
    finish(host, first, status)
    second = Placer(host)(order)
    assert second.job.id != first.id
    assert not second.is_reused


def test_of_several_the_one_that_is_done_is_taken(host, order):
    done = Placer(host)(order).job
    finish(host, done)
    twin = {**host.jobs[done.id], "id": "ftjob-twin", "status": "running"}
    host.jobs["ftjob-twin"] = twin
    assert Placer(host)(order).job.id == done.id


def test_other_weights_under_the_same_name_are_another_job(host, order):
    host.models[BASE]["weights_sha256"] = "1" * 64
    first = Placer(host)(order).job
    host.models[BASE]["weights_sha256"] = "2" * 64
    assert Placer(host)(order).job.id != first.id


def test_a_job_whose_model_was_deleted_is_not_taken_up(host, order):
    first = Placer(host)(order).job
    finish(host, first)
    del host.models[host.jobs[first.id]["fine_tuned_model"]]
    assert Placer(host)(order).job.id != first.id


def test_a_model_that_is_not_listed_yet_is_not_trained_anew(host, order):
    first = Placer(host)(order).job
    finish(host, first)
    finished_at = host.jobs[first.id]["finished_at"]
    del host.models[host.jobs[first.id]["fine_tuned_model"]]
    placer = Placer(host)
    placer.now = finished_at + 600.0
    assert placer(order).job.id == first.id


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        408,
        409,
        500,
        502,
        503,
        Response(200, b"<html>"),
        httpx2.ReadTimeout("slow"),
        httpx2.ReadError("reset"),
    ],
)
def test_after_an_ambiguous_failure_there_is_one_job(host, order, answer, is_after):
    host.fail("POST", "/fine_tuning/jobs", answer, is_after=is_after)
    placer = Placer(host)
    placed = placer(order)
    assert list(host.jobs) == [placed.job.id]
    assert posts(host) == (1 if is_after else 2)
    assert uploads(host) == 2
    assert placer.pauses == ([0.5] if is_after else [0.5, 1.0, 2.0, 4.0])


def test_a_job_created_by_the_second_post_whose_answer_was_lost_too_is_found(host, order):
    host.fail("POST", "/fine_tuning/jobs", 500)
    host.fail("POST", "/fine_tuning/jobs", 500, is_after=True)
    placed = Placer(host)(order)
    assert list(host.jobs) == [placed.job.id]
    assert posts(host) == 2


def test_after_two_ambiguous_failures_it_gives_up_and_leaves_the_files_to_the_job_that_may_be(host, order):
    host.fail("POST", "/fine_tuning/jobs", 500, times=9)
    with pytest.raises(HostError) as caught:
        Placer(host)(order)
    assert caught.value.status_code == 500
    assert posts(host) == 2
    assert len(host.files) == 2


def test_a_failure_while_looking_for_the_job_is_no_reason_to_post_again(host, order):
    host.fail("POST", "/fine_tuning/jobs", 500, is_after=True)
    placer = Placer(host)
    answer = placer.connection._answer

    unreachable = HostUnreachableError("gone")

    def lookup_fails(call):
        if host.jobs:
            raise unreachable
        return answer(call)

    placer.connection._answer = lookup_fails
    with pytest.raises(HostUnreachableError):
        placer(order)
    assert posts(host) == 1
    assert len(host.files) == 2
    placer.connection._answer = answer
    assert list(host.jobs) == [placer(order).job.id]
    assert (posts(host), uploads(host)) == (1, 2)


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (Refusal(403, "winding down", "training_not_available"), TrainingNotAvailable),
        (Refusal(400, "no such base", "model_not_available", "model"), UnknownBaseError),
        (Refusal(400, "seed is too large", None, "seed"), HostError),
        (Refusal(429, "too many today", "daily_rate_limit_exceeded"), HostError),
    ],
)
def test_a_definite_refusal_is_posted_once_and_leaves_no_file_behind(host, order, refusal, error):
    host.fail("POST", "/fine_tuning/jobs", refusal.response)
    with pytest.raises(error):
        Placer(host)(order)
    assert posts(host) == 1
    assert host.files == {}


def test_a_file_that_cannot_be_deleted_does_not_hide_the_refusal(host, order, caplog):
    host.fail("POST", "/fine_tuning/jobs", Refusal(400, "no", None, "seed").response)
    host.fail("DELETE", "/files/.*", 500, times=2)
    with pytest.raises(HostError, match="answered 400"), caplog.at_level(logging.WARNING):
        Placer(host)(order)
    assert "could not be deleted" in caplog.text


def test_an_upload_that_fails_leaves_no_file_behind(host, order):
    host.fail("POST", "/files", 200)
    host.faults[0].answer = Refusal(413, "too large").response
    with pytest.raises(HostError):
        Placer(host)(order)
    assert host.files == {}
    assert posts(host) == 0


def test_an_unknown_base_of_the_embedded_server_is_refused_before_an_upload(host, order):
    with pytest.raises(UnknownBaseError, match="no-such"):
        Placer(host)(replace(order, base="no-such"), LOCAL)
    assert uploads(host) == 0


def test_a_base_that_another_host_does_not_list_may_be_one_all_the_same(host, order):
    assert Placer(host)(replace(order, base="unlisted")).job.base == "unlisted"


def test_whoever_waits_long_for_another_process_is_told_what_for(host, order, caplog):
    with KeyLock(job_key(order, None)) as other, caplog.at_level(logging.WARNING):
        assert other.is_acquired()
        placer = Placer(host)
        perform = placer.perform

        def let_go_after_long(act):
            if sum(placer.pauses) > 60:
                other._connection.close()
            return perform(act)

        run(place(order, placer.site()), let_go_after_long)
    assert caplog.text.count("the same order") == 1
    assert posts(host) == 1


def test_whoever_comes_second_waits_and_finds(host, order):
    key = job_key(order, None)
    with KeyLock(key) as other:
        assert other.is_acquired()
        placer = Placer(host)
        perform = placer.perform

        def let_go_after_three(act):
            if len(placer.pauses) == 3:
                other._connection.close()
            return perform(act)

        run(place(order, placer.site()), let_go_after_three)
    assert len(placer.pauses) >= 3
    assert posts(host) == 1
