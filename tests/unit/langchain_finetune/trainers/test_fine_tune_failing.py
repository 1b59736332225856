"""Failing well, sentence by sentence: what a caller of `invoke` learns of each way a training can fail."""

import pytest

from langchain_finetune.errors import (
    ContentPolicyError,
    DailyLimitError,
    QuotaExceededError,
    TrainingBlocked,
    TrainingFailed,
    TrainingFileInvalid,
    TrainingNotAvailable,
    TrainingOverQuota,
    UnknownBaseError,
)
from tests.fakes.clients import trainer_at
from tests.fakes.colors import COLORS
from tests.fakes.openai_answers import HostError as Refusal
from tests.fakes.openai_host import FakeHost
from tests.fakes.openai_plan import Plan
from tests.fakes.training_rows import training_data


@pytest.fixture
def host():
    return FakeHost()


@pytest.fixture(params=["sync", "async"])
def color(request):
    return COLORS[request.param]


def num_posts(host):
    return len(host.sent("POST", "/fine_tuning/jobs"))


async def test_a_failed_training_tells_code_message_param_last_events_and_the_line(host, color):
    data = training_data()
    said = "The job failed due to an invalid training file. Example 5, message 2 has no role"
    error = {"code": "invalid_training_file", "message": said, "param": "training_file"}
    host.plan = Plan(states=("running", "failed"), error=error)
    with pytest.raises(TrainingFailed) as caught:
        await color(trainer_at(host), "invoke", data)
    [job_id] = host.jobs
    told = caught.value
    assert isinstance(told, TrainingFileInvalid)
    assert (told.job_id, told.code, told.param) == (job_id, "invalid_training_file", "training_file")
    assert said in str(told)
    told_last = [event["message"] for event in told.events]
    assert told_last == [event["message"] for event in host.events[job_id]]
    assert told.events
    assert (told.line_number, told.location) == (5, f"{data.train}:5")
    assert not told.is_retryable


async def test_an_account_that_may_train_no_more_is_told_once_and_nothing_stays_at_the_host(host, color):
    refusal = Refusal(403, "OpenAI is winding down the fine-tuning platform", "training_not_available")
    host.fail("POST", "/fine_tuning/jobs", refusal.response, times=9)
    with pytest.raises(TrainingNotAvailable) as caught:
        await color(trainer_at(host), "invoke", training_data())
    assert num_posts(host) == 1
    assert (len(host.sent("POST", "/files")), host.files) == (2, {})
    assert not caught.value.is_retryable
    for fact in ("local:smollm2-135m-instruct", "base_url", "2027-01-06", "2027-01-14"):
        assert fact in str(caught.value)


@pytest.mark.parametrize(
    "case",
    [
        (429, "insufficient_quota", QuotaExceededError, False, "limit"),
        (429, "daily_rate_limit_exceeded", DailyLimitError, True, "midnight UTC"),
        (404, "model_not_found", UnknownBaseError, False, "Check the word after the colon"),
        (400, "unsafe_file", ContentPolicyError, False, "Leave out"),
    ],
    ids=lambda case: case[1],
)
async def test_each_refusal_is_its_own_class_posted_once_and_says_what_to_do(color, case):
    status, code, kind, is_retryable, way_out = case
    host = FakeHost()
    host.fail("POST", "/fine_tuning/jobs", Refusal(status, "No.", code).response, times=9)
    with pytest.raises(kind) as caught:
        await color(trainer_at(host), "invoke", training_data())
    assert type(caught.value) is kind
    assert caught.value.is_retryable is is_retryable
    assert way_out in str(caught.value)
    assert (num_posts(host), host.files) == (1, {})


@pytest.mark.parametrize(
    ("code", "kind", "category"),
    [
        ("exceeded_quota", TrainingOverQuota, QuotaExceededError),
        ("unsafe_file", TrainingBlocked, ContentPolicyError),
    ],
)
async def test_a_job_that_ends_for_the_same_reason_is_of_the_same_class(host, color, code, kind, category):
    error = {"code": code, "message": "No.", "param": None}
    host.plan = Plan(states=("running", "failed"), error=error)
    with pytest.raises(category) as caught:
        await color(trainer_at(host), "invoke", training_data())
    assert type(caught.value) is kind
    assert not caught.value.is_retryable


async def test_an_empty_error_on_a_healthy_job_is_healthy(host, color):
    # What the host sends of every job under way: https://github.com/cequence-io/openai-scala-client/issues/80
    model = await color(trainer_at(host), "invoke", training_data())
    [job] = host.jobs.values()
    assert job["error"] == {}
    assert model.model_name == job["fine_tuned_model"]
