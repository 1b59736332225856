import json

import httpx2
import openai
import pytest

from langchain_finetune.trainers.hosts.connection import Connection
from tests.fakes.openai_account import OLD_BASE, OLD_MODEL, FakeAccount
from tests.fakes.training_rows import rows
from tests.unit.langchain_finetune.cli.conftest import TARGET


@pytest.fixture
def account(monkeypatch):
    account = FakeAccount()
    http_client = httpx2.Client(transport=account.transport())

    class Client(openai.OpenAI):
        def __init__(self, **options):
            super().__init__(**{"max_retries": 0, **options, "http_client": http_client})

    monkeypatch.setattr(openai, "OpenAI", Client)
    monkeypatch.setitem(Connection.__init__.__kwdefaults__, "sleep", lambda _: None)
    monkeypatch.setenv("OPENAI_API_KEY", account.key)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://host/v1")
    return account


@pytest.fixture
def old_job(account):
    return account.add_job(b"".join(json.dumps(row).encode() + b"\n" for row in rows()))


def test_the_inventory_is_a_table_and_json(cli, account, old_job):
    [told] = cli("openai", "inventory", "--json").json
    assert (told["model"], told["base"], told["job_id"]) == (OLD_MODEL, OLD_BASE, old_job)
    assert OLD_MODEL in cli("openai", "inventory").out


def test_a_job_is_ported(cli, account, old_job):
    ahead = cli("openai", "port", old_job, "--to", TARGET, "--dry-run")
    assert ahead.code == 0
    assert "trained tokens" in ahead.out
    assert f"{old_job} on {OLD_BASE}" in ahead.err
    assert account.sent("POST", ".*") == []
    called = cli("openai", "port", old_job, "--to", TARGET, "--epochs", 1, "--json")
    assert called.code == 0
    assert called.json["model"].startswith("ft:")
    [request] = account.sent("POST", "/fine_tuning/jobs")
    assert request.body["method"]["supervised"]["hyperparameters"]["n_epochs"] == 1


def test_a_job_that_the_account_does_not_have(cli, account):
    assert cli("openai", "port", "ftjob-none", "--to", TARGET).code == 3
    assert cli("openai", "port", "ftjob-none").code == 2
