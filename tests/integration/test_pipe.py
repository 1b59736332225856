"""The whole pipe against the embedded server, which really trains: a random two-layer model, for speed."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import openai
import psutil
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_openai import ChatOpenAI

from langchain_finetune import (
    FineTuneRunnable,
    ModelComparison,
    RunExportLoader,
    TrainingDataConverter,
)
from langchain_finetune._spool import state_directory
from langchain_finetune.cli.main import main as langchain_finetune
from langchain_finetune.errors import UnknownBaseError
from tests.tiny_base import write_tiny_base

ROOT = Path(__file__).parents[2]
RUNS = ROOT / "examples" / "calculator" / "runs.jsonl"
HYPERPARAMETERS = {"n_epochs": 1, "batch_size": 8}


class Events(BaseCallbackHandler):
    def __init__(self):
        self.seen = []

    def on_custom_event(self, name, data, **_):
        self.seen.append((name, data))

    def jobs(self):
        return [data for name, data in self.seen if name == "langchain_finetune_job"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    path = tmp_path_factory.mktemp("pipe")
    before = os.environ.get("LANGCHAIN_FINETUNE_HOME")
    yield path
    os.environ["LANGCHAIN_FINETUNE_HOME"] = str(path)
    langchain_finetune(["stop"])
    os.environ.pop("LANGCHAIN_FINETUNE_HOME")
    if before:
        os.environ["LANGCHAIN_FINETUNE_HOME"] = before
    left = [p for p in psutil.process_iter(["cmdline"]) if str(path) in " ".join(p.info["cmdline"] or [])]
    assert left == []


@pytest.fixture(autouse=True)
def at_home(home, monkeypatch):
    monkeypatch.setenv("LANGCHAIN_FINETUNE_HOME", str(home))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "libs"), os.environ.get("PYTHONPATH", "")]))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return f"local:{write_tiny_base(tmp_path_factory.mktemp('base') / 'tiny.gguf')}"


def pipe(base, **settings):
    return (
        RunExportLoader(RUNS, feedback={"user_score": 1}, limit=30)
        | TrainingDataConverter(test_fraction=0.2, validation_fraction=0.1)
        | FineTuneRunnable(base, hyperparameters=HYPERPARAMETERS, **settings)
    )


def test_recorded_runs_become_a_ready_model_and_a_second_call_finds_it(base):
    events = Events()
    model = pipe(base).invoke({}, {"callbacks": [events]})

    assert isinstance(model, ChatOpenAI)
    assert model.model_name.startswith("ft:")
    assert [job["status"] for job in events.jobs()][-1] == "succeeded"
    assert events.jobs()[-1]["step"] == events.jobs()[-1]["total_steps"] > 0
    assert [name for name, _ in events.seen[:1]] == ["langchain_finetune_load"]
    assert model.metadata["langchain_finetune"] == events.jobs()[-1]["job_id"]
    assert model.profile["max_input_tokens"] > 0
    assert model.get_num_tokens_from_messages([("human", "What's 56/7?")]) > 5
    assert isinstance(model.invoke("What's 56/7?", max_tokens=4).content, str)

    again = Events()
    assert pipe(base).invoke({}, {"callbacks": [again]}).model_name == model.model_name
    assert [job["reused"] for job in again.jobs()] == [True]


async def test_async_and_streamed_events_land_on_the_same_job(base):
    first = await pipe(base).ainvoke({})
    streamed = [
        event
        async for event in pipe(base).astream_events({}, version="v2")
        if event["event"] == "on_custom_event"
    ]
    assert {"langchain_finetune_load", "langchain_finetune_convert", "langchain_finetune_job"} <= {
        event["name"] for event in streamed
    }
    assert streamed[-1]["data"]["job_id"] == first.metadata["langchain_finetune"]


def test_a_job_survives_its_process_and_its_server(base):
    data = (RunExportLoader(RUNS, limit=24) | TrainingDataConverter()).invoke({})
    trainer = FineTuneRunnable(base, hyperparameters={"n_epochs": 20, "batch_size": 2})
    job = trainer.submit(data)
    server = json.loads((state_directory() / "server" / "server.json").read_bytes())
    psutil.Process(server["pid"]).kill()

    code = (
        "from langchain_finetune import FineTuneRunnable\n"
        f"print(FineTuneRunnable({base!r}).attach({job.id!r}).result().model_name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=True
    )
    model = trainer.invoke(data)
    assert done.stdout.strip() == model.model_name
    assert model.metadata["langchain_finetune"] == job.id


async def test_a_cancelled_wait_leaves_the_job_to_be_attached_to(base):
    data = (RunExportLoader(RUNS, limit=26) | TrainingDataConverter()).invoke({})
    trainer = FineTuneRunnable(base, hyperparameters={"n_epochs": 40, "batch_size": 1})
    job = await trainer.asubmit(data)
    waiting = asyncio.create_task(trainer.ainvoke(data))
    await asyncio.sleep(0.5)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    attached = await trainer.aattach(job.id)
    assert await attached.astatus() in ("validating_files", "queued", "running")
    await attached.acancel()
    assert await attached.astatus() == "cancelled"


def test_any_client_of_the_protocol_drives_the_same_class(base):
    directory = state_directory() / "server"
    FineTuneRunnable(base, hyperparameters=HYPERPARAMETERS)  # the server is up: earlier tests started it
    pipe(base).invoke({})
    server = json.loads((directory / "server.json").read_bytes())
    key = (directory / "api_key").read_text().strip()
    with openai.OpenAI(base_url=server["base_url"], api_key=key) as client:
        model = pipe(base.removeprefix("local:"), client=client, poll_interval=0.2).invoke({})
    assert model.openai_api_base.rstrip("/") == server["base_url"]
    assert model.model_name.startswith("ft:")


def test_base_and_tuned_are_compared_on_what_was_held_out_and_asked_once(base):
    model = pipe(base).invoke({})
    report = ModelComparison().invoke(model)
    assert report.num_held_out > 0
    # The base once more with forced calls: at the embedded server that costs nothing.
    assert report.num_asked == 3 * report.num_held_out
    assert ModelComparison().invoke(model).num_asked == 0


def test_an_unknown_base_is_named_with_a_way_out(tmp_path):
    rows = (RunExportLoader(RUNS, limit=24) | TrainingDataConverter()).invoke({})
    with pytest.raises(UnknownBaseError, match="no-such-model"):
        FineTuneRunnable("local:no-such-model").invoke(rows)


def test_the_calculator_example_runs_twice_and_trains_once(base):
    run = [sys.executable, "examples/calculator/run.py", "--base", base]
    result = ROOT / "examples" / "calculator" / "out" / "result.json"
    kept = result.read_bytes() if result.exists() else None
    figures = []
    try:
        for _ in range(2):
            subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=280, check=True)
            figures.append(json.loads(result.read_bytes()))
    finally:
        if kept is not None:
            result.write_bytes(kept)
    assert [figure["reused"] for figure in figures] == [False, True]
    assert figures[0]["num_held_out"] >= 40
    assert figures[0]["job_id"] == figures[1]["job_id"]
    assert figures[0].keys() >= {"base_exact", "tuned_exact", "num_train", "train_seconds", "wall_seconds"}
