"""The flywheel through several nights: what it trains on and promotes, and that a second turn is none."""

import importlib.util
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from langchain_finetune import AliasStore, RunExportLoader
from langchain_finetune.serving import aliases as alias_module
from tests.fakes.clients import trainer_at
from tests.fakes.openai_host import FakeHost

ROOT = Path(__file__).parents[3]
ALIAS = "calculator@production"
DAY = datetime(2026, 11, 10, tzinfo=UTC)


@pytest.fixture(scope="module")
def nightly() -> ModuleType:
    spec = importlib.util.spec_from_file_location("nightly", ROOT / "examples" / "flywheel" / "nightly.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def traces() -> list[list[dict[str, Any]]]:
    """The recorded traces of the calculator, root and model's run."""
    runs = [json.loads(line) for line in (ROOT / "examples/calculator/runs.jsonl").read_bytes().splitlines()]
    children = {run["parent_run_id"]: run for run in runs if run["run_type"] == "llm"}
    return [[run, children[run["id"]]] for run in runs if run["parent_run_id"] is None]


@pytest.fixture
def record(traces: list[list[dict[str, Any]]], tmp_path: Path) -> Callable[..., None]:
    """Write traces down as the runs of a day."""

    def write(part: slice, day: datetime, **metadata: str) -> None:
        (tmp_path / "runs").mkdir(exist_ok=True)
        with (tmp_path / "runs" / f"{day:%d}{len(metadata)}.jsonl").open("w") as file:
            for trace in traces[part]:
                for run in trace:
                    extra = run.get("extra") or {}
                    marked = {**extra, "metadata": {**(extra.get("metadata") or {}), **metadata}}
                    times = {"start_time": day.isoformat(), "end_time": day.isoformat()}
                    file.write(json.dumps({**run, **times, "extra": marked}) + "\n")

    return write


@pytest.fixture
def host(traces: list[list[dict[str, Any]]]) -> FakeHost:
    """Tuned models call as the recorded one did, the base talks."""
    known = {}
    for _, child in traces:
        if not child["error"]:
            [call] = child["outputs"]["generations"][0][0]["message"]["kwargs"]["tool_calls"]
            known[child["inputs"]["messages"][0][-1]["kwargs"]["content"]] = json.dumps(call["args"])

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        if not body["model"].startswith("ft:"):
            return {"role": "assistant", "content": "Let me see."}
        function = {"name": "Calculator", "arguments": known[body["messages"][-1]["content"]]}
        calls = [{"id": "c", "type": "function", "function": function}]
        return {"role": "assistant", "content": None, "tool_calls": calls}

    host = FakeHost()
    host.answer = answer
    return host


@pytest.fixture
def flywheel(nightly: ModuleType, host: FakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    trainer = trainer_at(host)
    # The model in production is called where it was trained.
    settings = {name: trainer.chat_model_kwargs[name] for name in ("http_client", "http_async_client")}
    real = nightly.FineTunedModel.to_chat_model
    monkeypatch.setattr(
        nightly.FineTunedModel,
        "to_chat_model",
        lambda self, **given: real(self, api_key=host.key, **settings, **given),
    )
    loader = RunExportLoader(tmp_path / "runs", feedback={"user_score": 1})
    return nightly.Flywheel(
        loader=loader, trainer=trainer, alias=ALIAS, mark=tmp_path / "mark.json", min_new=20
    )


def num_jobs(host: FakeHost) -> int:
    return len(host.sent("POST", "/fine_tuning/jobs"))


def test_a_night_promotes_and_the_second_turn_does_nothing(
    flywheel: Any, host: FakeHost, record: Callable[..., None]
) -> None:
    record(slice(0, 90), DAY)
    night = flywheel.turn(DAY + timedelta(days=1, hours=2))
    assert night.outcome == "promoted"
    assert night.num_new >= 20
    assert AliasStore().resolve(ALIAS).model == night.model
    before = len(host.requests)
    again = flywheel.turn(DAY + timedelta(days=1, hours=3))
    assert (again.outcome, again.num_new) == ("waiting", 0)
    assert len(host.requests) == before


def test_a_crash_before_the_end_is_made_good_by_the_next_turn(
    flywheel: Any, host: FakeHost, record: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    record(slice(0, 90), DAY)
    night = DAY + timedelta(days=1, hours=2)
    with monkeypatch.context() as crashing:
        crashing.setattr(alias_module.AliasStore, "promote", _crash)
        with pytest.raises(KeyboardInterrupt):
            flywheel.turn(night)
    assert not flywheel.mark.exists()
    asked = len(host.sent("POST", "/chat/completions"))
    assert flywheel.turn(night).outcome == "promoted"
    assert num_jobs(host) == 1
    assert len(host.sent("POST", "/chat/completions")) == asked
    # A crash between the promotion and the mark.
    flywheel.mark.unlink()
    assert flywheel.turn(night).outcome == "unchanged"
    assert len(AliasStore().history(ALIAS)) == 1


def test_it_never_eats_its_own_output(flywheel: Any, host: FakeHost, record: Callable[..., None]) -> None:
    record(slice(0, 90), DAY)
    flywheel.turn(DAY + timedelta(days=1))
    record(slice(90, 180), DAY + timedelta(days=1), langchain_finetune="ftjob-of-the-first-night")
    night = flywheel.turn(DAY + timedelta(days=2))
    assert (night.outcome, night.num_new) == ("waiting", 0)
    assert num_jobs(host) == 1


def test_few_runs_wait_and_count_for_the_next_night(
    flywheel: Any, host: FakeHost, record: Callable[..., None]
) -> None:
    record(slice(0, 12), DAY)
    night = flywheel.turn(DAY + timedelta(days=1))
    assert (night.outcome, num_jobs(host)) == ("waiting", 0)
    record(slice(12, 90), DAY + timedelta(days=1))
    assert flywheel.turn(DAY + timedelta(days=2)).num_new > 60


def test_a_model_that_is_no_better_than_the_one_in_production_is_kept_back(
    flywheel: Any, host: FakeHost, record: Callable[..., None]
) -> None:
    record(slice(0, 90), DAY)
    first = flywheel.turn(DAY + timedelta(days=1)).model
    record(slice(90, 180), DAY + timedelta(days=1))
    second = flywheel.turn(DAY + timedelta(days=2))
    assert (second.outcome, num_jobs(host)) == ("kept", 2)
    assert AliasStore().resolve(ALIAS).model == first
    # What was seen is seen: the next night starts behind it.
    assert flywheel.turn(DAY + timedelta(days=2, hours=1)).num_new == 0


def test_sources_are_named_as_on_the_command_line(nightly: ModuleType, tmp_path: Path) -> None:
    assert nightly.loader_for("langsmith:my-app").project_name == "my-app"
    assert nightly.loader_for(f"recorded:{tmp_path / 'r.sqlite'}").client is not None
    assert nightly.loader_for("runs.jsonl").path == "runs.jsonl"


def _crash(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt
