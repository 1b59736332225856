"""A job's whole life at Together AI, by its real SDK against a fake of it."""

import pytest

together = pytest.importorskip(
    "together", reason="Together AI is NOT tested: pip install 'langchain-finetune[together]'"
)

from langchain_finetune.errors import (  # noqa: E402
    AuthenticationFailedError,
    DeploymentNeeded,
    HostError,
    JobCancelled,
    JobNotFoundError,
    NotSupportedError,
    SettingError,
    TrainingFailed,
    UnknownBaseError,
)
from langchain_finetune.hosts import TOGETHER  # noqa: E402
from langchain_finetune.trainers.hosts import together_protocol  # noqa: E402
from langchain_finetune.trainers.hosts.connection import Connection  # noqa: E402
from tests.fakes.colors import COLORS  # noqa: E402
from tests.fakes.loopback import Response  # noqa: E402
from tests.fakes.sdk_clients import http_clients, sdk_trainer  # noqa: E402
from tests.fakes.together_host import TogetherHost, last_body  # noqa: E402
from tests.fakes.training_rows import rows, training_data  # noqa: E402

BASE = "Qwen/Qwen3-8B"
URL = "https://together.example"


@pytest.fixture
def host():
    return TogetherHost()


@pytest.fixture(params=["sync", "async"])
def color(request):
    return COLORS[request.param]


def trainer_on(host, target=f"together:{BASE}", **settings):
    given = {"api_key": host.key, "base_url": URL, "max_retries": 0}
    sync, asynchronous = http_clients(host)
    client = together.Together(http_client=sync, **given)
    async_client = together.AsyncTogether(http_client=asynchronous, **given)
    return sdk_trainer(target, client, async_client, **settings)


async def test_a_job_is_trained_and_its_model_called_by_its_endpoints_name(color, host):
    trainer = trainer_on(host, suffix="calc", seed=3, hyperparameters={"n_epochs": 2, "lora": True})
    with pytest.raises(DeploymentNeeded) as caught:
        await color(trainer, "invoke", rows(3))
    [job] = host.jobs.values()
    assert (caught.value.job_id, caught.value.model) == (job["id"], job["model_output_name"])
    assert caught.value.call == f"tg endpoints deploy --model {caught.value.model} --endpoint <endpoint>"
    body = last_body(host)
    assert (body["n_epochs"], body["random_seed"], body["model"]) == (2, 3, BASE)
    assert body["training_type"]["type"] == "Lora"
    assert body["training_method"] == {"method": "sft", "train_on_inputs": "auto"}
    assert body["suffix"].startswith("calc-")
    [content] = host.contents.values()
    assert content.count(b"\n") == 3
    job = await color(trainer, "attach", job["id"])
    model = await color(job, "to_chat_model", deployment="acme/my-endpoint")
    assert (model.model_name, model.openai_api_base) == ("acme/my-endpoint", f"{URL}/v1")
    assert model.openai_api_key.get_secret_value() == host.key
    assert model.tiktoken_model_name == BASE


async def test_the_job_is_found_again_by_its_suffix(color, host):
    model = await color(trainer_on(host, deployment="e"), "invoke", rows(3))
    await color(trainer_on(host, deployment="e"), "invoke", rows(3))
    assert (len(host.jobs), len(host.sent("POST", "/v1/fine-tunes"))) == (1, 1)
    await color(trainer_on(host, deployment="e", hyperparameters={"n_epochs": 2}), "invoke", rows(3))
    assert len(host.jobs) == 2
    assert len(host.files) == 1
    assert model.model_name == "e"


async def test_the_job_is_found_by_its_models_name_where_the_list_has_no_suffixes(color, host):
    await color(trainer_on(host, deployment="e"), "invoke", rows(3))
    for job in host.jobs.values():
        job["suffix"] = None
    await color(trainer_on(host, deployment="e"), "invoke", rows(3))
    assert len(host.jobs) == 1


async def test_a_creation_whose_answer_was_lost_is_not_posted_again(color, host):
    host.faults.append(("POST", "/v1/fine-tunes", 503))
    await color(trainer_on(host, deployment="e"), "invoke", rows(3))
    assert len(host.jobs) == len(host.sent("POST", "/v1/fine-tunes")) == 1


async def test_validation_rows_are_sent_too(color, host):
    await color(trainer_on(host, deployment="e"), "invoke", training_data())
    body = last_body(host)
    assert host.files[body["validation_file"]]["filename"].startswith("validation-")
    assert host.contents[body["validation_file"]].count(b"\n") == 2


async def test_preferences_are_trained_by_dpo(color, host):
    trainer = trainer_on(host, method="dpo", deployment="e", hyperparameters={"beta": 0.2})
    await color(trainer, "invoke", training_data(method="dpo"))
    body = last_body(host)
    assert (body["training_method"]["method"], body["training_method"]["dpo_beta"]) == ("dpo", 0.2)


async def test_what_would_be_done_is_told_before_anything_is_sent(color, host):
    told = await color(trainer_on(host, max_cost_usd=9), "preflight", training_data())
    assert (told.n_epochs, told.price, told.limits, told.is_ready) == (1, None, None, False)
    assert told.trained_tokens == told.tokens.num_tokens
    assert "1 (auto: the default of Together's SDK, 3.1.1)" in str(told)
    assert {request.method for request in host.requests} == {"GET"}


async def test_events_and_figures_come_once_each_and_in_order(color, host):
    trainer = trainer_on(host)
    job = await color(trainer, "submit", rows(3))
    with pytest.raises(DeploymentNeeded):
        await color(job, "result")
    events = await color(job, "events")
    assert len({event["id"] for event in events}) == len(events) == 3
    assert [m["train_loss"] for m in await color(job, "metrics")] == [2.0, 1.0]
    seen = {event["id"] for event in events}
    assert await color(trainer._connection, "run", together_protocol.events_since(job.id, seen)) == []


async def test_a_failed_job_says_why(color, host):
    host.states, host.last_message = ("pending", "running", "error"), "Row 2 is bad"
    with pytest.raises(TrainingFailed, match="Row 2 is bad"):
        await color(trainer_on(host), "invoke", rows(3))


async def test_a_job_can_be_cancelled_and_not_paused(color, host):
    host.states = ("running",)
    trainer = trainer_on(host)
    job = await color(trainer, "submit", rows(3))
    for ask in (together_protocol.pause_job, together_protocol.resume_job):
        with pytest.raises(NotSupportedError, match="Together"):
            await color(trainer._connection, "run", ask(job.id))
    assert await color(job, "cancel") == "cancelled"
    with pytest.raises(JobCancelled):
        await color(job, "result")


async def test_uploads_are_known_and_so_are_the_jobs_on_them(color, host):
    trainer = trainer_on(host, deployment="d")
    await color(trainer, "invoke", rows(3))

    async def ask(exchange):
        return await color(trainer._connection, "run", exchange)

    [job] = await ask(together_protocol.jobs_on_file("file-00000000"))
    assert job.status == "succeeded"
    assert await ask(together_protocol.jobs_on_file("file-other")) == []
    size = len(next(iter(host.contents.values())))
    assert await ask(together_protocol.has_upload("file-00000000", size))
    assert not await ask(together_protocol.has_upload("file-other", size))
    assert await ask(together_protocol.is_model_ready(job.model, job.id))


async def test_what_the_host_does_not_have_is_told(color, host):
    for ask in (together_protocol.checkpoints, together_protocol.download):
        with pytest.raises(NotSupportedError, match="Together"):
            await color(trainer_on(host)._connection, "run", ask("it"))


async def test_an_unknown_job_is_told_as_one(color, host):
    with pytest.raises(JobNotFoundError, match="ft-nowhere"):
        await color(trainer_on(host), "attach", "ft-nowhere")


async def test_a_base_that_cannot_be_tuned_is_told_and_its_upload_deleted(color, host):
    with pytest.raises(UnknownBaseError, match="no/such"):
        await color(trainer_on(host, "together:no/such"), "invoke", rows(3))
    assert host.files == {}


async def test_a_setting_that_the_sdk_refuses_is_told_and_the_upload_deleted(color, host):
    trainer = trainer_on(host, hyperparameters={"lora": True, "batch_size": 1000})
    with pytest.raises(HostError, match="batch size"):
        await color(trainer, "invoke", rows(3))
    assert (host.files, host.jobs) == ({}, {})


async def test_what_together_refuses_is_refused_before_anything_is_sent(color, host):
    trainer = trainer_on(host, hyperparameters={"learning_rate_multiplier": 1})
    with pytest.raises(SettingError, match="Together AI has no hyperparameter 'learning_rate_multiplier'"):
        await color(trainer, "invoke", rows(3))
    assert host.requests == []


async def test_a_wrong_key_is_told_without_the_key(color, host):
    trainer = trainer_on(host)
    host.key = "tgp-other"
    with pytest.raises(AuthenticationFailedError, match="TOGETHER_API_KEY") as caught:
        await color(trainer, "invoke", rows(3))
    assert "tgp" not in str(caught.value)


async def test_an_answer_that_is_no_json_is_told(color, host, monkeypatch):
    page = Response(200, b"<html>", {"content-type": "text/html"})
    monkeypatch.setattr(host, "_route", lambda *_: page)
    with pytest.raises(HostError, match="no JSON"):
        await color(trainer_on(host), "attach", "ft-1")


def test_url_and_key_come_from_the_environment(monkeypatch):
    with pytest.raises(AuthenticationFailedError, match="TOGETHER_API_KEY"):
        _ = Connection(TOGETHER).client
    monkeypatch.setenv("TOGETHER_API_KEY", "tgp-env")
    connection = Connection(TOGETHER)
    assert connection.endpoint == ("https://api.together.ai/v1", "tgp-env")
    assert connection.async_client.api_key == "tgp-env"
    assert Connection(TOGETHER, async_client=connection.async_client).client.api_key == "tgp-env"
