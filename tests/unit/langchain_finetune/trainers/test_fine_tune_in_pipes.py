"""What LCEL does to a long step with side effects, and what must not come of it."""

import logging

import pytest
from langchain_core.runnables import ConfigurableField, RunnableLambda
from langchain_openai import ChatOpenAI

from langchain_finetune.errors import NotEnoughExamplesError
from tests.fakes.clients import trainer_at
from tests.fakes.colors import COLORS
from tests.fakes.openai_host import FakeHost
from tests.fakes.training_rows import rows, training_data


@pytest.fixture
def host():
    return FakeHost()


@pytest.fixture(params=["sync", "async"])
def color(request):
    return COLORS[request.param]


def test_a_stream_that_is_closed_early_trains_once(host):
    pipe = RunnableLambda(lambda _: training_data()) | trainer_at(host) | RunnableLambda(lambda _: [1, 2, 3])
    stream = pipe.stream("x")
    assert next(stream) == [1, 2, 3]
    stream.close()
    assert len(host.jobs) == 1


async def test_an_asynchronous_stream_that_is_closed_early_trains_once(host):
    pipe = RunnableLambda(lambda _: training_data()) | trainer_at(host)
    stream = pipe.astream("x")
    assert isinstance(await anext(stream), ChatOpenAI)
    await stream.aclose()
    assert len(host.jobs) == 1


def test_a_stream_that_nobody_reads_trains_nothing(host):
    pipe = RunnableLambda(lambda _: training_data()) | trainer_at(host)
    pipe.stream("x").close()
    assert host.requests == []


async def test_hosts_can_be_alternatives_of_a_configuration(host, color):
    other = FakeHost()
    trainer = trainer_at(host).configurable_alternatives(
        ConfigurableField(id="host"), default_key="here", there=trainer_at(other)
    )
    await color(trainer, "invoke", training_data(), {"configurable": {"host": "there"}})
    assert (len(host.jobs), len(other.jobs)) == (0, 1)
    await color(trainer, "invoke", rows(11))
    assert (len(host.jobs), len(other.jobs)) == (1, 1)


async def test_what_a_failed_batch_has_trained_is_there_for_the_next(host, color):
    datasets = [rows(11), rows(3), rows(12)]
    with pytest.raises(NotEnoughExamplesError):
        await color(trainer_at(host), "batch", datasets)
    models = await color(trainer_at(host), "batch", [datasets[0], datasets[2]])
    assert len({model.model_name for model in models}) == 2
    assert len(host.jobs) == 2


async def test_the_log_holds_neither_rows_nor_the_key(host, color, caplog):
    caplog.set_level(logging.DEBUG, logger="langchain_finetune")
    data = rows(11)
    for row in data:
        row["messages"][0]["content"] = f"xyzzy {row['messages'][0]['content']}"
    await color(trainer_at(host), "invoke", data)
    await color(trainer_at(host), "invoke", data)
    assert "found job" in caplog.text
    assert "xyzzy" not in caplog.text
    assert host.key not in caplog.text
