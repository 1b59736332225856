"""The command as a person calls it, and OpenAI as a host that needs no network."""

import json
from typing import Any, NamedTuple

import httpx2
import openai
import pytest

from langchain_finetune.cli.main import main
from langchain_finetune.trainers.hosts.connection import Connection
from tests.fakes.openai_host import FakeHost
from tests.fakes.training_rows import file_of, rows

BASE = "gpt-4.1-mini-2025-04-14"
TARGET = f"openai:{BASE}"


class Called(NamedTuple):
    """What a call of the command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        return json.loads(self.err.splitlines()[-1])["error"]


@pytest.fixture
def cli(capsys):
    def call(*arguments: Any) -> Called:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Called(code, *capsys.readouterr())

    return call


@pytest.fixture
def host(monkeypatch):
    """OpenAI: every client that is made reaches this fake, and looks at a job come without a pause."""
    host = FakeHost()
    http_client = httpx2.Client(transport=host.transport())

    class Client(openai.OpenAI):
        def __init__(self, **options):
            super().__init__(**{"max_retries": 0, **options, "http_client": http_client})

    monkeypatch.setattr(openai, "OpenAI", Client)
    monkeypatch.setitem(Connection.__init__.__kwdefaults__, "sleep", lambda _: None)
    monkeypatch.setenv("OPENAI_API_KEY", host.key)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://host/v1")
    return host


@pytest.fixture
def row_file(tmp_path):
    return file_of(tmp_path, rows())
