import json

import openai
import pytest
import tiktoken
from langchain_core.load import dumps
from langchain_openai import ChatOpenAI

from langchain_finetune.hosts import LOCAL, OPENAI
from langchain_finetune.trainers.chat_model import base_of, ready_chat_model
from langchain_finetune.trainers.hosts.connection import Connection
from langchain_finetune.trainers.jobs.job_state import JobState
from langchain_finetune.trainers.local.chat_model import LocalChatOpenAI
from langchain_finetune.trainers.local.transport import Endpoint

TUNED = "ft:gpt-4.1-mini-2025-04-14:me::a1b2c3d4"


def job(base="gpt-4.1-mini-2025-04-14", model=TUNED):
    metadata = {"langchain_finetune_key": "k", "langchain_finetune_data": "f" * 64}
    return JobState(id="ftjob-1", status="succeeded", base=base, model=model, metadata=metadata)


def at_openai(**settings):
    client = openai.OpenAI(api_key="sk-secret", base_url="http://host/v1", **settings)
    return Connection(OPENAI, client)


def ready(base="gpt-4.1-mini-2025-04-14", **settings):
    return ready_chat_model(job(base), {}, at_openai(), settings)


def test_it_is_called_where_it_was_trained_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("LANGSMITH_GATEWAY", "true")
    monkeypatch.setenv("LANGSMITH_API_KEY", "lsv2_x")
    monkeypatch.setenv("OPENAI_API_BASE", "http://elsewhere/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    model = ready()
    assert model.openai_api_base == "http://host/v1/"
    assert model.openai_api_key.get_secret_value() == "sk-secret"
    assert (model.model_name, model.stream_usage) == (TUNED, True)


def test_its_metadata_leads_to_job_base_and_data():
    metadata = {key: value for key, value in ready().metadata.items() if key.startswith("langchain_finetune")}
    assert metadata == {
        "langchain_finetune": "ftjob-1",
        "langchain_finetune_provider": "openai",
        "langchain_finetune_base": "gpt-4.1-mini-2025-04-14",
        "langchain_finetune_data": "f" * 64,
    }


def test_a_job_of_unknown_data_says_nothing_of_it():
    state = JobState(id="ftjob-1", status="succeeded", base="gpt-4.1", model="ft:gpt-4.1:me::a")
    assert "langchain_finetune_data" not in ready_chat_model(state, {}, at_openai(), {}).metadata


@pytest.mark.parametrize(
    ("base", "profile"),
    [
        ("gpt-4.1-mini-2025-04-14", "gpt-4.1-mini"),
        ("gpt-4o-2024-08-06", "gpt-4o-2024-08-06"),
        ("ft:gpt-4.1-mini-2025-04-14:me::a1b2c3d4", "gpt-4.1-mini"),
    ],
)
def test_its_profile_is_the_bases(base, profile):
    assert ready(base).profile == ChatOpenAI(model=profile, api_key="x").profile
    assert ready(base).profile["tool_calling"]


def test_an_unknown_base_has_no_profile():
    assert not ready("someone/else").profile


@pytest.mark.parametrize(
    "base", ["gpt-4o-2024-08-06", "gpt-4.1-mini-2025-04-14", "ft:gpt-4.1-2025-04-14:me::a"]
)
def test_tokens_are_counted_as_the_bases(base):
    """By its own name tiktoken takes the tuned model for a gpt-4."""
    assert tiktoken.encoding_name_for_model(ready(base).tiktoken_model_name) == "o200k_base"


def test_organization_and_project_come_along():
    connection = at_openai(organization="org-1", project="p-1")
    model = ready_chat_model(job(), {}, connection, {})
    assert model.openai_organization == "org-1"
    assert model.root_client.default_headers["OpenAI-Project"] == "p-1"


def test_what_the_caller_wants_is_kept():
    model = ready(
        temperature=0.3, stream_usage=False, metadata={"team": "a"}, profile={"max_input_tokens": 5}
    )
    assert (model.temperature, model.stream_usage) == (0.3, False)
    assert model.metadata["team"] == "a"
    assert model.metadata["langchain_finetune"] == "ftjob-1"
    assert model.profile == {"max_input_tokens": 5}


def test_no_key_is_in_its_dump_or_repr():
    model = ready()
    assert "sk-secret" not in dumps(model)
    assert "sk-secret" not in repr(model)
    assert json.loads(dumps(model))["kwargs"]["openai_api_key"]["id"] == ["OPENAI_API_KEY"]


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("ft:gpt-4.1-2025-04-14:me:x:a", "gpt-4.1-2025-04-14"),
        ("gpt-4.1-2025-04-14", "gpt-4.1-2025-04-14"),
        ("org/name", "org/name"),
    ],
)
def test_the_base_of_a_name(name, base):
    assert base_of(name) == base


def test_a_model_of_the_embedded_server_knows_its_limits(monkeypatch):
    connection = Connection(LOCAL)
    endpoint = Endpoint("http://127.0.0.1:1/v1", "sk-local-x")
    monkeypatch.setattr(connection.server, "endpoint", lambda: endpoint)
    state = job("smollm2-135m-instruct", "ft:smollm2-135m-instruct:local::a")
    model = ready_chat_model(state, {"max_model_len": 2048}, connection, {})
    assert isinstance(model, LocalChatOpenAI)
    assert model.openai_api_base == "http://127.0.0.1:1/v1/"
    assert model.profile["max_input_tokens"] == 2048
    assert model.profile["tool_calling"]
    assert model.stream_usage
    assert model.metadata["langchain_finetune_provider"] == "local"
    monkeypatch.undo()
