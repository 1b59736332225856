"""What goes wrong around a server: its disk, its store, a child's memory, files that go, a second server.

How a training takes its own faults is in `test_server_training_faults.py`.
"""

import contextlib
import re
import shutil
import subprocess
import time
from pathlib import Path

import openai
import psutil
import pytest

from tests.server_process import (
    BASE,
    ServerProcess,
    create_job,
    messages,
    rows,
    wait_for_status,
    wait_for_steps,
)
from tests.tiny_base import write_tiny_base

GARBAGE_FREE = [f"Step {step}/8: training loss={1 / step:.2f}" for step in range(1, 9)]
TIMING = {"retry_seconds": 0.2}
WAIT_SECONDS = 120


@pytest.fixture(scope="module")
def module_faults(tmp_path_factory):
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def module_server(tmp_path_factory, module_faults):
    state_dir = tmp_path_factory.mktemp("faulty") / "server"
    server = ServerProcess(
        state_dir, timing=TIMING, faults_dir=str(module_faults), limits={"min_free_bytes": 0}
    )
    yield server.start()
    server.close()


@pytest.fixture
def faults(module_faults):
    """Where a test lays its faults; gone after it."""
    yield module_faults
    for path in module_faults.iterdir():
        path.unlink()


@pytest.fixture
def server(module_server, faults):
    """A server with the fake trainer, which after each test lives and brings the next job to its end."""
    process = module_server.process
    yield module_server
    for path in faults.iterdir():
        path.unlink()
    assert module_server.process is process
    assert process.poll() is None
    with module_server.client() as client:
        wait_for_status(client, create_job(module_server), "succeeded", seconds=WAIT_SECONDS)
        assert [job.id for job in client.fine_tuning.jobs.list() if job.status == "running"] == []


@pytest.fixture
def client(server):
    with server.client() as client:
        yield client


def wait_until(is_so, seconds: float = WAIT_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def upload(client) -> str:
    return client.files.create(file=("a.jsonl", rows()), purpose="fine-tune").id


def upload_many(client) -> None:
    for _ in range(100):
        upload(client)


def start_of(server: ServerProcess) -> str:
    """What a start on the state directory says when it fails."""
    server.spawn()
    assert server.process.wait(timeout=WAIT_SECONDS) == 1
    last_line: str = server.log.read_text().splitlines()[-1]
    assert last_line.startswith("finetune_server cannot start: ")
    return last_line


def test_a_full_store_refuses_what_is_new_and_what_runs_goes_on_when_there_is_room(server, client, faults):
    job_id = create_job(server, "--steps 12 --step-seconds 0.1")
    wait_for_steps(server, job_id, 3)
    num_files = len(list(client.files.list()))
    file_id = upload(client)

    (faults / "store-full").touch()
    with server.http() as http:
        body = {"model": BASE, "training_file": file_id}
        answers = []

        def is_refused() -> bool:
            # The last page has some room left.
            answers.append(http.post("/fine_tuning/jobs", json=body))
            return answers[-1].status_code != 200

        wait_until(is_refused)
        assert (answers[-1].status_code, answers[-1].json()["error"]["code"]) == (507, "insufficient_storage")
        with pytest.raises(openai.APIStatusError) as refused:
            upload_many(client)
        assert refused.value.status_code == 507
        assert http.get(f"/fine_tuning/jobs/{job_id}").json()["status"] == "running"
    wait_until(lambda: f"job broken off job={job_id}" in server.log.read_text())
    wait_until(lambda: not server.trainers())
    (faults / "store-full").unlink()

    assert wait_for_status(client, job_id, "succeeded", "failed").status == "succeeded"
    steps = [message for message in messages(server, job_id) if message.startswith("Step ")]
    assert [int(step.split("/")[0].removeprefix("Step ")) for step in steps] == list(range(1, 13))
    assert len(list(client.files.list())) > num_files
    for job in [answer.json()["id"] for answer in answers[:-1]]:
        wait_for_status(client, job, "succeeded")
    assert {path.name for path in (server.state_dir / "jobs").iterdir()} == {
        job.id for job in client.fine_tuning.jobs.list()
    }


def test_an_upload_that_outgrows_the_disk_is_refused_and_leaves_nothing(server, client):
    process = psutil.Process(server.process.pid)
    before = [file.id for file in client.files.list()]
    process.rlimit(psutil.RLIMIT_FSIZE, (1024 * 1024, psutil.RLIM_INFINITY))
    try:
        with pytest.raises(openai.APIStatusError) as refused:
            client.files.create(file=("a.jsonl", rows() * 5000), purpose="fine-tune")
    finally:
        process.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
    assert refused.value.status_code == 507
    assert refused.value.code == "insufficient_storage"
    assert list((server.state_dir / "incoming").iterdir()) == []
    assert [file.id for file in client.files.list()] == before


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 24 MB."""
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(path)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small disk can only be mounted by root: the full disk itself is NOT tested here")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_disk_that_is_full_to_the_last_byte_loses_nothing(small_disk):
    server = ServerProcess(small_disk / "server", timing=TIMING, limits={"min_free_bytes": 0})
    server.log = small_disk.with_suffix(".log")
    try:
        server.start()
        job_id = create_job(server, "--steps 12 --step-seconds 0.1")
        wait_for_steps(server, job_id, 3)
        fill(small_disk / "filler")
        wait_until(lambda: f"job broken off job={job_id}" in server.log.read_text())
        with server.client() as client:
            with pytest.raises(openai.APIStatusError) as refused:
                upload(client)
            assert (refused.value.status_code, refused.value.code) == (507, "insufficient_storage")
            assert client.fine_tuning.jobs.retrieve(job_id).status == "running"
            (small_disk / "filler").unlink()
            assert wait_for_status(client, job_id, "succeeded", "failed").status == "succeeded"
            wait_for_status(client, create_job(server), "succeeded")
        told = [message for message in messages(server, job_id) if message.startswith("Step ")]
        assert len(told) == len(set(told)) == 12
    finally:
        server.close()


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for num_bytes in (65536, 4096, 1):
            with contextlib.suppress(OSError):
                while file.write(b"x" * num_bytes):
                    pass


def test_lines_that_are_no_events_are_left_out(server, client):
    job_id = create_job(server, "--garbage")
    assert wait_for_status(client, job_id, "succeeded", "failed", seconds=WAIT_SECONDS).status == "succeeded"
    events = list(client.fine_tuning.jobs.list_events(job_id, limit=100))[::-1]
    assert [event.message for event in events if event.type == "metrics"] == GARBAGE_FREE
    (odd,) = [event for event in events if event.message == "A loss that is no number"]
    assert odd.data == {"train_loss": None}
    # As many entries as looks at the file: a slow trainer's lines come in several.
    entries = re.findall(rf"lines are no events job={job_id} num_lines=(\d+)", server.log.read_text())
    assert sum(map(int, entries)) == 9


def test_a_queued_job_outlives_its_file_and_not_its_directory(server, client):
    ahead, kept, gone = create_job(server, "--hang"), create_job(server), create_job(server)
    for job_id in (kept, gone):
        wait_for_status(client, job_id, "queued")
    client.files.delete(client.fine_tuning.jobs.retrieve(ahead).training_file)
    file_id = client.fine_tuning.jobs.retrieve(kept).training_file
    (server.state_dir / "files" / file_id).unlink()
    (server.state_dir / "jobs" / gone).rename(server.state_dir / "elsewhere")
    client.fine_tuning.jobs.cancel(ahead)
    assert wait_for_status(client, kept, "succeeded", "failed").status == "succeeded"
    error = wait_for_status(client, gone, "succeeded", "failed").error
    assert error.code == "job_directory_gone"
    assert gone in error.message
    with server.http() as http:
        assert http.get(f"/files/{file_id}/content").status_code == 404


def test_an_inference_child_without_memory_is_an_error_and_no_more(server, client, faults, tmp_path):
    base = str(write_tiny_base(tmp_path / "tiny.gguf"))
    job = client.fine_tuning.jobs.create(model=base, training_file=upload(client))
    wait_for_status(client, job.id, "succeeded")
    question = {"model": base, "messages": [{"role": "user", "content": "?"}], "max_tokens": 2}
    (faults / "child-memory").write_text(str(150 * 1024 * 1024))
    with pytest.raises(openai.InternalServerError) as failed:
        client.chat.completions.create(**question)
    assert failed.value.code == "inference_engine_failed"
    assert "did not start" in str(failed.value)
    (faults / "child-memory").unlink()
    assert client.with_options(timeout=WAIT_SECONDS).chat.completions.create(**question).choices


def test_a_second_server_finds_the_first_while_a_job_runs_and_leaves_the_job_alone(server, client):
    job_id = create_job(server, "--hang")
    wait_until(server.trainers)
    (trainer,) = server.trainers()
    second = ServerProcess(server.state_dir)
    second.log = server.log.with_name("second.log")
    second.spawn()
    assert second.process.wait(timeout=WAIT_SECONDS) == 0
    assert f"already listens on {server.base_url}" in second.log.read_text()
    assert server.trainers() == [trainer]
    client.fine_tuning.jobs.cancel(job_id)


@pytest.fixture(scope="module")
def stopped_state_dir(tmp_path_factory):
    """Of a server that has done a job, and has been stopped."""
    server = ServerProcess(tmp_path_factory.mktemp("stopped") / "server").start()
    with server.client() as client:
        wait_for_status(client, create_job(server), "succeeded", seconds=WAIT_SECONDS)
    server.stop()
    return server.state_dir


@pytest.fixture
def stopped(stopped_state_dir, tmp_path):
    """A server on a copy of that."""
    server = ServerProcess(shutil.copytree(stopped_state_dir, tmp_path / "server"))
    yield server
    server.close()


@pytest.mark.parametrize("part", ["the beginning", "the rest"])
def test_a_damaged_store_is_named_and_not_touched(stopped, part):
    store = stopped.state_dir / "server.sqlite"
    sound = store.read_bytes()
    noise = bytes(index * 37 % 251 for index in range(len(sound)))
    damaged = noise if part == "the beginning" else sound[:4096] + noise[4096:]
    store.write_bytes(damaged)
    said = start_of(stopped)
    assert f"StoreUnusableError: {store} is damaged" in said
    assert "Put a copy of it in its place" in said
    assert store.read_bytes() == damaged
    store.write_bytes(sound)
    stopped.start()
    with stopped.client() as client:
        assert [job.status for job in client.fine_tuning.jobs.list()] == ["succeeded"]


@pytest.mark.parametrize("name", ["server.sqlite", "api_key", "server.lock"])
def test_a_file_that_may_not_be_read_is_named(stopped, name):
    path = stopped.state_dir / name
    path.chmod(0)
    # root may read everything, unless it gives that up.
    powerless = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    if subprocess.run([*powerless, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("setpriv is not to be had: what root may not read is NOT tested here")
    stopped.launcher = powerless
    said = start_of(stopped)
    assert str(path) in said
    path.chmod(0o600)
    stopped.start()


def test_the_directory_of_a_job_that_was_never_entered_goes_and_a_trained_one_stays(stopped):
    jobs = stopped.state_dir / "jobs"
    never_entered, trained = jobs / f"ftjob-{1:024x}", jobs / f"ftjob-{2:024x}"
    for path in (never_entered, trained):
        path.mkdir()
        (path / "training.jsonl").write_bytes(rows())
    (trained / "job.json").write_text("{}")
    stopped.start()
    assert not never_entered.exists()
    assert trained.exists()
    assert len(list(jobs.iterdir())) == 2
