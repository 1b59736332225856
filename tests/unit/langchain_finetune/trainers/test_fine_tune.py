"""The stage in a pipe: what LCEL does to it, sync and async, against the fake host."""

import asyncio
import json
import logging
from uuid import uuid4

import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.load import dumps, load
from langchain_core.runnables import ConfigurableField, Runnable, RunnableLambda, RunnableParallel
from langchain_core.tracers.base import BaseTracer
from langchain_openai import ChatOpenAI
from pydantic import ValidationError

from langchain_finetune.errors import (
    JobNotFoundError,
    NotEnoughExamplesError,
    SourceNotFoundError,
    TrainingFailed,
    TrainingNotAvailable,
    UnknownProviderError,
)
from langchain_finetune.handles import TrainingData
from langchain_finetune.trainers import FineTuneJob, FineTuneRunnable
from tests.fakes.clients import clients, trainer_at
from tests.fakes.colors import COLORS
from tests.fakes.openai_answers import HostError as Refusal
from tests.fakes.openai_host import FakeHost
from tests.fakes.openai_plan import Plan
from tests.fakes.training_rows import file_of, rows, training_data

BASE = "gpt-4.1-mini-2025-04-14"


@pytest.fixture
def host():
    return FakeHost()


@pytest.fixture(params=["sync", "async"])
def color(request):
    return COLORS[request.param]


class Recorder(BaseTracer):
    """Keeps the finished root runs, as a tracer would send them."""

    def __init__(self):
        super().__init__()
        self.runs = []

    def _persist_run(self, run):
        self.runs.append(run)


class Events(BaseCallbackHandler):
    run_inline = True

    def __init__(self):
        self.events = []

    def on_custom_event(self, name, data, *, run_id, **kwargs):
        self.events.append((name, data))


def posts(host):
    return len(host.sent("POST", "/fine_tuning/jobs"))


async def test_it_trains_and_returns_a_chat_model_that_works(host, color):
    model = await color(trainer_at(host), "invoke", training_data())
    assert isinstance(model, ChatOpenAI)
    assert model.model_name == f"ft:{BASE}:fake::00000000"
    assert (await color(model, "invoke", "hi")).content == "Hello."


async def test_a_second_call_finds_the_job_uploads_nothing_and_says_so(host, color):
    data, events = training_data(), Events()
    first = await color(trainer_at(host), "invoke", data)
    num_uploads = len(host.contents)
    second = await color(trainer_at(host), "invoke", data, {"callbacks": [events]})
    assert second.model_name == first.model_name
    assert (posts(host), len(host.contents)) == (1, num_uploads)
    [(name, progress)] = events.events
    assert name == "langchain_finetune_job"
    assert (progress["status"], progress["reused"], progress["step"]) == ("succeeded", True, 4)


async def test_progress_is_told_in_order(host, color):
    events = Events()
    await color(trainer_at(host), "invoke", training_data(), {"callbacks": [events]})
    told = [(data["status"], data["step"], data["total_steps"]) for _, data in events.events]
    assert told == [
        ("queued", None, None),
        ("running", None, None),
        ("running", 1, 4),
        ("running", 2, 4),
        ("running", 3, 4),
        ("running", 4, 4),
        ("succeeded", 4, 4),
    ]
    json.dumps([data for _, data in events.events])
    assert all(data["reused"] is False for _, data in events.events)


@pytest.mark.parametrize("kind", ["path", "str", "rows", "generator", "dict"])
async def test_it_takes_what_a_person_would_hand_over(host, color, tmp_path, kind):
    path = file_of(tmp_path, rows())
    given = {
        "path": path,
        "str": str(path),
        "rows": rows(),
        "generator": (row for row in rows()),
        "dict": training_data().model_dump(mode="json"),
    }[kind]
    await color(trainer_at(host), "invoke", given)
    assert posts(host) == 1


async def test_the_validation_rows_are_left_out_when_asked(host, color):
    await color(trainer_at(host, validation=False), "invoke", training_data())
    assert len(host.contents) == 1


async def test_too_few_rows_are_refused_before_anything_is_asked_of_the_host(host, color):
    with pytest.raises(NotEnoughExamplesError, match="9 training rows, OpenAI needs at least 10"):
        await color(trainer_at(host), "invoke", rows(9))
    assert host.requests == []


async def test_rows_that_were_cleaned_away_are_named(host, color):
    data = training_data()
    data.train.unlink()
    with pytest.raises(SourceNotFoundError, match=r"train\.jsonl"):
        await color(trainer_at(host), "invoke", data)


async def test_a_failed_job_raises_with_its_reason(host, color):
    error = {"code": "invalid_training_file", "message": "Line 3 is no chat.", "param": "training_file"}
    host.plan = Plan(states=("validating_files", "failed"), error=error)
    with pytest.raises(TrainingFailed, match="Line 3 is no chat") as caught:
        await color(trainer_at(host), "invoke", training_data())
    assert caught.value.param == "training_file"


# --- leaving and coming back ---


async def test_submit_returns_at_once_and_the_job_can_be_waited_for(host, color):
    job = await color(trainer_at(host), "submit", training_data())
    assert isinstance(job, FineTuneJob)
    assert host.sent("GET", "/fine_tuning/jobs/.*") == []
    assert (await color(job, "result")).model_name.startswith("ft:")


async def test_attach_comes_back_to_a_job_with_all_that_the_model_needs(host, color):
    data = training_data()
    job = await color(trainer_at(host), "submit", data)
    attached = await color(trainer_at(host), "attach", job.id)
    model = await color(attached, "result")
    assert model.metadata["langchain_finetune"] == job.id
    assert model.metadata["langchain_finetune_data"] == data.fingerprint


async def test_attach_to_no_job_says_so(host, color):
    with pytest.raises(JobNotFoundError, match="ftjob-none"):
        await color(trainer_at(host), "attach", "ftjob-none")


async def test_a_cancellation_stops_the_polling_leaves_the_job_and_says_how_to_come_back(host, caplog):
    host.plan = Plan(states=("running",))
    task = asyncio.create_task(trainer_at(host).ainvoke(training_data()))
    while len(host.requests) < 20:  # noqa: ASYNC110  the host is no part of this loop
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError), caplog.at_level(logging.WARNING):
        await task
    num_requests = len(host.requests)
    await asyncio.sleep(0.05)
    assert len(host.requests) == num_requests
    [job_id] = host.jobs
    assert host.jobs[job_id]["status"] == "running"
    assert f'FineTuneRunnable("openai:{BASE}").attach("{job_id}")' in caplog.text


def test_an_interrupt_leaves_the_job_and_says_how_to_come_back(host, caplog):
    host.plan = Plan(states=("running",))

    def interrupt(_):
        raise KeyboardInterrupt

    trainer = trainer_at(host)
    trainer._connection._sleep = interrupt
    with pytest.raises(KeyboardInterrupt), caplog.at_level(logging.WARNING):
        trainer.invoke(training_data())
    assert 'attach("ftjob-' in caplog.text
    assert host.sent("POST", ".*/cancel") == []


# --- in a pipe ---


def test_it_is_a_runnable_and_no_function():
    trainer = FineTuneRunnable("local:smollm2-135m-instruct")
    pipe = RunnableLambda(lambda _: training_data()) | trainer
    assert isinstance(trainer, Runnable)
    assert pipe.steps[-1] is trainer


async def test_the_model_comes_out_of_a_pipe_uncalled(host, color):
    pipe = RunnableLambda(lambda _: training_data()) | trainer_at(host)
    assert isinstance(await color(pipe, "invoke", "x"), ChatOpenAI)
    assert host.sent("POST", "/chat/completions") == []


def test_stream_gives_the_model_once(host):
    pipe = RunnableLambda(lambda _: training_data()) | trainer_at(host)
    [model] = list(pipe.stream("x"))
    assert isinstance(model, ChatOpenAI)


async def test_astream_events_carries_the_progress(host):
    pipe = RunnableLambda(lambda _: training_data()) | trainer_at(host)
    names, outputs = [], []
    async for event in pipe.astream_events("x", version="v2"):
        names.append((event["event"], event["name"]))
        if event["event"] == "on_chain_end" and event["name"] == "FineTuneRunnable":
            outputs.append(event["data"]["output"])
    assert names.count(("on_custom_event", "langchain_finetune_job")) == 7
    assert isinstance(outputs[0], ChatOpenAI)
    assert posts(host) == 1


def test_rows_streamed_in_lists_are_all_trained_on(host):
    def halves(_):
        for chunk in _:
            yield chunk[:7]
            yield chunk[7:]

    pipe = RunnableLambda(lambda _: rows(14)) | halves | trainer_at(host)
    list(pipe.stream("x"))
    [content] = host.contents.values()
    assert content.count(b"\n") == 14


async def test_several_datasets_in_a_batch_are_a_job_each(host, color):
    datasets = [rows(11), rows(12), rows(13)]
    models = await color(trainer_at(host), "batch", datasets)
    assert len({model.model_name for model in models}) == 3


async def test_one_dataset_that_fails_in_a_batch_loses_nothing(host, color):
    results = await color(trainer_at(host), "batch", [rows(11), rows(3), rows(12)], return_exceptions=True)
    assert [type(result) for result in results] == [ChatOpenAI, NotEnoughExamplesError, ChatOpenAI]


async def test_the_same_data_twice_at_the_same_time_is_one_job(host, color):
    data = training_data()
    both = RunnableParallel(a=trainer_at(host), b=trainer_at(host))
    models = await color(both, "invoke", data)
    assert models["a"].model_name == models["b"].model_name
    assert posts(host) == 1


async def test_a_retry_lands_on_the_same_job(host, color):
    host.plan = Plan(states=("running",) * 50)
    trainer = trainer_at(host, timeout=0.05, poll_interval=0.04)
    retrying = trainer.with_retry(
        retry_if_exception_type=(TimeoutError,), stop_after_attempt=3, wait_exponential_jitter=False
    )
    with pytest.raises(TimeoutError):
        await color(retrying, "invoke", training_data())
    assert posts(host) == 1


async def test_a_host_that_trains_no_more_falls_back_to_another(host, color):
    closed = FakeHost()
    closed.fail("POST", "/fine_tuning/jobs", Refusal(403, "over", "training_not_available").response, times=9)
    trainer = trainer_at(closed).with_fallbacks(
        [trainer_at(host)], exceptions_to_handle=(TrainingNotAvailable,)
    )
    assert isinstance(await color(trainer, "invoke", training_data()), ChatOpenAI)
    assert (len(closed.jobs), len(host.jobs), closed.files) == (0, 1, {})


async def test_a_setting_can_be_configured_for_a_call(host, color):
    trainer = trainer_at(host).configurable_fields(suffix=ConfigurableField(id="suffix"))
    model = await color(trainer, "invoke", training_data(), {"configurable": {"suffix": "mine"}})
    assert ":mine:" in model.model_name


async def test_run_name_tags_and_metadata_reach_the_trace(host, color):
    tracer = Recorder()
    trainer = trainer_at(host).with_config(run_name="tune", tags=["t"], metadata={"m": 1})
    await color(trainer, "invoke", training_data(), {"callbacks": [tracer]})
    [run] = tracer.runs
    assert (run.name, run.tags) == ("tune", ["t"])
    assert run.extra["metadata"]["m"] == 1
    assert run.run_type == "chain"


async def test_the_trace_is_small_and_holds_neither_rows_nor_the_key(host, color):
    secret = f"prompt-{uuid4()}"
    given = [
        {**row, "messages": [{"role": "system", "content": secret}, *row["messages"]]} for row in rows(400)
    ]
    tracer = Recorder()
    await color(trainer_at(host), "invoke", given, {"callbacks": [tracer]})
    [run] = tracer.runs
    size = len(dumps({"inputs": run.inputs, "outputs": run.outputs}))
    trace = dumps({"inputs": run.inputs, "outputs": run.outputs, "extra": run.extra}) + str(run.error)
    assert size < 2000
    assert secret not in trace
    assert "sk-fake" not in trace


async def test_an_error_in_the_trace_holds_no_rows(host, color):
    host.plan = Plan(states=("failed",), error={"code": "x", "message": "no", "param": None})
    tracer = Recorder()
    with pytest.raises(TrainingFailed):
        await color(trainer_at(host), "invoke", training_data(), {"callbacks": [tracer]})
    assert "Calculator" not in str(tracer.runs[0].error)


async def test_async_handlers_get_the_progress_too(host):
    told = []

    class Handler(AsyncCallbackHandler):
        async def on_custom_event(self, name, data, **kwargs):
            told.append(data["status"])

    await trainer_at(host).ainvoke(training_data(), {"callbacks": [Handler()]})
    assert told[-1] == "succeeded"


# --- settings ---


def test_schemas_and_graph_are_there():
    trainer = FineTuneRunnable("local:smollm2-135m-instruct")
    assert trainer.get_output_jsonschema()["title"]
    assert trainer.get_input_jsonschema()
    assert trainer.OutputType is ChatOpenAI
    pipe = RunnableLambda(lambda _: training_data()) | trainer
    assert "FineTuneRunnable" in pipe.get_graph().draw_mermaid()
    assert pipe.get_output_jsonschema()


@pytest.mark.parametrize("target", ["gpt-4.1", "opnai:gpt-4.1", "local:"])
def test_an_unknown_provider_is_refused_at_once(target):
    with pytest.raises(UnknownProviderError, match='"openai:'):
        FineTuneRunnable(target)


async def test_with_a_client_the_base_alone_will_do(host, color):
    model = await color(trainer_at(host, BASE), "invoke", training_data())
    assert model.metadata["langchain_finetune_base"] == BASE


def test_a_misspelled_setting_is_refused():
    with pytest.raises(ValidationError, match="hyperparams"):
        FineTuneRunnable("local:x", hyperparams={})


@pytest.mark.parametrize("name", ["api_key", "base_url", "model"])
def test_the_chat_model_cannot_be_sent_elsewhere(name):
    with pytest.raises(ValidationError, match=f"cannot set {name}"):
        FineTuneRunnable("local:x", chat_model_kwargs={name: "x"})


@pytest.mark.filterwarnings("ignore:The function `load` is in beta")
def test_dump_and_repr_hold_settings_and_no_client(host):
    trainer = FineTuneRunnable(f"openai:{BASE}", suffix="mine", timeout=5, **clients(host))
    text = dumps(trainer)
    for shown in (text, repr(trainer)):
        assert "mine" in shown
        assert "sk-fake" not in shown
        assert "client" not in shown
    again = load(
        json.loads(text), allowed_objects=[FineTuneRunnable], valid_namespaces=["langchain_finetune"]
    )
    assert (again.target, again.suffix, again.timeout) == (f"openai:{BASE}", "mine", 5.0)


def test_a_local_base_that_is_a_path_is_made_absolute(tmp_path, monkeypatch):
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF")
    monkeypatch.chdir(tmp_path)
    trainer = FineTuneRunnable("local:tiny.gguf")
    assert trainer._order(training_data()).base == str(tmp_path / "tiny.gguf")
    assert FineTuneRunnable("local:other")._order(training_data()).base == "other"


def test_making_a_trainer_reaches_nothing():
    assert FineTuneRunnable("openai:gpt-4.1").target == "openai:gpt-4.1"
    assert isinstance(training_data(), TrainingData)
