"""What the server was given it keeps: whoever dies, whenever, the job ends succeeded, each event once."""

import contextlib
import random
import sqlite3
import time

import psutil
import pytest

from tests.server_process import (
    TRAINER,
    ServerProcess,
    create_job,
    messages,
    rows,
    wait_for_status,
    wait_for_steps,
)

STEPS = 12
STEP_SECONDS = 0.05
EVERY_STEP = [f"Step {step}/{STEPS}: training loss={1 / step:.2f}" for step in range(1, STEPS + 1)]
ONCE = ("Fine-tuning job started", "New fine-tuned model created", "The job has successfully completed")


@pytest.fixture
def start(tmp_path):
    """Starts servers on one state directory; leaves none behind."""
    trainer = [*TRAINER, "--steps", str(STEPS), "--step-seconds", str(STEP_SECONDS)]
    server = ServerProcess(tmp_path / "server", trainer_command=trainer)
    yield server.start
    server.close()


def assert_whole(server: ServerProcess, job_id: str) -> None:
    """The job has succeeded; every event is there once, in order; the store is sound."""
    with server.client() as client:
        job = wait_for_status(client, job_id, "succeeded", "failed", "cancelled")
        assert job.status == "succeeded", job.error
        assert client.models.retrieve(job.fine_tuned_model).id == job.fine_tuned_model
        assert len(client.files.content(job.result_files[0]).read().splitlines()) == STEPS + 1
        assert client.files.content(job.training_file).read() == rows()
    told = messages(server, job_id)
    assert [message for message in told if message.startswith("Step ")] == EVERY_STEP
    assert [told.count(message) for message in ONCE] == [1, 1, 1]
    assert server.trainers() == []
    with contextlib.closing(sqlite3.connect(server.state_dir / "server.sqlite")) as store:
        assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_killed_server_goes_on_where_it_was(start):
    server = start()
    job_id = create_job(server)
    wait_for_steps(server, job_id, 5)
    (trainer,) = server.trainers()
    server.kill()
    trainer.wait(timeout=2)
    assert_whole(start(), job_id)
    assert any("resumed from the checkpoint at step" in message for message in messages(server, job_id))


def test_ten_kills_at_seeded_points_of_a_jobs_life_lose_and_double_nothing(start):
    seeded = random.Random(20261122)
    server = start()
    for number in range(10):
        job_id = create_job(server)
        time.sleep(seeded.uniform(0, STEPS * STEP_SECONDS + 0.4))
        victim = ("server", "trainer", "both")[number % 3]
        if victim != "server":
            for trainer in server.trainers():
                with contextlib.suppress(psutil.NoSuchProcess):
                    trainer.kill()
        if victim != "trainer":
            server.kill()
            start()
        assert_whole(server, job_id)


def test_a_stopped_server_leaves_no_process_and_its_job_goes_on_next_time(start):
    server = start()
    job_id = create_job(server)
    wait_for_steps(server, job_id, 3)
    assert server.stop() == 0
    assert server.trainers() == []
    assert not (server.state_dir / "server.json").exists()
    with contextlib.closing(sqlite3.connect(server.state_dir / "server.sqlite")) as store:
        assert store.execute("SELECT status FROM jobs").fetchone() == ("running",)
    assert_whole(start(), job_id)
