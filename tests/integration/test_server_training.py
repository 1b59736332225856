"""The server with its real trainer, on a random two-layer model: what the fake one stands for is so."""

import sys
import time

import pytest

from tests.server_process import ServerProcess, rows, wait_for_status
from tests.tiny_base import write_tiny_base

REAL = (sys.executable, "-m", "finetune_server.training")
STEPS = 18


@pytest.fixture
def server(tmp_path):
    process = ServerProcess(tmp_path / "server", trainer_command=REAL)
    yield process.start()
    process.close()


def test_a_real_training_that_is_killed_goes_on_and_every_step_is_told_once(server, tmp_path):
    base = str(write_tiny_base(tmp_path / "tiny.gguf"))
    with server.client() as client:
        files = [
            client.files.create(file=("rows.jsonl", rows(number)), purpose="fine-tune").id
            for number in (12, 2)
        ]
        job = client.fine_tuning.jobs.create(
            model=base,
            training_file=files[0],
            validation_file=files[1],
            seed=1,
            hyperparameters={"n_epochs": 6, "batch_size": 4},
        )
        kill_after(server, client, job.id, num_steps=4)
        job = wait_for_status(client, job.id, "succeeded", "failed", seconds=120)
        assert job.status == "succeeded", job.error
        events = client.fine_tuning.jobs.list_events(job.id, limit=100).data[::-1]
        steps = [event.data["step"] for event in events if event.type == "metrics"]
        assert steps == list(range(1, STEPS + 1))
        assert "The training process ended with signal SIGKILL; it is started again." in [
            e.message for e in events
        ]
        assert len(client.files.content(job.result_files[0]).read().splitlines()) == STEPS + 1
        assert client.models.retrieve(job.fine_tuned_model).to_dict()["parent"] == base
    job_dir = server.state_dir / "jobs" / job.id
    assert (job_dir / "adapter.gguf").read_bytes().startswith(b"GGUF")
    assert server.trainers() == []


def kill_after(server, client, job_id, *, num_steps: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        events = client.fine_tuning.jobs.list_events(job_id, limit=100).data
        if sum(event.type == "metrics" for event in events) >= num_steps:
            for trainer in server.trainers():
                trainer.kill()
            return
        time.sleep(0.02)
    pytest.fail("no steps were reported")
