"""What goes wrong around a real training: it fails with a reason or goes on, and the next job succeeds."""

import shutil
import sys
import time

import psutil
import pytest

from tests.server_process import ServerProcess, rows, wait_for_status
from tests.tiny_base import write_tiny_base

NUM_STEPS = 9
THREE_EPOCHS = {"n_epochs": 3, "batch_size": 4}
WAIT_SECONDS = 240
DAY = 24 * 3600
pytestmark = pytest.mark.timeout(600)


def start_server(state_dir, faults) -> ServerProcess:
    trainer = [sys.executable, "-m", "tests.fakes.faulty_training", str(faults / "clock")]
    timing = {"retry_seconds": 0.2}
    return ServerProcess(state_dir, trainer_command=trainer, faults_dir=str(faults), timing=timing).start()


@pytest.fixture(scope="module")
def module_faults(tmp_path_factory):
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return str(write_tiny_base(tmp_path_factory.mktemp("tiny") / "tiny.gguf"))


@pytest.fixture(scope="module")
def server(tmp_path_factory, module_faults):
    """One server for all: a test finds it as the fault before has left it, and it still trains."""
    server = start_server(tmp_path_factory.mktemp("training") / "server", module_faults)
    yield server
    assert server.process.poll() is None
    server.close()


@pytest.fixture
def faults(module_faults):
    """Where a test lays its faults; gone after it."""
    yield module_faults
    for path in module_faults.iterdir():
        path.unlink()


@pytest.fixture
def client(server):
    with server.client() as client:
        yield client


class Job:
    """A job on a server, and its directory."""

    def __init__(self, server, base, content: bytes = b"", **more) -> None:
        self._server = server
        with server.client() as client:
            file = client.files.create(file=("rows.jsonl", content or rows()), purpose="fine-tune", **more)
            job = client.fine_tuning.jobs.create(
                model=base, training_file=file.id, seed=1, hyperparameters=THREE_EPOCHS
            )
        self.id = job.id
        self.file_id = file.id
        self.dir = server.state_dir / "jobs" / job.id

    def wait_until_told(self, words: str) -> None:
        """Waits until the trainer has written an event with these words."""
        self.wait_until(lambda: (p := self.dir / "events.jsonl").exists() and words in p.read_text())

    def wait_until(self, is_so) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not is_so():
            assert time.monotonic() < deadline
            time.sleep(0.002)

    def end(self):
        """The job when it has ended."""
        with self._server.client() as client:
            return wait_for_status(client, self.id, "succeeded", "failed", seconds=WAIT_SECONDS)

    def events(self) -> list:
        """All of them, oldest first, by small pages."""
        with self._server.client() as client:
            return list(client.fine_tuning.jobs.list_events(self.id, limit=2))[::-1]

    def assert_whole(self) -> list[str]:
        """It succeeded, and each step was told once and in order; gives what was said."""
        job = self.end()
        assert job.status == "succeeded", job.error
        events = self.events()
        assert len({event.id for event in events}) == len(events)
        assert [e.data["step"] for e in events if e.type == "metrics"] == list(range(1, NUM_STEPS + 1))
        return [event.message for event in events]


def wait_for_trainer(server) -> psutil.Process:
    deadline = time.monotonic() + WAIT_SECONDS
    while not server.trainers():
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return server.trainers()[0]


def test_a_trainer_without_memory_fails_its_job_and_says_what_to_do(server, base, faults):
    # A step on a thousand tokens and the whole vocabulary takes about a gigabyte.
    (faults / "memory").write_text(str(400 * 1024 * 1024))
    error = Job(server, base, rows().replace(b"Say ", b"Say " * 1000)).end().error
    assert error.code == "out_of_memory"
    assert "create the job again" in error.message


def test_files_that_go_and_a_clock_that_jumps_do_not_touch_a_training(server, base, client, faults):
    (faults / "clock").write_text("0")
    expiry = {"anchor": "created_at", "seconds": 3600}
    job = Job(server, base, expires_after=expiry)
    job.wait_until_told('"started"')
    (faults / "clock").write_text(str(DAY))
    with server.http() as http:
        assert http.get(f"/files/{job.file_id}").status_code == 404
    (server.state_dir / "files" / job.file_id).unlink()
    (job.dir / "training.jsonl").unlink()
    (faults / "clock").write_text(str(-DAY))
    job.assert_whole()
    ended = client.fine_tuning.jobs.retrieve(job.id)
    assert client.models.retrieve(ended.fine_tuned_model).id == ended.fine_tuned_model
    assert client.files.content(ended.result_files[0]).read()


def test_a_job_whose_rows_are_gone_when_it_is_to_go_on_says_so(server, base):
    job = Job(server, base)
    trainer = wait_for_trainer(server)
    (job.dir / "training.jsonl").unlink()
    trainer.kill()
    error = job.end().error
    assert (error.code, error.param) == ("file_not_found", "training_file")
    assert "Upload the file and create the job again" in error.message


def test_a_job_whose_directory_goes_while_it_trains_says_so(server, base, tmp_path):
    job = Job(server, base)
    job.wait_until_told('"started"')
    job.dir.rename(tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "elsewhere")
    assert job.end().error.code == "job_directory_gone"
    assert server.trainers() == []


def test_a_training_without_room_for_its_checkpoint_fails_its_job(server, base, faults):
    (faults / "file-bytes").write_text("100000")
    error = Job(server, base).end().error
    assert (error.code, error.message) == (
        "storage_full",
        "The disk is full. Make room and create the job again.",
    )


def test_a_training_without_room_even_for_its_events_and_result_goes_on_when_there_is(server, base, faults):
    (faults / "file-bytes").write_text("100")
    told = Job(server, base).assert_whole()
    ended = "The training process ended with exit code 6, as the disk is full; it is started again."
    assert told.count(ended) == 1
    assert sum("resumed from the start" in message for message in told) == 1


@pytest.fixture(scope="module")
def broken_off(base, tmp_path_factory, module_faults):
    """The state directory of a server that was killed with its trainer, when there were three checkpoints."""
    state_dir = tmp_path_factory.mktemp("broken-off") / "server"
    server = start_server(state_dir, module_faults)
    job = Job(server, base)
    job.wait_until((job.dir / "checkpoints" / f"step-{NUM_STEPS}").exists)
    server.kill()
    for trainer in server.trainers():
        trainer.kill()
    (job.dir / "result.json").unlink(missing_ok=True)
    return state_dir, job


def flip_a_bit(checkpoint) -> None:
    path = checkpoint / "adapter_model.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_off(checkpoint) -> None:
    path = checkpoint / "optimizer.pt"
    path.write_bytes(path.read_bytes()[:1000])


def lose_a_file(checkpoint) -> None:
    (checkpoint / "scheduler.pt").unlink()


def lose_the_manifest(checkpoint) -> None:
    (checkpoint / "checkpoint.json").unlink()


@pytest.mark.parametrize(
    ("damages", "resumed_from"),
    [
        ({9: flip_a_bit, 6: cut_off}, 3),
        ({9: lose_a_file, 6: lose_the_manifest, 3: flip_a_bit}, None),
    ],
)
def test_damaged_checkpoints_are_skipped_and_told(broken_off, faults, tmp_path, damages, resumed_from):
    state_dir, job = broken_off
    moved = shutil.copytree(state_dir, tmp_path / "server")
    for step, damage in damages.items():
        damage(moved / "jobs" / job.id / "checkpoints" / f"step-{step}")
    server = start_server(moved, faults)
    try:
        job._server = server
        told = job.assert_whole()
        for step in damages:
            skipped = f"The checkpoint at step {step} is damaged or of another training, and is skipped"
            assert told.count(skipped) == 1
        started = [event for event in job.events() if (event.data or {}).get("phase") == "started"]
        assert started[-1].data["resumed_from_step"] == resumed_from
    finally:
        server.close()
