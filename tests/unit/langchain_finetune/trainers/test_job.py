import pytest

from langchain_finetune.errors import JobCancelled, JobError, TrainingFailed
from tests.fakes.clients import trainer_at
from tests.fakes.colors import COLORS
from tests.fakes.openai_host import FakeHost, Plan
from tests.fakes.training_rows import training_data


@pytest.fixture
def host():
    return FakeHost()


@pytest.fixture(params=["sync", "async"])
def color(request):
    return COLORS[request.param]


async def submit(host, color):
    return await color(trainer_at(host), "submit", training_data())


async def status_of(job, color):
    return await job.astatus() if color.is_async else job.status


async def test_its_status_is_the_hosts_of_the_moment(host, color):
    job = await submit(host, color)
    seen = [await status_of(job, color) for _ in range(4)]
    assert seen == ["queued", "running", "running", "succeeded"]


async def test_after_its_end_the_host_is_not_asked_any_more(host, color):
    job = await submit(host, color)
    await color(job, "result")
    num_requests = len(host.requests)
    assert await status_of(job, color) == "succeeded"
    assert len(host.requests) == num_requests


async def test_events_and_metrics_come_oldest_first(host, color):
    job = await submit(host, color)
    await color(job, "result")
    messages = [event["message"] for event in await color(job, "events")]
    assert messages[0].startswith("Created fine-tuning job")
    metrics = await color(job, "metrics")
    assert [figures["step"] for figures in metrics] == [1, 2, 3, 4]
    assert metrics[0]["train_loss"] == 2.0


async def test_progress_goes_to_whoever_asks_for_it(host, color):
    told = []
    job = await submit(host, color)
    await color(job, "result", on_progress=told.append)
    assert told[-1]["status"] == "succeeded"


async def test_it_can_be_cancelled(host, color):
    host.plan = Plan(states=("running",))
    job = await submit(host, color)
    assert await color(job, "cancel") == "cancelled"
    with pytest.raises(JobCancelled, match=job.id):
        await color(job, "result")


async def test_the_model_of_a_job_under_way_is_not_there_yet(host, color):
    host.plan = Plan(states=("running",))
    job = await submit(host, color)
    with pytest.raises(JobError, match="is running: wait for its model"):
        await (job.ato_chat_model() if color.is_async else _later(job.to_chat_model))


async def _later(call):
    return call()


async def test_the_model_of_a_failed_job_is_its_error(host, color):
    host.plan = Plan(states=("running", "failed"), error={"code": "c", "message": "bad rows", "param": None})
    job = await submit(host, color)
    assert await status_of(job, color) == "failed"
    with pytest.raises(TrainingFailed, match="bad rows"):
        await (job.ato_chat_model() if color.is_async else _later(job.to_chat_model))


async def test_it_shows_its_id_and_host_and_no_key(host, color):
    job = await submit(host, color)
    assert repr(job) == f"FineTuneJob('{job.id}', status='validating_files', host='openai')"


async def test_a_job_found_again_says_so(host, color):
    assert not (await submit(host, color)).is_reused
    assert (await submit(host, color)).is_reused
