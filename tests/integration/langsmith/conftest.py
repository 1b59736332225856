"""A LangSmith of each API, a client of it, and a clock in place of real pauses."""

import pytest

from langchain_finetune.loaders import _langsmith_api
from langchain_finetune.loaders._pacing import Budget
from tests.fakes.langsmith_host import NEW, OLD, langsmith_host
from tests.fakes.langsmith_loads import Clock, client_of


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    budget = Budget(clock=clock, sleep=clock.sleep, jitter=lambda: 0.0)
    monkeypatch.setattr(_langsmith_api, "budget_for", lambda *_: budget)
    return clock


@pytest.fixture(params=[OLD, NEW], ids=["v1", "v2"])
def host(request, clock):
    with langsmith_host(info=request.param) as host:
        yield host


@pytest.fixture
def old_host(clock):
    with langsmith_host(info=OLD) as host:
        yield host


@pytest.fixture
def new_host(clock):
    with langsmith_host(info=NEW) as host:
        yield host


@pytest.fixture
def client(host):
    client = client_of(host)
    yield client
    client.close()
