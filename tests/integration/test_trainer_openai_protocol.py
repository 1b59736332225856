"""The trainer over real HTTP, with the stock openai client and its own retries, against the fake host."""

import asyncio
import gc
import threading

import openai
import pytest
from langchain_openai import ChatOpenAI

from langchain_finetune import FineTuneRunnable, ModelComparison
from langchain_finetune.errors import (
    AuthenticationFailedError,
    HostUnreachableError,
    JobTimeoutError,
    TrainingFailed,
    TrainingNotAvailable,
)
from langchain_finetune.trainers.placing import reconciling
from tests.fakes.colors import COLORS
from tests.fakes.openai_answers import HostError as Refusal
from tests.fakes.openai_host import FakeHost
from tests.fakes.openai_plan import Plan
from tests.fakes.training_rows import training_data

BASE = "gpt-4.1-mini-2025-04-14"
RESET = ConnectionResetError()


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """A failed creation is looked up without a pause."""
    monkeypatch.setattr(reconciling, "_LOOK_PAUSES", (0.01, 0.01))


@pytest.fixture
def host():
    return FakeHost()


@pytest.fixture
def url(host):
    with host.serve() as url:
        yield url
        # The clients' connections end before the server does.
        gc.collect()


@pytest.fixture(params=["sync", "async"])
def color(request):
    return COLORS[request.param]


def trainer(url, key="sk-fake", **settings):
    client = openai.OpenAI(base_url=url, api_key=key)
    return FineTuneRunnable(f"openai:{BASE}", client=client, **{"poll_interval": 0.01, **settings})


async def answer(model, color):
    if not color.is_async:
        return model.invoke("hi").content
    content = (await model.ainvoke("hi")).content
    await model.root_async_client.close()
    return content


async def test_the_life_of_a_job(host, url, color):
    host.plan = Plan(model_late_by=2)
    model = await color(
        trainer(url, suffix="mine", hyperparameters={"n_epochs": 2}), "invoke", training_data()
    )
    assert isinstance(model, ChatOpenAI)
    assert model.model_name == f"ft:{BASE}:fake:mine:00000000"
    assert await answer(model, color) == "Hello."
    assert sorted(len(content.splitlines()) for content in host.contents.values()) == [2, 12]


async def test_the_environment_alone_names_host_and_key(host, url, color, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-fake")
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    model = await color(FineTuneRunnable(f"openai:{BASE}", poll_interval=0.01), "invoke", training_data())
    assert await answer(model, color) == "Hello."


@pytest.mark.parametrize("failure", [500, 503, RESET])
@pytest.mark.parametrize("is_after", [False, True])
async def test_a_create_that_fails_ambiguously_is_one_job(host, url, color, failure, is_after):
    host.fail("POST", "/fine_tuning/jobs", failure, is_after=is_after)
    await color(trainer(url), "invoke", training_data())
    assert len(host.jobs) == 1


async def test_polls_that_fail_in_every_way_are_ridden_out(host, url, color):
    for failure in (429, 500, 502, 503, RESET):
        host.fail("GET", "/fine_tuning/jobs/ftjob-.*", failure)
    told = []
    job = await color(trainer(url), "submit", training_data())
    await color(job, "result", told.append)
    assert [progress["step"] for progress in told if progress["status"] == "running"] == [None, 1, 2, 3, 4]


async def test_states_that_nobody_knows_and_an_empty_error_are_no_end(host, url, color):
    host.plan = Plan(states=("queued", "reticulating", "paused", "running", "succeeded"), error={})
    assert (await color(trainer(url), "invoke", training_data())).model_name.startswith("ft:")


async def test_a_failed_job_carries_code_message_param_and_events(host, url, color):
    error = {"code": "invalid_training_file", "message": "Line 3 is no chat.", "param": "training_file"}
    events = ({"message": "Line 3 is no chat.", "level": "error"},)
    host.plan = Plan(states=("validating_files", "failed"), error=error, last_events=events)
    with pytest.raises(TrainingFailed, match="Line 3 is no chat") as caught:
        await color(trainer(url), "invoke", training_data())
    assert (caught.value.code, caught.value.param) == ("invalid_training_file", "training_file")
    assert caught.value.events[-1]["level"] == "error"


async def test_an_account_that_may_not_train_leaves_no_file_behind(host, url, color):
    refusal = Refusal(403, "winding down", "training_not_available").response
    host.fail("POST", "/fine_tuning/jobs", refusal)
    with pytest.raises(TrainingNotAvailable):
        await color(trainer(url), "invoke", training_data())
    assert len(host.sent("POST", "/fine_tuning/jobs")) == 1
    assert host.files == {}


async def test_a_wrong_key_says_what_to_do_and_shows_no_key(url, color):
    with pytest.raises(AuthenticationFailedError, match="OPENAI_API_KEY") as caught:
        await color(trainer(url, key="sk-wrong"), "invoke", training_data())
    assert "sk-wrong" not in str(caught.value)


async def test_a_host_that_is_not_there_says_so(color):
    closed = openai.OpenAI(base_url="http://127.0.0.1:9/v1", api_key="k", max_retries=0)
    with pytest.raises(HostUnreachableError, match="cannot be reached"):
        await color(FineTuneRunnable(f"openai:{BASE}", client=closed), "invoke", training_data())


async def test_a_timeout_leaves_a_job_that_another_process_can_attach_to(host, url, color):
    host.plan = Plan(states=("running",) * 30 + ("succeeded",))
    with pytest.raises(JobTimeoutError) as caught:
        await color(trainer(url, timeout=0.05), "invoke", training_data())
    job = await color(trainer(url), "attach", caught.value.job_id)
    assert (await color(job, "result")).model_name.startswith("ft:")
    assert len(host.jobs) == 1


async def test_a_cancelled_wait_stops_asking(host, url):
    host.plan = Plan(states=("running",))
    task = asyncio.create_task(trainer(url).ainvoke(training_data()))
    while len(host.requests) < 15:  # noqa: ASYNC110  the host is no part of this loop
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.1)
    num_requests = len(host.requests)
    await asyncio.sleep(0.1)
    assert len(host.requests) == num_requests


async def test_a_job_can_be_cancelled_at_its_host(host, url, color):
    host.plan = Plan(states=("running",))
    job = await color(trainer(url), "submit", training_data())
    assert await color(job, "cancel") == "cancelled"
    assert host.jobs[job.id]["status"] == "cancelled"


def test_threads_with_the_same_order_make_one_job(host, url):
    data, models = training_data(), []
    threads = [
        threading.Thread(target=lambda: models.append(trainer(url).invoke(data).model_name)) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(models) == 6
    assert len(set(models)) == len(host.jobs) == 1


async def test_one_trainer_serves_several_event_loops(host, url):
    """Connections that are kept across loops fail in the second one."""
    one = trainer(url)
    data = training_data()
    for _ in range(2):
        await asyncio.to_thread(asyncio.run, one.ainvoke(data))
    assert len(host.jobs) == 1


def test_the_tuned_model_is_compared_with_its_base_over_http(host, url):
    report = ModelComparison().invoke(trainer(url).invoke(training_data()))
    # This host answers everything alike: eight training prompts are asked as well, and the report says so.
    assert (report.num_asked, report.num_failed) == (2 * (3 + 8), 0)
    assert report.is_adapter_loaded is False
    assert ModelComparison().invoke(trainer(url).invoke(training_data())).num_asked == 0
