"""The page about leaving OpenAI: its Python is run as it stands, against fakes of both hosts."""

import re
from datetime import date
from pathlib import Path

import httpx2
import langchain_openai
import openai
import orjson
import pytest

from finetune_server.storage.records import ALIAS_FIELD
from langchain_finetune.evaluators import ModelComparison
from langchain_finetune.trainers.hosts import connection
from langchain_finetune.trainers.jobs.key import ALIAS_FIELD as CLIENTS_ALIAS_FIELD
from langchain_finetune.trainers.local import chat_model as local_chat_model
from langchain_finetune.trainers.local.transport import Endpoint
from langchain_finetune.trainers.migration.inventory import inventory
from langchain_finetune.trainers.preflight.shutdowns import LAST_JOB, SHUTDOWNS
from tests.fakes.openai_account import OLD_MODEL, FakeAccount
from tests.fakes.openai_plan import Plan
from tests.fakes.training_rows import rows

PAGE = Path(__file__).parents[2] / "docs" / "openai-shutdown.md"
TEXT = PAGE.read_text(encoding="utf-8")
BASE = "smollm2-135m-instruct"
_BEFORE_THE_PATCHES = ModelComparison  # its module must see the real ChatOpenAI


class LocalServerAt:
    """What a trainer sees of the embedded server, with a fake host behind it."""

    num_revivals = 0

    def __init__(self, host):
        self.http_client = httpx2.Client(transport=host.transport())
        self.async_http_client = httpx2.AsyncClient(transport=host.transport())

    def endpoint(self):
        return Endpoint(base_url="http://local/v1", api_key="sk-fake")


@pytest.fixture
def old(monkeypatch):
    """The old account; a client and a chat model without settings are of this account."""
    host = FakeAccount()
    validation = host.add_file(lines_of(rows(2)))
    host.jobs["ftjob-abc123"] = host.jobs.pop(
        host.add_job(lines_of(rows()), id="ftjob-abc123", validation_file=validation)
    )
    host._looks["ftjob-abc123"] = iter(lambda: "succeeded", None)

    def at_old(cls):
        def make(**given):
            http_client = httpx2.Client(transport=host.transport())
            return cls(
                **{"api_key": "sk-fake", "base_url": "http://old/v1", "http_client": http_client, **given}
            )

        return make

    monkeypatch.setattr(openai, "OpenAI", at_old(openai.OpenAI))
    monkeypatch.setattr(langchain_openai, "ChatOpenAI", at_old(langchain_openai.ChatOpenAI))
    return host


@pytest.fixture
def local(monkeypatch):
    host = FakeAccount(bases=(BASE,))
    host.tokens_per_row = 40
    host.plan = Plan(states=("validating_files", "succeeded"))  # the first look sees the end: nobody waits
    server = LocalServerAt(host)
    for module in (connection, local_chat_model):
        monkeypatch.setattr(module, "local_server", lambda _: server)
    return host


def lines_of(content):
    return b"".join(orjson.dumps(row) + b"\n" for row in content)


def test_the_pages_python_runs_as_it_stands(old, local, capsys):
    names = {}
    printed = []
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(compile(block, PAGE.name, "exec"), names)
        printed.append(capsys.readouterr().out)
    stock, moved, ahead, _, compared = printed
    assert "ftjob-abc123" in stock
    assert OLD_MODEL in moved
    assert "480: 40 a row" in ahead
    [job] = local.jobs.values()
    assert job["metadata"][ALIAS_FIELD] == OLD_MODEL
    assert names["model"].model_name == job["fine_tuned_model"]
    assert names["report"].num_held_out == 2
    assert OLD_MODEL in compared
    assert {request.method for request in old.requests if request.path != "/chat/completions"} == {"GET"}


def test_the_pages_table_is_what_is_printed(old):
    printed = str(inventory(openai.OpenAI(), today=date(2026, 12, 25)))
    shown = next(block for block in re.findall(r"```text\n(.*?)```", TEXT, re.DOTALL) if "ft:" in block)
    assert [line.split() for line in shown.splitlines()] == [
        line.replace("file-old1", "file-abc123").split() for line in printed.splitlines()
    ]


def test_the_pages_days_are_the_tables():
    days = {date.fromisoformat(day) for day in re.findall(r"20\d\d-\d\d-\d\d", TEXT)}
    assert {LAST_JOB, *SHUTDOWNS.values()} <= days
    for base, day in SHUTDOWNS.items():
        if day == max(SHUTDOWNS.values()):
            assert f"`{base}`" in TEXT


def test_client_and_server_mean_the_same_field():
    assert ALIAS_FIELD == CLIENTS_ALIAS_FIELD
    assert f"`{ALIAS_FIELD}`" in TEXT
    assert OLD_MODEL in TEXT
