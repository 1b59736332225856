"""The agent's own traces train one of its nodes."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from langchain_finetune import LangSmithRunChatLoader, RunStore
from tests.fakes.clients import trainer_at
from tests.fakes.openai_host import FakeHost

FOLDER = Path(__file__).parents[3] / "examples" / "langgraph_agent"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """The example's modules: another example has neighbours of the same names."""
    modules = {}
    for name in ("graph", "teacher", "run"):
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        modules[name] = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, modules[name])
        spec.loader.exec_module(modules[name])
    return modules


@pytest.fixture(autouse=True)
def few_questions(example: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough for a training."""
    questions = example["run"].QUESTIONS[:13]
    monkeypatch.setattr(example["run"], "QUESTIONS", questions)
    monkeypatch.setattr(example["run"].record, "__defaults__", (None, questions))


@pytest.fixture
def host(example: dict[str, ModuleType]) -> FakeHost:
    """Trains, and its models do what they have seen."""
    host = FakeHost()
    host.answer = example["teacher"].answer
    return host


def test_each_conversation_is_one_row_of_one_node(example: dict[str, ModuleType], tmp_path: Path) -> None:
    run = example["run"]
    run.record(tmp_path / "runs.sqlite")
    data = run.training_data(tmp_path / "runs.sqlite")
    num_rows = data.num_train + data.num_validation + data.num_test
    assert (data.num_runs, num_rows) == (3 * len(run.QUESTIONS), len(run.QUESTIONS))
    assert data.num_merged == 2 * len(run.QUESTIONS)
    row = json.loads(data.train.read_text().splitlines()[0])
    assert row["messages"][0]["content"] == example["graph"].DECIDE.content
    answers = [message for message in row["messages"] if message["role"] == "assistant"]
    assert len(answers) == 3
    assert not any(answer.get("weight") == 0 for answer in answers)


def test_the_tuned_model_takes_one_node_over_and_does_not_learn_from_itself(
    example: dict[str, ModuleType], host: FakeHost, tmp_path: Path
) -> None:
    run, path = example["run"], tmp_path / "runs.sqlite"
    run.record(path)
    tuned = trainer_at(host).invoke(run.training_data(path))
    graph = example["graph"].build(tuned, example["teacher"].teacher())
    assert (
        example["graph"].ask(graph, "Where is my order 200?") == "Good news: parcel 1400 arrives in 1 days."
    )
    asked = [request.body for request in host.sent("POST", "/chat/completions")]
    assert [body["model"] for body in asked] == [tuned.model_name] * 3
    assert all(body["tools"] for body in asked)

    before = run.training_data(path).fingerprint
    run.record(path, tuned, run.QUESTIONS[:2])
    assert run.training_data(path).fingerprint == before
    seen: Any = LangSmithRunChatLoader(client=RunStore(path), include_tuned=True).invoke({})
    assert seen.num_sessions == 4 * (len(run.QUESTIONS) + 2)
