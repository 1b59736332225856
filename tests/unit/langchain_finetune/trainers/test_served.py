"""A tuned model as JSON can hold it."""

import pytest
from langchain_core.runnables import RunnableLambda
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, create_model

from langchain_finetune import FineTunedModel
from langchain_finetune.errors import (
    AliasError,
    AuthenticationFailedError,
    NotServableError,
    UnknownProviderError,
)
from langchain_finetune.trainers.local.chat_model import LocalChatOpenAI
from langchain_finetune.trainers.served import served, tuned_model_of
from tests.fakes.clients import trainer_at
from tests.fakes.colors import COLORS
from tests.fakes.openai_host import FakeHost
from tests.fakes.training_rows import training_data

TUNED = FineTunedModel(
    provider="openai",
    base="gpt-4.1-mini-2025-04-14",
    model="ft:x",
    base_url="https://api.openai.com/v1",
    job_id="ftjob-1",
)


@pytest.fixture(params=["sync", "async"])
def color(request):
    return COLORS[request.param]


async def test_a_served_trainer_returns_what_json_can_hold(color):
    data = training_data()
    tuned = await color(trainer_at(FakeHost()).as_served(), "invoke", data)
    assert tuned.model.startswith("ft:gpt-4.1-mini-2025-04-14")
    assert (tuned.provider, tuned.base) == ("openai", "gpt-4.1-mini-2025-04-14")
    assert tuned.base_url == "http://host/v1"
    assert tuned.fingerprint == data.fingerprint
    assert tuned.metrics["train_loss"] > 0
    again = FineTunedModel.model_validate_json(tuned.model_dump_json())
    assert again == tuned
    assert "sk-fake" not in tuned.model_dump_json()


async def test_it_tells_the_same_events_and_lands_on_the_same_job(color):
    host = FakeHost()
    trainer = trainer_at(host)
    trainer.invoke(training_data())
    pipe = RunnableLambda(lambda _: training_data()) | trainer.as_served()
    events = [event async for event in pipe.astream_events({}, version="v2")]
    assert any(event["name"] == "langchain_finetune_job" for event in events)
    assert len(host.jobs) == 1


def test_its_schema_is_the_models():
    stage = trainer_at(FakeHost()).as_served()
    assert stage.get_output_schema() is FineTunedModel
    assert "base_url" in stage.get_output_jsonschema()["properties"]
    assert stage.get_name() == "FineTuneRunnable"


def test_figures_that_the_host_does_not_tell_are_left_out():
    host = FakeHost()
    trainer = trainer_at(host)
    job = trainer.submit(training_data())
    model = job.result()
    host.fail("GET", r"/fine_tuning/jobs/[^/]+/events", 500, times=9)
    assert served(job, model).metrics == {}


def test_a_response_cannot_hold_a_trainers_output_and_the_error_names_what_can():
    output = trainer_at(FakeHost()).get_output_schema()
    assert output.model_json_schema() == {"title": "FineTuneRunnableOutput"}
    with pytest.raises(NotServableError, match=r"trainer.as_served\(\)"):
        create_model("Response", output=(output, ...))


def test_a_chat_model_that_was_not_tuned_here_is_none():
    with pytest.raises(AliasError, match=r"'gpt-4\.1' was not tuned here"):
        tuned_model_of(ChatOpenAI(model="gpt-4.1", api_key="x"))


def test_no_user_and_no_password_of_a_url_is_kept():
    model = ChatOpenAI(
        model="ft:x",
        api_key="k",
        base_url="https://me:secret@host:8443/v1?token=secret",
        metadata={"langchain_finetune": "ftjob-1"},
    )
    assert tuned_model_of(model).base_url == "https://host:8443/v1"


def test_the_environments_key_goes_where_the_provider_is(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    model = TUNED.to_chat_model(temperature=0.5)
    assert model.root_client.api_key == "sk-mine"
    assert model.temperature == 0.5
    assert model.metadata["langchain_finetune"] == "ftjob-1"


def test_and_to_the_url_that_the_environment_names(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://gateway.example/v1")
    elsewhere = TUNED.model_copy(update={"base_url": "https://gateway.example/v1"})
    assert elsewhere.to_chat_model().root_client.api_key == "sk-mine"


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/v1",
        "http://api.openai.com/v1",
        "https://api.openai.com:8443/v1",
        "https://api.openai.com.evil.example/v1",
        "https://api.openai.com@evil.example/v1",
    ],
)
def test_and_nowhere_else_whatever_the_server_says(monkeypatch, url):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    with pytest.raises(AuthenticationFailedError, match="not known to be its URL") as caught:
        TUNED.model_copy(update={"base_url": url}).to_chat_model()
    assert "sk-mine" not in str(caught.value)


def test_a_served_model_gets_no_key_of_a_host(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    elsewhere = TUNED.model_copy(update={"served_url": "http://app.example/finetune/jobs/order-1/v1"})
    assert elsewhere.to_chat_model().root_client.api_key == "none"
    assert elsewhere.to_chat_model(api_key="app-key").root_client.api_key == "app-key"


def test_without_a_key_the_error_says_which(monkeypatch):
    with pytest.raises(AuthenticationFailedError, match="OPENAI_API_KEY is not set"):
        TUNED.to_chat_model()
    custom = TUNED.model_copy(update={"provider": "custom"})
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    with pytest.raises(AuthenticationFailedError, match=r"to_chat_model\(api_key=...\)"):
        custom.to_chat_model()
    assert custom.to_chat_model(api_key="k").root_client.api_key == "k"


def test_an_unknown_provider_is_an_error():
    with pytest.raises(UnknownProviderError, match="no provider 'nobody'"):
        TUNED.model_copy(update={"provider": "nobody"}).to_chat_model()


def test_a_local_model_is_the_one_of_the_state_directory(monkeypatch):
    made = []
    monkeypatch.setattr(LocalChatOpenAI, "__init__", lambda self, **given: made.append(given))
    TUNED.model_copy(update={"provider": "local", "base_url": "http://127.0.0.1:1/v1"}).to_chat_model()
    assert made[0]["model"] == "ft:x"
    assert "base_url" not in made[0]


def test_a_model_without_the_hook_is_a_plain_one():
    class Output(BaseModel):
        value: int

    assert create_model("Response", output=(Output, ...)).model_json_schema()
