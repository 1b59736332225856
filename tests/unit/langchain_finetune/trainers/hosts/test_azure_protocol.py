"""A job's whole life at Azure, by the real openai client against a fake of it."""

import openai
import pytest

from langchain_finetune.errors import (
    AuthenticationFailedError,
    DeploymentNeeded,
    JobCancelled,
    SettingError,
    TrainingFailed,
)
from langchain_finetune.hosts import AZURE
from langchain_finetune.trainers import FineTuneRunnable
from langchain_finetune.trainers.hosts.connection import Connection
from tests.fakes.azure_host import AzureHost
from tests.fakes.clients import trainer_of
from tests.fakes.colors import COLORS
from tests.fakes.openai_plan import Plan
from tests.fakes.training_rows import rows

URL = "https://res.openai.azure.com/openai/v1/"
BASE = "gpt-4.1-2025-04-14"


@pytest.fixture
def host():
    return AzureHost()


@pytest.fixture(params=["sync", "async"])
def color(request):
    return COLORS[request.param]


def trainer_on(host, **settings):
    return trainer_of(host, f"azure:{BASE}", URL, **settings)


async def needed(color, trainer, data):
    with pytest.raises(DeploymentNeeded) as caught:
        await color(trainer, "invoke", data)
    return caught.value


async def test_a_job_ends_with_the_exact_call_that_deploys_its_model(color, host, monkeypatch):
    monkeypatch.setenv("AZURE_RESOURCE_GROUP", "my-group")
    monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", "0000-1111")
    error = await needed(color, trainer_on(host), rows(10))
    [job] = host.jobs.values()
    assert (error.job_id, error.model) == (job["id"], job["fine_tuned_model"])
    assert error.call == (
        "az cognitiveservices account deployment create --resource-group my-group --name res "
        f"--deployment-name <deployment> --model-name {error.model} --model-version 1 "
        '--model-format "OpenAI" --sku-name Standard --sku-capacity 1'
    )
    assert (
        "PUT https://management.azure.com/subscriptions/0000-1111/resourceGroups/my-group/providers/"
        "Microsoft.CognitiveServices/accounts/res/deployments/<deployment>?api-version=2024-10-01"
    ) in str(error)
    assert f'attach("{job["id"]}")' in str(error)


async def test_what_is_not_known_of_the_resource_is_left_to_fill_in(color, host, monkeypatch):
    monkeypatch.delenv("AZURE_RESOURCE_GROUP", raising=False)
    trainer = trainer_of(host, f"azure:{BASE}", "https://gateway.example.com/openai/v1/")
    error = await needed(color, trainer, rows(10))
    assert "--resource-group <resource-group> --name <resource>" in error.call


async def test_once_deployed_it_answers_by_the_deployments_name(color, host):
    trainer = trainer_on(host)
    error = await needed(color, trainer, rows(10))
    host.deploy(error.call, "calc")
    job = await color(trainer, "attach", error.job_id)
    model = await color(job, "to_chat_model", deployment="calc")
    assert (model.model_name, model.openai_api_base) == ("calc", URL)
    assert model.tiktoken_model_name == BASE
    assert model.profile["tool_calling"]
    assert model.stream_usage
    assert (await color(model, "invoke", "Hi")).content == "Hello."


async def test_with_a_deployment_the_same_pipe_returns_the_model_and_trains_no_second_time(color, host):
    error = await needed(color, trainer_on(host), rows(10))
    host.deploy(error.call, "calc")
    model = await color(trainer_on(host, deployment="calc"), "invoke", rows(10))
    assert model.model_name == "calc"
    assert len(host.jobs) == 1
    assert not any("metadata" in name for r in host.sent("GET", "/fine_tuning/jobs") for name in r.query)


async def test_a_model_that_the_list_of_models_lacks_is_not_trained_anew(color, host):
    await needed(color, trainer_on(host), rows(10))
    [job] = host.jobs.values()
    job["finished_at"] = 1
    await needed(color, trainer_on(host), rows(10))
    assert len(host.jobs) == 1


async def test_the_training_type_is_sent_as_a_field_of_the_job(color, host):
    await needed(color, trainer_on(host, extra_body={"trainingType": "GlobalStandard"}), rows(10))
    assert host.training_types == ["GlobalStandard"]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"extra_body": {"trainingType": "Cheap"}}, "trainingType"),
        ({"suffix": "x" * 19}, "suffix"),
        ({"suffix": "a.b"}, "suffix"),
    ],
)
async def test_what_azure_refuses_is_refused_before_anything_is_sent(color, host, settings, named):
    with pytest.raises(SettingError, match=f"(?s)Azure.*{named}"):
        await color(trainer_on(host, **settings), "invoke", rows(10))
    assert host.requests == []


async def test_what_azure_does_not_tell_is_not_known_and_not_openais(color, host):
    told = await color(trainer_on(host), "preflight", rows(10))
    assert (told.n_epochs, told.price, told.shutdown_date, told.limits) == (None,) * 4
    assert told.max_row_tokens == 65_536


async def test_a_failed_job_says_why(color, host):
    host.plan = Plan(
        states=("pending", "running", "failed"),
        error={"code": "invalid_training_file", "message": "Line 3 is bad", "param": "training_file"},
    )
    with pytest.raises(TrainingFailed, match="Line 3 is bad"):
        await color(trainer_on(host), "invoke", rows(10))


async def test_a_cancelled_job_is_told_as_one_in_either_spelling(color, host):
    host.plan = Plan(states=("pending", "canceled"))
    with pytest.raises(JobCancelled):
        await color(trainer_on(host), "invoke", rows(10))


async def test_a_job_can_be_cancelled(color, host):
    host.plan = Plan(states=("running",))
    job = await color(trainer_on(host), "submit", rows(10))
    assert await color(job, "cancel") == "cancelled"


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://res.openai.azure.com",
        "https://res.openai.azure.com/",
        "https://res.openai.azure.com/openai/v1",
        "https://res.openai.azure.com/openai/v1/",
    ],
)
def test_url_and_key_come_from_the_environment(monkeypatch, endpoint):
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", endpoint)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "azure-key")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-not-azures-business")
    connection = Connection(AZURE)
    assert connection.endpoint == (URL, "azure-key")
    for client in (connection.client, connection.async_client):
        header = client.with_options(max_retries=0).default_headers["OpenAI-Organization"]
        assert isinstance(header, openai.Omit)


def test_a_missing_key_and_a_missing_url_name_their_variables(monkeypatch):
    with pytest.raises(AuthenticationFailedError, match="AZURE_OPENAI_API_KEY"):
        _ = Connection(AZURE).client
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "azure-key")
    with pytest.raises(SettingError, match="AZURE_OPENAI_ENDPOINT"):
        _ = Connection(AZURE).client


def test_the_models_of_a_client_of_the_dated_api_are_called_at_v1():
    client = openai.AzureOpenAI(
        azure_endpoint="https://res.openai.azure.com", api_key="k", api_version="2025-04-01-preview"
    )
    assert Connection(AZURE, client).endpoint == (URL, "k")


@pytest.mark.parametrize("given_as", ["client", "api_key"])
async def test_an_entra_token_is_asked_for_anew_by_trainer_and_model(color, host, given_as):
    tokens = iter(f"token-{number}" for number in range(1000))
    asked = []

    def provide():
        asked.append(next(tokens))
        return host.key

    if given_as == "client":
        trainer = FineTuneRunnable(
            f"azure:{BASE}", client=openai.OpenAI(base_url=URL, api_key=provide), deployment="calc"
        )
    else:
        trainer = FineTuneRunnable(f"azure:{BASE}", base_url=URL, api_key=provide, deployment="calc")
    connection = trainer._connection
    assert connection.endpoint.api_key is provide
    connection.client._client = openai.DefaultHttpxClient(transport=host.transport())
    connection.async_client._client = openai.DefaultAsyncHttpxClient(transport=host.transport())
    host.deployments["calc"] = "x"
    trainer.poll_interval = 0.001
    model = await color(trainer, "invoke", rows(10))
    before = len(asked)
    assert before > 3
    model.root_client._client = connection.client._client
    model.root_async_client._client = connection.async_client._client
    await color(model, "invoke", "Hi")
    assert len(asked) == before + 1
