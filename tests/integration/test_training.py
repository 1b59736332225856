"""Real trainings of the random two-layer model, each in a process of its own."""

import csv
import json
import shutil

import pytest

from tests.tiny_base import write_tiny_base
from tests.training_process import (
    TrainingProcess,
    next_attempt,
    read_events,
    read_losses,
    read_result,
    train,
    write_job,
)

THREE_EPOCHS = {"n_epochs": 3, "batch_size": 4}
NUM_STEPS = 9


@pytest.fixture(scope="module")
def tiny_gguf(tmp_path_factory):
    return write_tiny_base(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture(scope="module")
def finished(tiny_gguf, tmp_path_factory):
    """A job that was trained without a break."""
    directory = write_job(
        tmp_path_factory.mktemp("finished") / "job", tiny_gguf, num_held_out=2, hyperparameters=THREE_EPOCHS
    )
    train(directory)
    return directory


@pytest.fixture(scope="module")
def killed(tiny_gguf, tmp_path_factory):
    """The same job, killed in its third epoch, with the checkpoints of two."""
    directory = write_job(
        tmp_path_factory.mktemp("killed") / "job", tiny_gguf, num_held_out=2, hyperparameters=THREE_EPOCHS
    )
    with TrainingProcess(directory) as trainer:
        trainer.wait_until(lambda: len(read_losses(directory)) >= 7)
        trainer.process.kill()
        trainer.wait()
    next_attempt(directory)
    return directory


@pytest.fixture
def broken_off(killed, tmp_path):
    """A copy of the killed job, to go on from."""
    assert not (killed / "result.json").exists()
    return shutil.copytree(killed, tmp_path / "job")


def test_the_result_names_what_was_made(finished):
    result = read_result(finished)

    assert result["status"] == "succeeded"
    assert result["steps"] == NUM_STEPS
    assert result["train_seconds"] > 0
    assert 10**8 < result["peak_rss_bytes"] < 10**10
    assert (finished / result["adapter_dir"] / "adapter_model.safetensors").is_file()
    assert (finished / result["adapter_gguf"]).read_bytes().startswith(b"GGUF")
    adapter_config = json.loads((finished / "adapter" / "adapter_config.json").read_text())
    assert (
        adapter_config["base_model_name_or_path"] == json.loads((finished / "job.json").read_text())["base"]
    )


def test_the_first_event_tells_the_resolved_hyperparameters(finished):
    started, *rest = read_events(finished)
    steps = [event for event in rest if event["type"] == "metrics"]

    assert (started["type"], started["level"]) == ("message", "info")
    data = started["data"]
    assert data["phase"] == "started"
    assert (data["n_epochs"], data["batch_size"], data["learning_rate_multiplier"]) == (3, 4, 1.0)
    assert data["total_steps"] == NUM_STEPS
    assert data["trained_tokens_total"] == read_result(finished)["trained_tokens"]
    assert [event["data"]["step"] for event in steps] == list(range(1, NUM_STEPS + 1))
    assert [event["seq"] for event in [started, *rest]] == list(range(1, len(rest) + 2))


def test_the_held_out_rows_are_measured_after_each_epoch(finished):
    measured = {e["data"]["step"] for e in read_events(finished) if "full_valid_loss" in e["data"]}

    assert measured == {3, 6, 9}


def test_the_loss_falls(finished):
    losses = read_losses(finished)

    assert losses[NUM_STEPS] < losses[1] - 0.1


def test_the_result_file_has_a_line_for_each_step(finished):
    with (finished / "step_metrics.csv").open() as file:
        lines = list(csv.DictReader(file))

    assert {int(line["step"]): float(line["train_loss"]) for line in lines} == read_losses(finished)
    assert [line["valid_loss"] != "" for line in lines] == [False, False, True] * 3


def test_the_log_is_quiet(finished):
    assert (finished / "trainer.log").read_text() == ""


def test_each_epoch_leaves_an_adapter_that_can_be_served(finished):
    told = [event["data"] for event in read_events(finished) if event["data"].get("phase") == "checkpoint"]

    assert [data["step"] for data in told] == [3, 6, 9]
    assert [data["metrics"]["full_valid_loss"] for data in told] == [
        event["data"]["full_valid_loss"]
        for event in read_events(finished)
        if "full_valid_loss" in event["data"]
    ]
    adapters = [(finished / "epochs" / f"step-{step}" / "adapter.gguf").read_bytes() for step in (3, 6, 9)]
    assert adapters[2] == (finished / "adapter.gguf").read_bytes()
    assert len(set(adapters)) == 3


def test_scratch_files_are_gone_and_checkpoints_of_the_last_epochs_are_kept(finished):
    assert not (finished / "trainer").exists()
    assert sorted(path.name for path in (finished / "checkpoints").iterdir()) == [
        "step-3",
        "step-6",
        "step-9",
    ]


def test_a_killed_training_goes_on_as_if_nothing_had_happened(broken_off, finished):
    train(broken_off)

    started = next(e for e in read_events(broken_off) if e["attempt"] == 2)
    assert started["data"]["resumed_from_step"] == 6
    assert started["seq"] == 1
    assert read_losses(broken_off, attempt=2) == {
        step: loss for step, loss in read_losses(finished).items() if step > 6
    }
    outputs = ["adapter/adapter_model.safetensors", "adapter.gguf", "step_metrics.csv"]
    epochs = [f"epochs/step-{step}/adapter_model.safetensors" for step in (3, 6, 9)]
    for name in outputs + epochs:
        assert (broken_off / name).read_bytes() == (finished / name).read_bytes(), name


def test_a_damaged_checkpoint_is_skipped_and_told(broken_off, finished):
    optimizer = broken_off / "checkpoints" / "step-6" / "optimizer.pt"
    damaged = bytearray(optimizer.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    optimizer.write_bytes(damaged)

    train(broken_off)

    warning, started, *_ = [e for e in read_events(broken_off) if e["attempt"] == 2]
    assert (warning["level"], warning["data"]) == ("warn", {"step": 6})
    assert started["data"]["resumed_from_step"] == 3
    assert (broken_off / "adapter.gguf").read_bytes() == (finished / "adapter.gguf").read_bytes()


def test_a_request_to_end_is_followed_after_a_checkpoint_of_the_step_under_way(tiny_gguf, finished, tmp_path):
    directory = write_job(tmp_path / "job", tiny_gguf, num_held_out=2, hyperparameters=THREE_EPOCHS)
    with TrainingProcess(directory) as trainer:
        trainer.wait_until(lambda: read_losses(directory))
        trainer.process.terminate()
        assert trainer.wait() == 5
    (newest,) = (directory / "checkpoints").iterdir()
    done = max(read_losses(directory))
    assert newest.name == f"step-{done}"
    assert done < NUM_STEPS
    next_attempt(directory)

    train(directory)

    assert min(read_losses(directory, attempt=2)) == done + 1
    assert read_losses(directory) == read_losses(finished)
    assert (directory / "adapter.gguf").read_bytes() == (finished / "adapter.gguf").read_bytes()


def test_it_ends_at_once_while_it_is_still_starting(tiny_gguf, tmp_path):
    directory = write_job(tmp_path / "job", tiny_gguf)
    with TrainingProcess(directory) as trainer:
        trainer.wait_until((directory / "events.jsonl").exists)
        trainer.process.terminate()

        assert trainer.wait(5) == 5
    assert not (directory / "result.json").exists()


def test_a_training_killed_after_its_last_step_only_writes_its_outputs(finished, tmp_path):
    directory = shutil.copytree(finished, tmp_path / "job")
    (directory / "result.json").unlink()
    shutil.rmtree(directory / "adapter")
    next_attempt(directory)

    train(directory)

    assert read_losses(directory, attempt=2) == {}
    assert (directory / "adapter.gguf").read_bytes() == (finished / "adapter.gguf").read_bytes()


def test_checkpoints_of_another_training_are_not_gone_on_from(broken_off):
    job = json.loads((broken_off / "job.json").read_text())
    (broken_off / "job.json").write_text(json.dumps(job | {"seed": job["seed"] + 1}))

    train(broken_off)

    assert min(read_losses(broken_off, attempt=2)) == 1


def test_a_finished_job_is_left_as_it_is(finished):
    before = (finished / "result.json").stat().st_mtime_ns

    train(finished)

    assert (finished / "result.json").stat().st_mtime_ns == before


def test_the_trainer_ends_within_a_second_when_its_standard_input_closes(tiny_gguf, tmp_path):
    directory = write_job(tmp_path / "job", tiny_gguf, hyperparameters={"n_epochs": 50})
    with TrainingProcess(directory) as trainer:
        trainer.wait_until(lambda: read_losses(directory))
        trainer.process.stdin.close()

        assert trainer.wait(1) == 3
    assert not (directory / "result.json").exists()


def test_it_ends_too_while_it_is_still_starting(tiny_gguf, tmp_path):
    directory = write_job(tmp_path / "job", tiny_gguf)
    with TrainingProcess(directory) as trainer:
        trainer.wait_until((directory / "events.jsonl").exists)
        trainer.process.stdin.close()

        assert trainer.wait(1) == 3


def test_a_second_trainer_of_the_same_job_leaves_it_alone(tiny_gguf, tmp_path):
    directory = write_job(tmp_path / "job", tiny_gguf, hyperparameters={"n_epochs": 50})
    with TrainingProcess(directory) as first:
        first.wait_until((directory / "events.jsonl").exists)
        with TrainingProcess(directory) as second:
            assert second.wait() == 4
            assert "another process trains" in second.log()


def test_a_row_that_cannot_be_learned_ends_the_job_with_its_line(tiny_gguf, tmp_path):
    directory = write_job(tmp_path / "job", tiny_gguf)
    with (directory / "training_file").open("a") as file:
        file.write('{"messages": [{"role": "user", "content": "' + "x " * 3000 + '"}, ')
        file.write('{"role": "assistant", "content": "y"}]}\n')

    error = train(directory)["error"]

    assert error["code"] == "invalid_training_file"
    assert error["param"] == "training_file"
    assert error["message"].startswith("Line 11 of the training file")
    assert "more than the 2048 of the base model" in error["message"]


def test_a_base_that_is_nowhere_ends_the_job(tmp_path):
    error = train(write_job(tmp_path / "job", "nobody/nothing"))["error"]

    assert (error["code"], error["param"]) == ("model_not_available", "model")
    assert "nobody/nothing" in error["message"]


def test_a_hugging_face_directory_is_trained_and_has_no_gguf(finished, tmp_path):
    (base_dir,) = [path for path in (finished.parent / "bases").iterdir() if path.is_dir()]

    result = train(write_job(tmp_path / "job", base_dir))

    assert result["status"] == "succeeded"
    assert result["adapter_gguf"] is None
    assert (tmp_path / "job" / "adapter" / "adapter_model.safetensors").is_file()
