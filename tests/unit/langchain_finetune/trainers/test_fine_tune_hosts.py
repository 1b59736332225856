"""How a trainer reaches a host, what it tells it by each method, and that its model is called there too."""

import sys

import httpx2
import openai
import pytest
from langchain_core.load import dumps
from pydantic import ValidationError

from langchain_finetune.errors import (
    AuthenticationFailedError,
    MissingExtraError,
    SettingError,
    TrainingDataError,
)
from langchain_finetune.hosts import CUSTOM, HOSTS
from langchain_finetune.trainers import FineTuneRunnable
from langchain_finetune.trainers.hosts.connection import Connection
from langchain_finetune.trainers.hosts.protocol import protocol_of
from tests.fakes.azure_host import AzureHost
from tests.fakes.clients import clients, trainer_at, trainer_of
from tests.fakes.colors import COLORS
from tests.fakes.nebius_host import NebiusHost
from tests.fakes.openai_host import FakeHost
from tests.fakes.training_rows import rows, training_data

BASE = "gpt-4.1-2025-04-14"
GRADER = {"type": "string_check", "name": "g", "input": "a", "reference": "b", "operation": "eq"}
ENVIRONMENT = {
    "LANGSMITH_GATEWAY": "true",
    "LANGSMITH_API_KEY": "lsv2_x",
    "OPENAI_BASE_URL": "http://elsewhere/v1",
    "OPENAI_API_BASE": "http://elsewhere/v1",
    "OPENAI_API_KEY": "sk-other",
    "OPENAI_ORG_ID": "org-other",
    "OPENAI_PROJECT_ID": "proj-other",
}


@pytest.fixture(params=["sync", "async"])
def color(request):
    return COLORS[request.param]


@pytest.fixture
def elsewhere(monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def reached_by_settings(host, monkeypatch, target="my/base", **settings):
    """A trainer that makes its own clients, over the fake host's transport."""
    transport = host.transport()
    monkeypatch.setattr(openai._base_client, "SyncHttpxClientWrapper", over(httpx2.Client, transport))
    monkeypatch.setattr(openai._base_client, "AsyncHttpxClientWrapper", over(httpx2.AsyncClient, transport))
    monkeypatch.setattr(openai, "DefaultAsyncHttpxClient", over(httpx2.AsyncClient, transport))
    given = {"base_url": "http://host/v1", "api_key": host.key, "poll_interval": 0.001, **settings}
    kwargs = trainer_at(host).chat_model_kwargs
    return FineTuneRunnable(target, chat_model_kwargs=kwargs, **given)


def over(kind, transport):
    def make(**settings):
        return kind(transport=transport, base_url=settings.get("base_url", ""))

    return make


async def test_any_host_is_reached_by_its_url_and_key(color, monkeypatch, elsewhere):
    host = FakeHost()
    trainer = reached_by_settings(host, monkeypatch)
    assert trainer._target == (CUSTOM, "my/base")
    model = await color(trainer, "invoke", rows(3))
    assert model.openai_api_base == "http://host/v1/"
    assert model.openai_api_key.get_secret_value() == host.key
    assert (await color(model, "invoke", "Hi")).content == "Hello."
    leaks = [(r.path, name) for r in host.requests for name, v in r.headers.items() if v.endswith("-other")]
    assert leaks == []


def test_a_key_is_in_no_dump_and_no_repr():
    trainer = FineTuneRunnable("custom:b", base_url="http://host/v1", api_key="sk-secret-key")
    shown = (
        repr(trainer),
        str(trainer),
        dumps(trainer),
        str(trainer.model_dump()),
        trainer.model_dump_json(),
    )
    assert not any("sk-secret-key" in text for text in shown)
    assert trainer._connection.endpoint.api_key == "sk-secret-key"


def test_a_client_and_a_url_or_key_are_one_too_many():
    with pytest.raises(ValidationError, match="either a client or"):
        FineTuneRunnable("b", client=openai.OpenAI(api_key="k"), api_key="other")


def test_a_custom_host_asks_for_its_url_and_its_key():
    with pytest.raises(AuthenticationFailedError, match="api_key="):
        _ = FineTuneRunnable("custom:b")._connection.client
    with pytest.raises(SettingError, match="base_url="):
        _ = FineTuneRunnable("custom:b", api_key="k")._connection.client


@pytest.mark.parametrize(
    ("target", "url", "make"),
    [
        (f"openai:{BASE}", "http://host/v1/", FakeHost),
        ("custom:b", "http://host/v1/", FakeHost),
        (f"azure:{BASE}", "https://res.openai.azure.com/openai/v1/", AzureHost),
        ("nebius:meta/llama", "https://api.tokenfactory.nebius.com/v1/", NebiusHost),
    ],
)
async def test_no_variable_splits_the_trainer_from_its_model(color, elsewhere, target, url, make):
    host = make()
    trainer = trainer_of(host, target, url, deployment="d")
    model = await color(trainer, "invoke", rows(10))
    assert model.openai_api_base == url
    assert str(model.root_client.base_url) == str(model.root_async_client.base_url) == url
    assert model.root_client.api_key == model.root_async_client.api_key == host.key


@pytest.mark.parametrize("method", ["dpo", "reinforcement"])
async def test_rows_for_another_method_are_refused(color, method):
    host = FakeHost()
    with pytest.raises(TrainingDataError, match=f"'supervised'.*'{method}'"):
        await color(trainer_at(host, method=method), "invoke", training_data())
    assert host.requests == []


async def test_dpo_is_told_with_its_hyperparameters(color):
    host = FakeHost()
    data = training_data(method="dpo")
    await color(trainer_at(host, method="dpo", hyperparameters={"beta": 0.1}), "invoke", data)
    [request] = host.sent("POST", "/fine_tuning/jobs")
    assert request.body["method"] == {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.1}}}


async def test_reinforcement_is_passed_through(color):
    host = FakeHost()
    trainer = trainer_at(
        host,
        method="reinforcement",
        method_settings={"grader": GRADER},
        hyperparameters={"eval_samples": 2},
    )
    await color(trainer, "invoke", training_data(method="reinforcement"))
    [request] = host.sent("POST", "/fine_tuning/jobs")
    settings = {"grader": GRADER, "hyperparameters": {"eval_samples": 2}}
    assert request.body["method"] == {"type": "reinforcement", "reinforcement": settings}


async def test_another_grader_and_other_fields_are_another_order(color):
    host = FakeHost()
    data = training_data(method="reinforcement")
    wandb = [{"type": "wandb", "wandb": {"project": "p"}}]
    for settings in (
        {"method_settings": {"grader": GRADER}},
        {"method_settings": {"grader": GRADER | {"operation": "ne"}}},
        {"method_settings": {"grader": GRADER}, "extra_body": {"integrations": wandb}},
    ):
        for _ in range(2):
            await color(trainer_at(host, method="reinforcement", **settings), "invoke", data)
    assert len(host.jobs) == 3
    assert list(host.sent("POST", "/fine_tuning/jobs")[-1].body["integrations"]) == wandb


async def test_the_embedded_server_refuses_preferences(color):
    with pytest.raises(SettingError, match="the embedded server does not train by the method 'dpo'"):
        await color(FineTuneRunnable("local:b", method="dpo"), "invoke", rows(10))


@pytest.mark.parametrize("name", ["together", "fireworks"])
def test_a_missing_sdk_is_told_with_the_pip_line(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"langchain_finetune.trainers.hosts.{name}_protocol", raising=False)
    with pytest.raises(MissingExtraError, match=rf'pip install "langchain-finetune\[{name}\]"'):
        Connection(HOSTS[name])


@pytest.mark.parametrize("name", ["local", "openai", "azure", "nebius", "custom"])
def test_the_other_hosts_need_no_sdk(name):
    assert protocol_of(HOSTS[name]).make_client


def test_the_clients_of_a_host_are_one_connection():
    trainer = FineTuneRunnable("b", **clients(FakeHost()))
    assert trainer._connection is trainer._connection
