"""What the server was given it keeps: whoever dies, whenever, the job ends succeeded, each event once."""

import contextlib
import sqlite3
import sys

import pytest

from tests.kill_points import KillPoints
from tests.server_process import (
    TRAINER,
    ServerProcess,
    create_job,
    messages,
    rows,
    wait_for_status,
    wait_for_steps,
)
from tests.tiny_base import write_tiny_base

REAL = (sys.executable, "-m", "finetune_server.training")
SEEDS = (0, 1, 17, 6, 46, 21, 9, 36, 11, 12)
"""Each of another part of a job's life; `make chaos` has a hundred."""

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


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    """A server with the real trainer, on which one point follows the other."""
    directory = tmp_path_factory.mktemp("points")
    server = ServerProcess(directory / "server", trainer_command=REAL)
    base = write_tiny_base(directory / "tiny.gguf")
    server.start()
    yield KillPoints(server, str(base))
    server.close()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", SEEDS)
def test_ten_kills_at_seeded_points_of_a_jobs_life_lose_and_double_nothing(points, seed):
    points.run(seed)


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
