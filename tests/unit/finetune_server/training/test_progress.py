"""What happens between two steps."""

import dataclasses
import json
from types import SimpleNamespace

import pytest

from finetune_server.training import progress as progress_module
from finetune_server.training.checkpoints import Checkpoints
from finetune_server.training.epochs import EpochAdapters
from finetune_server.training.errors import TrainingError
from finetune_server.training.events import EventLog
from finetune_server.training.plan import make_plan
from finetune_server.training.progress import Progress, Score
from finetune_server.training.stop_request import StopRequest

PLAN = make_plan({"n_epochs": 2, "batch_size": 4}, [9] * 10, tokens_at_once=64)


class Clock:
    """Time that passes when a test says so."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress_module, "time", clock)
    return clock


@pytest.fixture
def log(tmp_path):
    with EventLog(tmp_path / "events.jsonl", 1) as log:
        yield log


@pytest.fixture
def stop() -> StopRequest:
    return StopRequest()


@pytest.fixture
def progress(tmp_path, clock, log, stop) -> Progress:
    held_out = Score(loss=6.0, num_right=1, num_tokens=4)
    return Progress(
        PLAN,
        log,
        checkpoints=Checkpoints(tmp_path / "checkpoints", "job"),
        epochs=EpochAdapters(tmp_path / "epochs", tmp_path, has_gguf=False),
        stop=stop,
        validate=lambda: dataclasses.replace(held_out),
    )


def end_step(progress: Progress, step: int, *, loss: float = 3.0) -> bool:
    """Ends a step of four tokens; whether a checkpoint is wanted."""
    progress.score.add(loss, 2, 3)
    progress.score.add(loss, 1, 1)
    control = SimpleNamespace(should_save=False, should_training_stop=False)
    progress.on_step_end(None, SimpleNamespace(global_step=step), control)
    assert control.should_training_stop is progress._stop.is_made
    return control.should_save


def save(progress: Progress, directory, step: int) -> None:
    """Writes a checkpoint as the Trainer does, and says so."""
    written = directory / f"checkpoint-{step}"
    written.mkdir()
    (written / "adapter_config.json").write_text("{}")
    (written / "adapter_model.safetensors").write_bytes(f"adapter of step {step}".encode())
    (written / "optimizer.pt").write_bytes(b"state")
    progress.on_save(SimpleNamespace(output_dir=str(directory)), SimpleNamespace(global_step=step), None)


def told(tmp_path) -> list[dict]:
    return [json.loads(line)["data"] for line in (tmp_path / "events.jsonl").read_text().splitlines()]


def test_each_step_is_told_with_its_own_tokens_only(progress, tmp_path):
    end_step(progress, 1)
    end_step(progress, 2, loss=1.0)

    first, second = told(tmp_path)
    assert first == {"step": 1, "total_steps": 6, "train_loss": 1.5, "train_mean_token_accuracy": 0.75}
    assert second["train_loss"] == 0.5


def test_held_out_rows_are_measured_and_a_checkpoint_is_made_at_the_end_of_an_epoch(progress, tmp_path):
    assert [end_step(progress, step) for step in range(1, 7)] == [False, False, True, False, False, True]

    measured = {data["step"]: data.get("full_valid_loss") for data in told(tmp_path)}
    assert measured == {1: None, 2: None, 3: 1.5, 4: None, 5: None, 6: 1.5}
    assert told(tmp_path)[-1]["full_valid_mean_token_accuracy"] == 0.25


def test_a_checkpoint_is_due_ten_seconds_after_the_last(progress, clock, tmp_path):
    clock.now += 9.9
    assert not end_step(progress, 1)
    clock.now += 0.1
    assert end_step(progress, 2)

    save(progress, tmp_path, 2)
    assert (tmp_path / "checkpoints" / "step-2").is_dir()
    assert not (tmp_path / "epochs").exists()
    assert not end_step(progress, 4)


def test_at_the_end_of_an_epoch_its_adapter_is_kept_apart_and_told_with_its_metrics(progress, tmp_path):
    end_step(progress, 3)
    save(progress, tmp_path, 3)

    assert sorted(path.name for path in (tmp_path / "epochs" / "step-3").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert (tmp_path / "epochs" / "step-3" / "adapter_model.safetensors").read_bytes() == b"adapter of step 3"
    metrics, checkpoint = told(tmp_path)
    assert checkpoint["phase"] == "checkpoint"
    assert checkpoint["metrics"] == {name: metrics[name] for name in metrics if name != "total_steps"}
    assert checkpoint["metrics"]["full_valid_loss"] == 1.5


def test_an_epoch_that_a_killed_trainer_came_to_is_written_anew(progress, tmp_path):
    (tmp_path / "epochs" / "step-3").mkdir(parents=True)
    (tmp_path / "epochs" / "step-3.new").mkdir()
    end_step(progress, 3)
    save(progress, tmp_path, 3)

    assert (tmp_path / "epochs" / "step-3" / "adapter_model.safetensors").exists()
    assert [path.name for path in (tmp_path / "epochs").iterdir()] == ["step-3"]


def test_a_request_to_stop_ends_the_training_behind_a_checkpoint(progress, stop):
    assert not end_step(progress, 1)
    stop.is_made = True
    assert end_step(progress, 2)


def test_a_loss_that_is_no_number_ends_the_job(progress):
    with pytest.raises(TrainingError, match=r"step 1.*learning_rate_multiplier") as caught:
        end_step(progress, 1, loss=float("nan"))

    assert caught.value.code == "training_diverged"
