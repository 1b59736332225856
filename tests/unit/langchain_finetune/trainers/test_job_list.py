"""Jobs of this machine, found again at their hosts: sync and async."""

import asyncio

import httpx2
import openai
import pytest

from langchain_finetune import achat_model, ajob_list, ajob_named, chat_model, job_list, job_named
from langchain_finetune.errors import (
    FineTuneError,
    JobNotFoundError,
    NotSupportedError,
    SettingError,
    StorageError,
    UnknownBaseError,
    UnknownProviderError,
)
from langchain_finetune.handles import OWN_TRAFFIC_KEY
from langchain_finetune.trainers import FineTuneRunnable, ahost_models, host_models
from langchain_finetune.trainers.job_list import JobList
from tests.fakes.openai_host import FakeHost
from tests.fakes.training_rows import rows

BASE = "gpt-4.1-mini-2025-04-14"


@pytest.fixture
def host(monkeypatch):
    """OpenAI, for clients that are made from the environment."""
    host = FakeHost()
    transport = host.transport()

    class Client(openai.OpenAI):
        def __init__(self, **options):
            super().__init__(**{**options, "http_client": httpx2.Client(transport=transport)})

    class AsyncClient(openai.AsyncOpenAI):
        def __init__(self, **options):
            super().__init__(**{**options, "http_client": httpx2.AsyncClient(transport=transport)})

    monkeypatch.setattr(openai, "OpenAI", Client)
    monkeypatch.setattr(openai, "AsyncOpenAI", AsyncClient)
    monkeypatch.setenv("OPENAI_API_KEY", host.key)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://host/v1")
    return host


@pytest.fixture
def job(host):
    return FineTuneRunnable(f"openai:{BASE}", poll_interval=0.001).submit(rows())


def in_both(sync, asynchronous):
    """What a function and its async twin return, or raise."""
    outcomes = []
    for call in (sync, lambda: asyncio.run(asynchronous())):
        try:
            outcomes.append(call())
        except FineTuneError as e:
            outcomes.append((type(e), str(e)))
    assert outcomes[0] == outcomes[1] or type(outcomes[0]) is type(outcomes[1])
    return outcomes[1]


def test_a_job_is_listed_with_its_state(job):
    listed = in_both(job_list, ajob_list)
    [entry] = listed
    assert (entry.name, entry.base) == (f"openai:{job.id}", BASE)
    assert job.id in str(listed)
    assert job.id in listed._repr_html_()


def test_a_job_that_the_host_has_no_more_is_listed_with_a_note(host, job):
    host.jobs.clear()
    [entry] = in_both(job_list, ajob_list)
    assert (entry.status, entry.note) == (None, "the host has it no more")


def test_jobs_of_two_accounts_and_the_newest_ones(host, job, monkeypatch):
    other = FineTuneRunnable(f"openai:{BASE}", suffix="other").submit(rows())
    host.key = "sk-of-another-account"
    monkeypatch.setenv("OPENAI_API_KEY", host.key)
    third = FineTuneRunnable(f"openai:{BASE}", suffix="third").submit(rows())
    assert [entry.job_id for entry in job_list()] == [third.id, other.id, job.id]
    assert [entry.provider for entry in job_list()] == ["openai", None, None]
    assert [entry.job_id for entry in in_both(lambda: job_list(limit=1), lambda: ajob_list(limit=1))] == [
        third.id
    ]
    assert [entry.job_id for entry in job_list(provider="openai")] == [third.id]
    with pytest.raises(SettingError, match="nobody"):
        job_list(provider="nobody")
    with pytest.raises(JobNotFoundError, match="no key of its account"):
        job_named(job.id)


def test_a_job_is_named_by_provider_or_by_its_id_alone(job):
    for name in (f"openai:{job.id}", job.id):
        found = in_both(lambda name=name: job_named(name), lambda name=name: ajob_named(name))
        assert (found.id, found.provider, found.state.base) == (job.id, "openai", BASE)
    with pytest.raises(JobNotFoundError, match="no job of that id was ordered"):
        job_named("ftjob-none")


def test_a_tuned_model_by_its_name_carries_the_mark_and_its_base_does_not(host, job):
    name = job.result().model_name
    tuned = in_both(lambda: chat_model(f"openai:{name}"), lambda: achat_model(f"openai:{name}"))
    assert tuned.metadata[OWN_TRAFFIC_KEY] == name
    base = chat_model(f"openai:{BASE}", temperature=0, metadata={"mine": 1})
    assert (base.metadata, base.temperature) == ({"mine": 1}, 0)


def test_a_model_at_a_url_needs_no_provider(host):
    for name in (BASE, f"custom:{BASE}"):
        assert chat_model(name, base_url="http://host/v1", api_key=host.key).model_name == BASE
    with pytest.raises(UnknownBaseError, match="ft:none"):
        chat_model("ft:none:x", base_url="http://host/v1", api_key=host.key)


def test_a_model_that_there_is_not(host):
    for name, error in (("openai:none", UnknownBaseError), ("nobody:x", UnknownProviderError)):
        outcome = in_both(lambda name=name: chat_model(name), lambda name=name: achat_model(name))
        assert outcome[0] is error


def test_models_of_a_host(host):
    listed = in_both(lambda: host_models("openai"), lambda: ahost_models("openai"))
    assert [model["id"] for model in listed] == [BASE]
    with pytest.raises(NotSupportedError, match="API of its own"):
        host_models("together")


def test_no_jobs_is_a_sentence():
    assert str(JobList()) == "No job was ordered from this machine yet."


def test_a_ledger_that_cannot_be_read_is_told(job, monkeypatch, tmp_path):
    monkeypatch.setenv("LANGCHAIN_FINETUNE_HOME", str(tmp_path))
    (tmp_path / "ledger.sqlite").mkdir()
    with pytest.raises(StorageError):
        job_list()
