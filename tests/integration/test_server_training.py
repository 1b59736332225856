"""The server with its real trainer, on a random two-layer model: what the fake one stands for is so."""

import sys
import time
from collections.abc import Callable

import pytest

from tests.server_process import ServerProcess, messages, rows, wait_for_status
from tests.tiny_base import write_tiny_base

REAL = (sys.executable, "-m", "finetune_server.training")
STEPS = 18


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> str:
    return str(write_tiny_base(tmp_path_factory.mktemp("tiny") / "tiny.gguf"))


@pytest.fixture
def server(tmp_path):
    process = ServerProcess(tmp_path / "server", trainer_command=REAL)
    yield process.start()
    process.close()


def create_job(client, base: str) -> str:
    """The id of a job of six epochs of three steps."""
    files = [
        client.files.create(file=("rows.jsonl", rows(number)), purpose="fine-tune").id for number in (12, 2)
    ]
    job = client.fine_tuning.jobs.create(
        model=base,
        training_file=files[0],
        validation_file=files[1],
        seed=1,
        hyperparameters={"n_epochs": 6, "batch_size": 4},
    )
    return job.id


def steps_told(server, job_id: str) -> list[int]:
    return [
        int(message.split()[1].partition("/")[0])
        for message in messages(server, job_id)
        if message.startswith("Step ")
    ]


def when_steps_are_told(server, job_id: str, number: int, act: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while len(steps_told(server, job_id)) < number:
        assert time.monotonic() < deadline, "no steps were told"
        time.sleep(0.02)
    act()


def kill_trainers(server) -> None:
    for trainer in server.trainers():
        trainer.kill()


def test_a_real_training_that_is_killed_goes_on_and_every_step_is_told_once(server, base):
    with server.client() as client:
        job_id = create_job(client, base)
        when_steps_are_told(server, job_id, 4, lambda: kill_trainers(server))
        job = wait_for_status(client, job_id, "succeeded", "failed", seconds=120)
        assert job.status == "succeeded", job.error
        assert steps_told(server, job_id) == list(range(1, STEPS + 1))
        told = messages(server, job_id)
        assert "The training process ended with signal SIGKILL; it is started again." in told
        assert len(client.files.content(job.result_files[0]).read().splitlines()) == STEPS + 1
        assert client.models.retrieve(job.fine_tuned_model).to_dict()["parent"] == base
        checkpoints = client.fine_tuning.jobs.checkpoints.list(job_id).data
        assert [checkpoint.step_number for checkpoint in checkpoints] == [18, 15, 12]
        assert all(checkpoint.metrics.full_valid_loss for checkpoint in checkpoints)
        answers = [
            answer_of(client, name)
            for name in [job.fine_tuned_model, *(each.fine_tuned_model_checkpoint for each in checkpoints)]
        ]
        assert answers[0] == answers[1]
        assert len({str(answer) for answer in answers}) == 3
    job_dir = server.state_dir / "jobs" / job.id
    assert (job_dir / "adapter.gguf").read_bytes().startswith(b"GGUF")
    assert server.trainers() == []


def answer_of(client, model: str) -> list[tuple[str, float]]:
    """The tokens that a model writes, and how likely it found them."""
    answer = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "Say 3."}],
        max_tokens=4,
        temperature=0,
        logprobs=True,
    )
    return [(token.token, token.logprob) for token in answer.choices[0].logprobs.content]


def test_a_pause_and_a_stop_of_the_server_lose_no_step(server, base):
    with server.client() as client:
        job_id = create_job(client, base)
        when_steps_are_told(server, job_id, 1, lambda: client.fine_tuning.jobs.pause(job_id))
        wait_for_status(client, job_id, "paused", seconds=60)
        num_steps = len(steps_told(server, job_id))
        client.fine_tuning.jobs.resume(job_id)
        when_steps_are_told(server, job_id, num_steps + 1, server.stop)
        server.start()
    with server.client() as client:
        job = wait_for_status(client, job_id, "succeeded", "failed", seconds=120)
        assert job.status == "succeeded", job.error
    assert steps_told(server, job_id) == list(range(1, STEPS + 1))
    resumed = [
        m for m in messages(server, job_id) if m.startswith("Fine-tuning job resumed from the checkpoint")
    ]
    assert len(resumed) == 2
    assert resumed[0] == f"Fine-tuning job resumed from the checkpoint at step {num_steps} (attempt 2)"
