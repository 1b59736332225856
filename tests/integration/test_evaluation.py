"""Comparisons and gates against the embedded server, which trains and answers: a random two-layer model."""

import os
from pathlib import Path

import psutil
import pytest

from langchain_finetune import (
    FineTuneRunnable,
    ModelComparison,
    PromotionGate,
    RunExportLoader,
    TrainingDataConverter,
)
from langchain_finetune.cli.main import main as langchain_finetune
from tests.tiny_base import write_tiny_base

ROOT = Path(__file__).parents[2]
RUNS = ROOT / "examples" / "calculator" / "runs.jsonl"
HYPERPARAMETERS = {"n_epochs": 1, "batch_size": 4, "learning_rate_multiplier": 4}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    path = tmp_path_factory.mktemp("evaluation")
    yield path
    before = os.environ.get("LANGCHAIN_FINETUNE_HOME")
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
def base_file(tmp_path_factory):
    return write_tiny_base(tmp_path_factory.mktemp("base") / "tiny.gguf")


def pipe(base_file):
    return (
        RunExportLoader(RUNS, feedback={"user_score": 1}, limit=30)
        | TrainingDataConverter(test_fraction=0.2, validation_fraction=0.1)
        | FineTuneRunnable(f"local:{base_file}", hyperparameters=HYPERPARAMETERS)
    )


def test_the_base_is_forced_to_call_and_the_adapter_is_seen(base_file):
    model = pipe(base_file).invoke({})
    report = ModelComparison().invoke(model)
    assert report.num_held_out > 2
    assert report.forced_score is not None
    scores = report.summary()["scores"]
    # A random model fills the arguments until the limit: that it begins to call is all that a grammar can do.
    forced = [line["models"][f"{report.base} (forced calls)"]["answer"] for line in report.answers()]
    assert all("tool_calls" in it or it["content"].startswith('<tool_call>\n{"name": "Calc') for it in forced)
    assert scores["tokens.output"][report.tuned]["mean"] > 0
    assert report.is_adapter_loaded is True
    assert report.num_failed == 0
    assert ModelComparison().invoke(model).num_asked == 0
    job = FineTuneRunnable(f"local:{base_file}").attach(report.job_id)
    page = report.write_html(metrics=job.metrics()).read_text()
    assert "training loss" in page
    assert "Dataset card" in page


async def test_a_gate_at_the_end_of_the_pipe_hands_on_the_base_of_a_model_that_learned_nothing(base_file):
    model = await (pipe(base_file) | PromotionGate(min_gain=0.05)).ainvoke({})
    assert model.model_name == str(base_file)
    assert (await model.ainvoke("Hello", max_tokens=2)).content is not None


def test_other_weights_under_the_same_path_are_asked_anew(base_file):
    model = pipe(base_file).invoke({})
    assert ModelComparison(forced_baseline=False).invoke(model).num_asked == 0
    write_tiny_base(base_file, seed=1)
    report = ModelComparison(forced_baseline=False).invoke(model)
    assert report.num_asked == report.num_held_out
