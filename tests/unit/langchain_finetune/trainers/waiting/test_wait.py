"""Waiting without a host and without time: the looks and the clock are given."""

import logging

import pytest

from langchain_finetune.errors import (
    AuthenticationFailedError,
    DailyLimitError,
    HostError,
    HostUnreachableError,
    JobCancelled,
    JobNotFoundError,
    JobTimeoutError,
    QuotaExceededError,
    ServerStartError,
    TrainingFailed,
)
from langchain_finetune.trainers.exchange import Sleep, Tell, run
from langchain_finetune.trainers.hosts import openai_protocol
from langchain_finetune.trainers.jobs.job_state import read_job
from langchain_finetune.trainers.waiting.wait import Circumstances, Patience, wait_for_job

NOW = 1_790_000_000.0


def job(status, **more):
    wire = {"id": "ftjob-1", "status": status, "model": "base", **more}
    if status == "succeeded":
        wire.setdefault("fine_tuned_model", "ft:base:me::a")
    return wire


def metrics(number, at=None, total=10):
    return {
        "id": f"e{number}",
        "type": "metrics",
        "level": "info",
        "message": f"Step {number}/{total}",
        "created_at": NOW + number * 2 if at is None else at,
        "data": {"step": number, "total_steps": total, "train_loss": 1 / number},
    }


def message(number, text="hello", level="info"):
    return {"id": f"m{number}", "type": "message", "level": level, "message": text, "created_at": NOW}


class Host:
    """Looks at a job, one after the other; the last one stays. Time passes only while waiting."""

    def __init__(self, *looks, timeout=1000.0, interval=1.0):
        self.looks = [look if isinstance(look, tuple | BaseException) else (look, []) for look in looks]
        self.seconds = 0.0
        self.pauses = []
        self.told = []
        self.num_looks = 0
        self.model_answers = []
        self.patience = Patience(
            timeout_seconds=timeout,
            poll_interval_seconds=interval,
            clock=lambda: self.seconds,
            wall_clock=lambda: NOW + self.seconds,
            jitter=lambda: 0.0,
        )

    def look(self):
        self.num_looks += 1
        look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(look, BaseException):
            raise look
        self.events = look[1]
        return read_job(look[0])

    def list_events(self, seen):
        if isinstance(self.events, BaseException):
            raise self.events
        return [event for event in self.events if event["id"] not in seen]

    def ask_model(self):
        answer = self.model_answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def perform(self, act):
        if isinstance(act, Sleep):
            self.pauses.append(act.seconds)
            self.seconds += act.seconds
            return None
        if isinstance(act, Tell):
            self.told.append(act.progress)
            return None
        return act()

    def wait(self, **more):
        waiting = wait_for_job("ftjob-1", openai_protocol, self.patience, Circumstances(**more))
        return run(waiting, self.perform)


@pytest.fixture(autouse=True)
def looks_of_the_host(monkeypatch):
    """The calls of a look are answered by the `Host` that performs them."""

    def retrieve(job_id, *, is_poll):
        return (yield HOST[0].look)

    def events_since(job_id, seen, *, is_poll):
        return (yield lambda: HOST[0].list_events(seen))

    def is_model_ready(name, job_id):
        return (yield HOST[0].ask_model)

    monkeypatch.setattr(openai_protocol, "is_model_ready", is_model_ready)
    monkeypatch.setattr(openai_protocol, "retrieve_job", retrieve)
    monkeypatch.setattr(openai_protocol, "events_since", events_since)


HOST = [None]


def host(*looks, **more):
    HOST[0] = Host(*looks, **more)
    return HOST[0]


def test_it_waits_until_the_job_has_succeeded():
    it = host(job("validating_files"), job("queued"), job("running"), job("succeeded"))
    assert it.wait().model == "ft:base:me::a"
    assert it.pauses == [1.0, 1.0, 1.0]
    assert [progress["status"] for progress in it.told] == [
        "validating_files",
        "queued",
        "running",
        "succeeded",
    ]


def test_a_state_is_told_once_however_long_it_lasts():
    it = host(*[job("running")] * 5, job("succeeded"))
    it.wait()
    assert [progress["status"] for progress in it.told] == ["running", "succeeded"]


@pytest.mark.parametrize("status", ["paused", "pausing", "pending", "reticulating"])
def test_states_that_are_no_end_are_waited_through(status):
    it = host(job(status), job(status), job("succeeded"))
    it.wait()
    assert [progress["status"] for progress in it.told] == [status, "succeeded"]


def test_an_unknown_state_is_shown_once_and_logged(caplog):
    it = host(job("reticulating"), job("reticulating"), job("succeeded"))
    with caplog.at_level(logging.WARNING):
        it.wait()
    assert [r.getMessage() for r in caplog.records] == [
        "job ftjob-1 is in a state this version does not know: reticulating; waiting on"
    ]
    assert "reticulating" in it.told[0]["message"]


def test_unknown_states_that_come_again_are_shown_once_each(caplog):
    odd = [job(status) for status in ("odd", "running", "odd", "strange", "odd", "running")]
    it = host(*odd, job("succeeded"))
    with caplog.at_level(logging.WARNING):
        it.wait()
    assert [p["status"] for p in it.told] == ["odd", "running", "strange", "running", "succeeded"]
    assert len(caplog.records) == 2


def test_every_new_figure_is_told_once_and_in_order():
    first, second, third = metrics(1), metrics(2), metrics(3)
    it = host(
        (job("running"), [first]),
        (job("running"), [first, second]),
        (job("succeeded"), [first, second, third]),
    )
    it.wait()
    assert [(p["status"], p["step"]) for p in it.told] == [
        ("running", None),
        ("running", 1),
        ("running", 2),
        ("running", 3),
        ("succeeded", 3),
    ]


def test_the_time_left_comes_from_the_pace_of_the_steps():
    it = host((job("running"), [metrics(1), metrics(4)]), job("succeeded"))
    it.wait()
    assert [p["seconds_left"] for p in it.told] == [None, None, 12.0, 0.0]


def test_the_time_left_comes_from_the_hosts_estimate_while_there_are_no_steps():
    it = host(job("running", estimated_finish=NOW + 90), job("succeeded"))
    it.wait()
    assert it.told[0]["seconds_left"] == 90.0


def test_a_job_that_had_ended_before_is_told_in_one_report():
    it = host((job("succeeded"), [metrics(1), metrics(2)]))
    it.wait(is_reused=True)
    assert [(p["status"], p["step"], p["reused"]) for p in it.told] == [("succeeded", 2, True)]
    assert it.pauses == []


def test_a_warning_of_the_host_is_told():
    it = host((job("running"), [message(1, "slow today", "warn"), message(2)]), job("succeeded"))
    it.wait()
    assert [p["message"] for p in it.told] == [None, "slow today", None]


def test_a_model_that_gets_its_name_late_is_waited_for():
    it = host(
        job("succeeded", fine_tuned_model=None), job("succeeded", fine_tuned_model=None), job("succeeded")
    )
    assert it.wait().model == "ft:base:me::a"
    assert it.num_looks == 3


def test_a_failed_job_says_why_on_which_file_and_what_to_do():
    error = {
        "code": "invalid_training_file",
        "message": "Line 3 is missing key 'messages'.",
        "param": "training_file",
    }
    it = host((job("failed", error=error), [message(1), message(2, "bad", "error")]))
    with pytest.raises(TrainingFailed) as caught:
        it.wait()
    e = caught.value
    assert (e.job_id, e.code, e.param) == ("ftjob-1", "invalid_training_file", "training_file")
    assert [event["id"] for event in e.events] == ["m1", "m2"]
    assert str(e).startswith(
        "job ftjob-1 failed: Line 3 is missing key 'messages' "
        "(code invalid_training_file, param training_file). "
    )


def test_a_failed_job_without_an_error_says_what_its_last_error_event_said():
    it = host((job("failed", error={}), [message(1, "out of memory", "error"), message(2, "bye")]))
    with pytest.raises(TrainingFailed, match="ftjob-1 failed: out of memory"):
        it.wait()


def test_a_failed_job_that_gives_no_reason_at_all_says_so():
    with pytest.raises(TrainingFailed, match="the host gives no reason"):
        host(job("failed", error=None)).wait()


@pytest.mark.parametrize("spelling", ["cancelled", "canceled", "CANCELLED"])
def test_a_cancelled_job_raises_its_own_error(spelling):
    with pytest.raises(JobCancelled, match="ftjob-1") as caught:
        host(job("running"), job(spelling)).wait()
    assert caught.value.job_id == "ftjob-1"


def test_the_deadline_ends_the_waiting_and_says_how_to_come_back():
    it = host(job("running"), timeout=10.0, interval=4.0)
    with pytest.raises(JobTimeoutError) as caught:
        it.wait()
    assert it.seconds == 10.0
    assert it.pauses == pytest.approx([4.0, 4.8, 1.2])
    assert 'attach("ftjob-1")' in str(caught.value)


def test_a_job_that_ends_at_the_deadline_has_ended():
    it = host(job("running"), job("succeeded"), timeout=1.0)
    assert it.wait().status == "succeeded"


@pytest.mark.parametrize(
    "error",
    [HostUnreachableError("gone"), HostError("busy", 429), HostError("broken", 500), HostError("odd", 502)],
)
def test_a_look_that_fails_for_now_is_ridden_out_with_growing_pauses(error):
    it = host(error, error, error, job("running"), job("succeeded"))
    it.wait()
    assert it.pauses == [2.0, 4.0, 8.0, 1.0]


def test_failed_looks_are_said_once_in_the_log_and_each_time_in_the_progress(caplog):
    error = HostError("busy", 503)
    it = host(job("running"), error, error, job("running"), error, job("succeeded"))
    with caplog.at_level(logging.WARNING):
        it.wait()
    assert len(caplog.records) == 1
    assert "said once: busy" in caplog.text
    assert [(p["status"], p["retry_in_seconds"]) for p in it.told] == [
        ("running", None),
        ("running", 2.0),
        ("running", 4.0),
        ("running", None),
        ("running", 2.0),
        ("succeeded", None),
    ]


def test_the_host_is_left_alone_as_long_as_it_asks():
    error = HostError("busy", 429, retry_after_seconds=37.0)
    it = host(error, job("succeeded"))
    it.wait()
    assert it.pauses == [37.0]


def test_a_limit_of_any_kind_does_not_end_the_wait_for_a_job_under_way():
    it = host(QuotaExceededError("pay", 429), DailyLimitError("tomorrow", 429), job("succeeded"))
    assert it.wait().status == "succeeded"


def test_pauses_stop_growing():
    it = host(HostUnreachableError("gone"), timeout=86_400.0)
    with pytest.raises(JobTimeoutError):
        it.wait()
    assert max(it.pauses) == 60.0


@pytest.mark.parametrize("error", [HostError("no", 400), JobNotFoundError("no such job", "ftjob-1")])
def test_a_refusal_is_raised(error):
    it = host(job("running"), error)
    with pytest.raises(type(error)) as caught:
        it.wait()
    assert caught.value is error


def test_a_host_that_dies_again_and_again_without_progress_is_given_up():
    counts = iter(range(100))
    it = host(job("running"))
    with pytest.raises(ServerStartError, match=r"died 3 times while job ftjob-1 .*server\.log"):
        it.wait(num_revivals=lambda: next(counts))


def test_a_host_that_dies_between_figures_is_waited_for():
    revivals = [0]

    def look():
        revivals[0] += 1
        return (job("running"), [metrics(revivals[0], total=20)])

    it = host(job("running"))
    it.looks = [look() for _ in range(10)] + [(job("succeeded"), [])]
    counts = iter(sorted([*range(10)] * 2))
    assert it.wait(num_revivals=lambda: next(counts, 10)).status == "succeeded"


# --- events that the host does not list, or lists late ---


@pytest.mark.parametrize(
    "error",
    [HostError("no", 403), HostError("no", 405), HostError("no", 501), JobNotFoundError("no", "ftjob-1")],
)
def test_a_host_that_lists_no_events_still_has_its_states_shown(error, caplog):
    it = host((job("running"), error), (job("running"), error), (job("succeeded"), error))
    with caplog.at_level(logging.WARNING):
        it.wait(model_grace_seconds=0.0)
    assert [p["status"] for p in it.told] == ["running", "succeeded"]
    assert len(caplog.records) == 1


def test_a_refused_key_is_no_missing_list_of_events():
    error = AuthenticationFailedError("no", 401)
    with pytest.raises(AuthenticationFailedError):
        host((job("running"), error)).wait()


def test_states_are_shown_while_the_list_of_events_is_broken_and_the_end_is_the_end():
    broken = HostError("broken", 500)
    it = host((job("queued"), broken), (job("running"), broken), (job("succeeded"), broken), timeout=1e6)
    it.model_answers = [True]
    it.wait(model_grace_seconds=600.0)
    told = [p["status"] for p in it.told if p["retry_in_seconds"] is None]
    assert told == ["queued", "running", "succeeded"]
    assert it.seconds < 200.0


def test_the_last_events_are_looked_for_until_none_is_new():
    first, late, later = metrics(1), metrics(9), metrics(10)
    it = host(
        (job("running"), [first]),
        (job("succeeded"), [first]),
        (job("succeeded"), [first, late]),
        (job("succeeded"), [first, late, later]),
        (job("succeeded"), [first, late, later]),
    )
    it.model_answers = [True]
    it.wait(model_grace_seconds=600.0)
    assert [(p["status"], p["step"]) for p in it.told][-3:] == [
        ("running", 9),
        ("running", 10),
        ("succeeded", 10),
    ]


def test_a_job_that_ended_long_ago_is_not_looked_at_again():
    it = host((job("succeeded", finished_at=NOW - 9000), [metrics(1)]))
    it.wait(model_grace_seconds=3600.0, is_reused=True)
    assert (it.num_looks, it.pauses) == (1, [])


def test_an_end_that_is_known_is_told_at_the_deadline_whatever_else_is_missing():
    it = host(job("running"), (job("succeeded"), HostError("broken", 500)), timeout=3.0)
    it.model_answers = []
    assert it.wait(model_grace_seconds=0.0).status == "succeeded"


# --- a model that is late ---


def test_a_name_that_is_late_is_waited_for_and_said_once():
    it = host(job("running"), *[job("succeeded", fine_tuned_model=None)] * 3, job("succeeded"))
    it.wait()
    assert [(p["status"], p["waiting_for"]) for p in it.told] == [
        ("running", None),
        ("succeeded", "the name of its model"),
        ("succeeded", None),
    ]


def test_a_name_that_never_comes_ends_at_the_deadline_and_says_so():
    it = host(job("succeeded", fine_tuned_model=None), timeout=50.0)
    with pytest.raises(
        JobTimeoutError, match=r"has succeeded, but the name of its model was not there.*attach"
    ):
        it.wait()
    assert it.seconds == 50.0


def test_a_model_that_cannot_be_asked_yet_is_waited_for():
    it = host(job("running"), job("succeeded"))
    it.model_answers = [False, HostError("loading", 503), False, True]
    it.wait(model_grace_seconds=600.0)
    assert it.model_answers == []
    waiting = [p for p in it.told if p["waiting_for"]]
    assert len(waiting) == 1
    assert "ft:base:me::a" in waiting[0]["waiting_for"]
    assert it.told[-1]["waiting_for"] is None


def test_a_question_for_the_model_that_fails_is_no_answer_however_late_it_comes():
    it = host(job("running"), job("succeeded"))
    it.model_answers = [*[False] * 30, HostError("loading", 503), False, True]
    it.wait(model_grace_seconds=3600.0)
    assert it.model_answers == []
    assert it.seconds > 60.0


def test_a_host_that_does_not_lag_is_not_asked_for_the_model():
    it = host(job("running"), job("succeeded"))
    it.wait(model_grace_seconds=0.0)
    assert it.pauses == [1.0]


def test_after_the_grace_the_model_is_handed_over_with_a_warning(caplog):
    it = host(job("running"), job("succeeded"))
    it.model_answers = [False] * 1000
    with caplog.at_level(logging.WARNING):
        it.wait(model_grace_seconds=120.0)
    assert "still does not know its model ft:base:me::a" in caplog.text
    assert 120.0 <= it.seconds < 200.0


def test_the_deadline_bounds_the_wait_for_the_model():
    it = host(job("running"), job("succeeded"), timeout=30.0)
    it.model_answers = [False] * 1000
    with pytest.raises(JobTimeoutError, match="model ft:base:me::a"):
        it.wait(model_grace_seconds=3600.0)
    assert it.seconds == 30.0
