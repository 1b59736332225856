import asyncio
import base64
import logging

import pytest

from langchain_finetune.errors import (
    CheckpointNotFoundError,
    HostError,
    JobCancelled,
    JobError,
    JobNotFoundError,
    NotSupportedError,
    TrainingFailed,
    TrainingFileInvalid,
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
        await color(job, "to_chat_model")


async def test_the_model_of_a_failed_job_is_its_error(host, color):
    host.plan = Plan(states=("running", "failed"), error={"code": "c", "message": "bad rows", "param": None})
    job = await submit(host, color)
    assert await status_of(job, color) == "failed"
    with pytest.raises(TrainingFailed, match="bad rows"):
        await color(job, "to_chat_model")


async def test_it_shows_its_id_and_host_and_no_key(host, color):
    job = await submit(host, color)
    assert repr(job) == f"FineTuneJob('{job.id}', status='validating_files', host='openai')"


async def test_a_job_found_again_says_so(host, color):
    assert not (await submit(host, color)).is_reused
    assert (await submit(host, color)).is_reused


# --- pause and resume ---


async def test_it_can_be_paused_and_resumed_and_waiting_goes_through_it(host, color):
    host.plan = Plan(states=("running", "running", "succeeded"))
    job, told = await submit(host, color), []
    assert await color(job, "pause") == "paused"
    assert await status_of(job, color) == "paused"
    assert await color(job, "resume") == "queued"
    await color(job, "result", on_progress=told.append)
    assert told[-1]["status"] == "succeeded"


@pytest.mark.parametrize("status", [404, 405, 501])
@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("pause", "cannot pause job"),
        ("resume", "cannot resume job"),
        ("checkpoints", "lists no checkpoints of job"),
    ],
)
async def test_a_host_without_a_call_says_so(host, color, call, text, status):
    job = await submit(host, color)
    for method in ("GET", "POST"):
        host.fail(method, f".*/{call}", Refusal(status, "Not found").response, times=9)
    with pytest.raises(NotSupportedError, match=f"{text} {job.id}.*answered {status}"):
        await color(job, call)


async def test_a_job_that_the_host_does_not_have_is_not_taken_for_a_missing_call(host, color):
    job = await submit(host, color)
    host.jobs.clear()
    with pytest.raises(JobNotFoundError, match=job.id):
        await color(job, "pause")


async def test_a_pause_that_is_refused_says_why(host, color):
    job = await submit(host, color)
    with pytest.raises(HostError, match="is not running"):
        await color(job, "pause")


# --- checkpoints ---


async def test_checkpoints_are_asked_by_step_id_or_quality(host, color):
    job = await submit(host, color)
    names = {
        step: host.add_checkpoint(job.id, step, full_valid_loss=loss, train_loss=0.1)
        for step, loss in ((2, 0.5), (4, 0.3), (6, 0.4))
    }
    found = await color(job, "checkpoints")
    assert [(c.step, c.model) for c in found] == list(names.items())
    assert found[0].metrics == {"step": 2.0, "full_valid_loss": 0.5, "train_loss": 0.1}
    for which, step in ((4, 4), (found[0].id, 2), (names[2], 2), ("best", 4), ("last", 6)):
        model = await color(job, "to_chat_model", checkpoint=which)
        assert model.model_name == names[step]
        assert model.metadata["langchain_finetune"] == job.id


async def test_a_checkpoint_that_is_not_there_says_which_are(host, color):
    job = await submit(host, color)
    with pytest.raises(CheckpointNotFoundError, match="no checkpoint \\(yet\\)"):
        await color(job, "to_chat_model", checkpoint="best")
    host.add_checkpoint(job.id, 2)
    with pytest.raises(CheckpointNotFoundError, match=r"no checkpoint 3.*steps 2"):
        await color(job, "to_chat_model", checkpoint=3)
    with pytest.raises(CheckpointNotFoundError, match="no full_valid_loss"):
        await color(job, "to_chat_model", checkpoint="best")


async def test_more_checkpoints_than_a_page_are_all_there(host, color):
    job = await submit(host, color)
    for step in range(1, 131):
        host.add_checkpoint(job.id, step)
    assert [c.step for c in await color(job, "checkpoints")] == list(range(1, 131))


async def test_a_checkpoint_is_told_in_the_progress(host, color):
    host.plan = Plan(states=("queued", "running", "succeeded"))
    job, told = await submit(host, color), []
    host.add_checkpoint(job.id, 2)
    await color(job, "result", on_progress=told.append)
    assert told[-1]["checkpoint_step"] == 2
    assert any("Checkpoint created" in (p["message"] or "") for p in told)


# --- figures ---

CSV = "step,train_loss,train_accuracy,valid_loss\n1,2.5,0.1,\n2,1.5,0.2,1.75\n"


@pytest.mark.parametrize("content", [CSV.encode(), base64.b64encode(CSV.encode())])
async def test_the_result_file_is_read_whatever_its_coding(host, color, content):
    job = await submit(host, color)
    host.add_result_file(job.id, content)
    assert await color(job, "result_file") == [
        {"step": 1, "train_loss": 2.5, "train_accuracy": 0.1},
        {"step": 2, "train_loss": 1.5, "train_accuracy": 0.2, "valid_loss": 1.75},
    ]


async def test_a_result_file_that_is_none_is_said(host, color):
    job = await submit(host, color)
    with pytest.raises(JobError, match="has no result file"):
        await color(job, "result_file")
    host.add_result_file(job.id, b"<html>")
    with pytest.raises(JobError, match="cannot be read"):
        await color(job, "result_file")


async def test_metrics_are_numbers_with_validation_and_accuracy(host, color):
    job = await submit(host, color)
    data = {"step": 1, "train_loss": "0.5", "valid_loss": 0.25, "train_mean_token_accuracy": 0.75, "x": None}
    host.add_event(job.id, "Step 1", type="metrics", data=data)
    [row] = await color(job, "metrics")
    assert row == {"step": 1, "train_loss": 0.5, "valid_loss": 0.25, "train_mean_token_accuracy": 0.75}


# --- failing well ---


async def test_a_row_that_the_host_objects_to_is_named_where_it_lies_and_not_shown(host, color):
    data = training_data()
    row = data.train.read_text().splitlines()[2]
    said = f"The job failed due to an invalid training file. Example 3 cannot be parsed: {row[:60]}"
    error = {"code": "invalid_training_file", "message": said, "param": "training_file"}
    host.plan = Plan(states=("running", "failed"), error=error)
    job = await color(trainer_at(host), "submit", data)
    again = await color(trainer_at(host), "attach", job.id)
    for one in (job, again):
        with pytest.raises(TrainingFileInvalid) as caught:
            await color(one, "result")
        assert (caught.value.line_number, caught.value.location) == (3, f"{data.train}:3")
        assert f"{data.train}:3" in str(caught.value)
        assert row[:30] not in str(caught.value)
        with pytest.raises(TrainingFileInvalid):
            await color(one, "to_chat_model")


# --- leaving ---


async def test_a_description_that_the_host_does_not_give_for_now_loses_no_model(host, color):
    job = await submit(host, color)
    await color(job, "result")
    slept = []

    async def asleep(seconds):
        slept.append(seconds)

    job._connection._sleep, job._connection._asleep = slept.append, asleep
    host.fail("GET", "/models/.*", 503, times=9)
    assert (await color(job, "to_chat_model")).model_name.startswith("ft:")
    assert slept == [1.0, 2.0, 4.0, 0.0]


def waiting_job(host, *, interrupted_by):
    """A job whose waiting is interrupted at the first pause, with a trainer that cancels then."""
    host.plan = Plan(states=("running",))
    job = trainer_at(host, cancel_on_interrupt=True).submit(training_data())

    def interrupt(_):
        raise interrupted_by

    async def ainterrupt(_):
        raise interrupted_by

    job._connection._sleep, job._connection._asleep = interrupt, ainterrupt
    return job


async def test_an_interrupt_cancels_the_job_when_asked_to(host, color, caplog):
    error = asyncio.CancelledError if color.is_async else KeyboardInterrupt
    job = waiting_job(host, interrupted_by=error())
    with pytest.raises(error), caplog.at_level(logging.WARNING):
        await color(job, "result")
    assert host.jobs[job.id]["status"] == "cancelled"
    assert f"job {job.id} and cancelled it" in caplog.text


async def test_whoever_watches_is_told_when_the_job_is_left(host, color):
    error = asyncio.CancelledError if color.is_async else KeyboardInterrupt
    job, told = waiting_job(host, interrupted_by=error()), []
    with pytest.raises(error):
        await color(job, "result", on_progress=told.append)
    assert [(p["status"], p["left"]) for p in told[-2:]] == [("running", False), ("running", True)]


async def test_a_cancel_that_fails_says_so_and_how_to_come_back(host, color, caplog):
    error = asyncio.CancelledError if color.is_async else KeyboardInterrupt
    job = waiting_job(host, interrupted_by=error())
    host.fail("POST", ".*/cancel", 500, times=9)
    with pytest.raises(error), caplog.at_level(logging.WARNING):
        await color(job, "result")
    assert len(host.sent("POST", ".*/cancel")) == 1
    assert "could not be cancelled" in caplog.text
    assert f'attach("{job.id}")' in caplog.text


def test_a_second_interrupt_gives_up_at_once(host, caplog):
    job = waiting_job(host, interrupted_by=KeyboardInterrupt())
    host.fail("POST", ".*/cancel", KeyboardInterrupt(), times=9)
    with pytest.raises(KeyboardInterrupt), caplog.at_level(logging.WARNING):
        job.result()
    assert f'attach("{job.id}")' in caplog.text


async def test_a_second_cancellation_gives_up_at_once(host, caplog):
    job = waiting_job(host, interrupted_by=asyncio.CancelledError())
    begun, never = asyncio.Event(), asyncio.Event()

    async def hang(_):
        begun.set()
        await never.wait()

    job._connection.arun = hanging(job._connection.arun, hang)
    task = asyncio.create_task(job.aresult())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError), caplog.at_level(logging.WARNING):
        await task
    assert f'attach("{job.id}")' in caplog.text


def hanging(arun, hang):
    """The first exchange is done, the second one, the cancelling, hangs."""
    calls = []

    async def run(exchange, *more):
        calls.append(exchange)
        if len(calls) > 1:
            exchange.close()
            return await hang(None)
        exchange.close()
        raise asyncio.CancelledError

    return run


async def test_a_host_that_refuses_in_the_midst_says_how_to_come_back(host, color, caplog):
    host.plan = Plan(states=("running",))
    job = await submit(host, color)
    host.fail("GET", f"/fine_tuning/jobs/{job.id}", 400, times=9)
    with pytest.raises(HostError), caplog.at_level(logging.WARNING):
        await color(job, "result")
    assert f'attach("{job.id}")' in caplog.text
