"""A job's whole life at Nebius, by the real openai client against a fake of it."""

import asyncio
import logging

import pytest

from langchain_finetune.errors import (
    AccessDeniedError,
    AuthenticationFailedError,
    JobError,
    JobTimeoutError,
    NotSupportedError,
    SettingError,
    TrainingFailed,
)
from langchain_finetune.hosts import NEBIUS
from langchain_finetune.trainers.hosts import nebius_protocol
from langchain_finetune.trainers.hosts.connection import Connection
from tests.fakes.clients import trainer_of
from tests.fakes.colors import COLORS
from tests.fakes.nebius_host import NebiusHost
from tests.fakes.openai_plan import Plan
from tests.fakes.training_rows import rows

URL = "https://api.tokenfactory.nebius.com/v1/"
BASE = "meta-llama/Llama-3.1-8B-Instruct"


@pytest.fixture
def host():
    return NebiusHost()


@pytest.fixture(params=["sync", "async"])
def color(request):
    return COLORS[request.param]


def trainer_on(host, **settings):
    return trainer_of(host, f"nebius:{BASE}", URL, **settings)


async def test_a_model_is_trained_deployed_and_called_by_the_name_that_the_host_gave(color, host):
    settings = {"hyperparameters": {"n_epochs": 2, "lora": True, "lora_r": 16, "some_new_one": 1}}
    model = await color(trainer_on(host, suffix="calc", seed=3, **settings), "invoke", rows(10))
    [request] = host.sent("POST", "/fine_tuning/jobs")
    assert request.body["hyperparameters"] == settings["hyperparameters"]
    assert request.body["suffix"].startswith("calc-")
    assert not {"method", "metadata"} & request.body.keys()
    [deployed] = host.custom_models
    [job] = host.jobs
    # The last checkpoint is the tuned model.
    assert deployed["source"] == f"{job}:ftckpt_00000008"
    assert (model.model_name, model.openai_api_base) == (deployed["name"], URL)
    assert model.model_name.startswith(f"{BASE}-LoRa:")
    assert (await color(model, "invoke", "Hi")).content == "Hello."


async def test_the_job_and_the_deployment_are_found_again(color, host):
    first = await color(trainer_on(host), "invoke", rows(10))
    second = await color(trainer_on(host), "invoke", rows(10))
    assert first.model_name == second.model_name
    assert (len(host.jobs), len(host.custom_models)) == (1, 1)


async def test_a_deployment_that_was_deleted_is_made_again_without_a_training(color, host):
    await color(trainer_on(host), "invoke", rows(10))
    [job] = host.jobs.values()
    job["finished_at"] = 1
    host.custom_models.clear()
    await color(trainer_on(host), "invoke", rows(10))
    assert (len(host.jobs), len(host.custom_models)) == (1, 1)


async def test_another_order_on_the_same_data_is_another_job(color, host):
    await color(trainer_on(host), "invoke", rows(10))
    await color(trainer_on(host, hyperparameters={"n_epochs": 2}), "invoke", rows(10))
    assert len(host.jobs) == 2


async def test_a_deployment_that_is_listed_late_is_not_asked_for_again(color, host):
    host.looks_until_listed = 3
    await color(trainer_on(host), "invoke", rows(10))
    assert len(host.custom_models) == 1


@pytest.mark.parametrize("is_after", [False, True])
async def test_a_deployment_whose_answer_was_lost_is_looked_for_before_it_is_asked_for_again(
    color, host, is_after
):
    host.fail("POST", "/v0/models", 500, is_after=is_after)
    await color(trainer_on(host), "invoke", rows(10))
    assert len(host.custom_models) == 1


async def test_a_look_at_the_deployment_that_fails_for_now_is_ridden_out(color, host):
    host.fail("GET", "/v0/models", 503, times=4)
    await color(trainer_on(host), "invoke", rows(10))
    assert len(host.custom_models) == 1


async def test_a_look_at_the_deployment_that_is_refused_ends_it(color, host):
    host.fail("GET", "/v0/models", 403, times=9)
    with pytest.raises(AccessDeniedError):
        await color(trainer_on(host), "invoke", rows(10))
    assert host.custom_models == []


async def test_whoever_leaves_in_the_midst_of_a_deployment_learns_how_to_come_back(color, host, caplog):
    error = asyncio.CancelledError if color.is_async else KeyboardInterrupt
    host.looks_until_active = 10_000
    # A job that has ended is not cancelled.
    job = await color(trainer_on(host, cancel_on_interrupt=True), "submit", rows(10))
    job._connection._sleep = job._connection._asleep = interrupting(job, error)
    with pytest.raises(error), caplog.at_level(logging.WARNING):
        await color(job, "result")
    [job_id] = host.jobs
    assert f"job {job_id} has ended" in caplog.text
    assert f'attach("{job_id}").to_chat_model()' in caplog.text
    assert host.jobs[job_id]["status"] == "succeeded"


def interrupting(job, error):
    """A pause that is interrupted as soon as the job itself has ended."""

    def sleep(_):
        if job._state.is_terminal:
            raise error
        return asyncio.sleep(0) if error is asyncio.CancelledError else None

    return sleep


async def test_a_deployment_gets_the_name_that_is_given(color, host):
    model = await color(trainer_on(host, deployment="calculator"), "invoke", rows(10))
    assert ":calculator-" in model.model_name


async def test_a_deployment_that_fails_says_so(color, host):
    host.deployment_ends_in = "error"
    with pytest.raises(JobError, match="could not deploy"):
        await color(trainer_on(host), "invoke", rows(10))


async def test_a_deployment_that_takes_too_long_ends_the_waiting(color, host):
    host.looks_until_active = 10_000
    with pytest.raises(JobTimeoutError, match="to_chat_model"):
        await color(trainer_on(host), "invoke", rows(10))


async def test_what_would_be_done_is_told_before_anything_is_sent(color, host):
    told = await color(trainer_on(host, hyperparameters={"n_epochs": 2}), "preflight", rows(10))
    assert (told.price.usd_per_million_tokens, told.max_row_tokens, told.limits) == (0.4, None, None)
    assert told.cost_usd == round(2 * told.tokens.num_tokens * 0.4e-6, 4)
    assert (await color(trainer_on(host), "preflight", rows(10))).n_epochs is None
    assert {request.method for request in host.requests} == {"GET"}


async def test_a_failed_job_says_why(color, host):
    host.plan = Plan(states=("running", "failed"), error={"code": "bad_data", "message": "Row 2 is bad"})
    with pytest.raises(TrainingFailed, match="Row 2 is bad"):
        await color(trainer_on(host), "invoke", rows(10))


async def test_a_job_can_be_cancelled_and_not_paused(color, host):
    host.plan = Plan(states=("running",))
    trainer = trainer_on(host)
    job = await color(trainer, "submit", rows(10))
    for ask in (nebius_protocol.pause_job, nebius_protocol.resume_job):
        with pytest.raises(NotSupportedError, match="Nebius"):
            await color(trainer._connection, "run", ask(job.id))
    assert await color(job, "cancel") == "cancelled"


async def test_a_creation_whose_answer_was_lost_is_found_by_its_suffix(color, host):
    host.fail("POST", "/fine_tuning/jobs", 500, is_after=True)
    await color(trainer_on(host), "invoke", rows(10))
    assert len(host.jobs) == 1


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"method": "dpo"}, "dpo"),
        ({"hyperparameters": {"n_epochs": 21}}, "n_epochs"),
        ({"suffix": "x" * 48}, "suffix"),
    ],
)
async def test_what_nebius_refuses_is_refused_before_anything_is_sent(color, host, settings, named):
    with pytest.raises(SettingError, match=f"(?s)Nebius.*{named}"):
        await color(trainer_on(host, **settings), "invoke", rows(10))
    assert host.requests == []


def test_the_key_comes_from_the_environment(monkeypatch):
    with pytest.raises(AuthenticationFailedError, match="NEBIUS_API_KEY"):
        _ = Connection(NEBIUS).client
    monkeypatch.setenv("NEBIUS_API_KEY", "nebius-key")
    assert Connection(NEBIUS).endpoint == (URL, "nebius-key")
