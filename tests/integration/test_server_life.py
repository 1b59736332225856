"""One server a state directory: started by anybody, found by the rest, gone when there is nothing to do."""

import contextlib
import json
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from finetune_server.storage.schema import MIGRATIONS
from tests.server_process import ServerProcess, rows

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A server for the tests that leave it as they found it."""
    process = ServerProcess(tmp_path_factory.mktemp("life") / "server")
    yield process.start()
    process.close()


@pytest.fixture
def server(tmp_path):
    process = ServerProcess(tmp_path / "server")
    yield process
    process.close()


def command_line(state_dir: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "finetune_server", "--state-dir", str(state_dir), *more]
    environment = ServerProcess.environment()
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_it_says_where_it_listens(running):
    told = json.loads((running.state_dir / "server.json").read_text())
    assert told["version"] == 1
    assert told["pid"] == running.process.pid
    assert told["base_url"] == f"http://127.0.0.1:{told['port']}/v1"
    line = f"finetune_server listens on {told['base_url']} (key in {running.state_dir / 'api_key'})"
    assert line in running.log.read_text()
    assert running.key.startswith("sk-local-")


def test_a_second_server_finds_the_first(running):
    second = command_line(running.state_dir)
    assert second.returncode == 0
    assert f"already listens on {running.base_url} (process {running.process.pid})" in second.stdout
    with running.client() as client:
        client.models.list()


def test_of_many_starts_at_once_one_serves_and_the_others_find_it(tmp_path):
    servers = [ServerProcess(tmp_path / "server") for _ in range(4)]
    try:
        for server in servers:
            server.spawn()
        deadline = time.monotonic() + 30
        while sum(server.process.poll() is None for server in servers) > 1:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (serving,) = [server for server in servers if server.process.poll() is None]
        serving.wait_ready()
        assert [server.process.returncode for server in servers if server is not serving] == [0, 0, 0]
    finally:
        for server in servers:
            server.close()


def test_a_start_after_a_kill_takes_over_with_the_same_port_and_key(server):
    server.start()
    base_url, key = server.base_url, server.key
    server.kill()
    assert (server.state_dir / "server.json").exists()
    server.start()
    assert (server.base_url, server.key) == (base_url, key)


def test_it_takes_another_port_while_its_own_is_taken_and_comes_back_to_it(server):
    server.start()
    port = httpx.URL(server.base_url).port
    server.stop()
    with socket.create_server(("127.0.0.1", port)):
        server.start()
        assert httpx.URL(server.base_url).port != port
        server.stop()
    server.start()
    assert httpx.URL(server.base_url).port == port


def test_a_port_that_was_asked_for_and_is_taken_is_an_error(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = command_line(tmp_path / "server", "--port", str(port))
    assert answer.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(server, number):
    server.start()
    server.process.send_signal(number)
    assert server.process.wait(timeout=10) == 0
    assert not (server.state_dir / "server.json").exists()
    assert not (server.state_dir / "server.sqlite-wal").exists()


def test_it_goes_when_it_has_been_idle(tmp_path):
    server = ServerProcess(tmp_path / "server", idle_minutes=2 / 60)
    try:
        server.start()
        with server.client() as client:
            for _ in range(10):
                client.models.list()
                time.sleep(0.3)
            assert server.process.poll() is None
        assert server.process.wait(timeout=10) == 0
    finally:
        server.close()


def test_it_does_not_go_while_a_job_waits_or_runs(tmp_path):
    trainer = [sys.executable, str(Path(__file__).parents[1] / "fakes" / "trainer.py")]
    slow = [*trainer, "--steps", "4", "--step-seconds", "1"]
    server = ServerProcess(tmp_path / "server", idle_minutes=2 / 60, trainer_command=slow)
    try:
        server.start()
        with server.client() as client:
            file = client.files.create(file=("a.jsonl", rows()), purpose="fine-tune")
            client.fine_tuning.jobs.create(model="smollm2-135m-instruct", training_file=file.id)
        assert server.process.wait(timeout=20) == 0
        with contextlib.closing(sqlite3.connect(server.state_dir / "server.sqlite")) as store:
            assert store.execute("SELECT status FROM jobs").fetchone() == ("succeeded",)
    finally:
        server.close()


def test_health_checks_alone_do_not_keep_it(tmp_path):
    server = ServerProcess(tmp_path / "server", idle_minutes=2 / 60)
    try:
        server.start()
        root = server.base_url.removesuffix("/v1")
        deadline = time.monotonic() + 10
        with contextlib.suppress(httpx.TransportError):
            while time.monotonic() < deadline:
                httpx.get(f"{root}/healthz")
                time.sleep(0.2)
        assert server.process.wait(timeout=5) == 0
    finally:
        server.close()


def test_a_store_of_a_newer_version_is_left_alone(server):
    server.start()
    server.stop()
    with contextlib.closing(sqlite3.connect(server.state_dir / "server.sqlite")) as store:
        store.execute("PRAGMA user_version = 99")
    answer = command_line(server.state_dir)
    assert answer.returncode == 1
    last_line = answer.stderr.splitlines()[-1]
    assert last_line.startswith("finetune_server cannot start: StoreVersionError: ")
    assert f"has version 99, this package knows {len(MIGRATIONS)}:" in last_line
    assert not (server.state_dir / "server.json").exists()


def test_the_state_directory_can_be_moved(server, tmp_path):
    server.start()
    with server.client() as client:
        file = client.files.create(file=("a.jsonl", rows()), purpose="fine-tune")
    server.stop()
    moved = ServerProcess(server.state_dir.rename(tmp_path / "moved"))
    try:
        moved.start()
        with moved.client() as client:
            assert client.files.content(file.id).read() == rows()
    finally:
        moved.close()


class Chunks:
    """A multipart body that is made as it is sent."""

    def __init__(self, num_bytes: int) -> None:
        self.row = b'{"messages": "' + b"x" * (64 * 1024 - 17) + b'"}\n'
        self.num_rows = num_bytes // len(self.row)
        self.head = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
        self.head += b'--b\r\nContent-Disposition: form-data; name="file"; filename="big.jsonl"\r\n\r\n'

    def __iter__(self):
        yield self.head
        for _ in range(self.num_rows):
            yield self.row
        yield b"\r\n--b--\r\n"


def test_a_large_upload_does_not_land_in_memory(running):
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    with running.client() as client, running.http() as http:
        client.files.create(file=("a.jsonl", rows()), purpose="fine-tune")
        before = peak_memory(running.process.pid)
        body = Chunks(160 * MIB)
        answer = http.post("/files", content=body, headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.json()["bytes"] == body.num_rows * len(body.row)
        assert peak_memory(running.process.pid) - before < 16 * MIB
        client.files.delete(answer.json()["id"])


def peak_memory(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def test_an_upload_over_the_cap_is_refused_as_soon_as_it_is(tmp_path):
    server = ServerProcess(tmp_path / "server", limits={"max_file_bytes": MIB})
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    try:
        server.start()
        with server.http() as http:
            announced = http.post("/files", content=b"".join(Chunks(2 * MIB)), headers=headers)
            streamed = http.post("/files", content=Chunks(2 * MIB), headers=headers)
        for answer in (announced, streamed):
            assert (answer.status_code, answer.json()["error"]["code"]) == (413, "file_too_large")
        assert list((server.state_dir / "incoming").iterdir()) == []
    finally:
        server.close()


def test_an_upload_that_breaks_off_leaves_nothing(running):
    url = httpx.URL(running.base_url)
    head = f"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {running.key}\r\n"
    head += "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 100000\r\n\r\n"
    with socket.create_connection((url.host, url.port)) as connection:
        connection.sendall(head.encode() + Chunks(0).head + b'{"messages"')
        wait_until(lambda: any((running.state_dir / "incoming").iterdir()))
    wait_until(lambda: not any((running.state_dir / "incoming").iterdir()))
    with running.client() as client:
        assert "big.jsonl" not in [file.filename for file in client.files.list()]


def wait_until(is_so, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_disk_without_room_refuses_uploads_and_jobs_and_the_server_lives(tmp_path):
    server = ServerProcess(tmp_path / "server", limits={"min_free_bytes": 2**60})
    try:
        server.start()
        with server.http() as http:
            answer = http.post(
                "/files", content=b"", headers={"Content-Type": "multipart/form-data; boundary=b"}
            )
            assert (answer.status_code, answer.json()["error"]["code"]) == (507, "insufficient_storage")
            assert answer.headers["x-should-retry"] == "false"
            assert http.get("/files").status_code == 200
    finally:
        server.close()


def test_many_clients_at_once_are_all_served(running):
    ids: list[str] = []

    def work() -> None:
        with running.client() as client:
            for _ in range(5):
                file = client.files.create(file=("a.jsonl", rows()), purpose="fine-tune")
                ids.append(client.files.retrieve(file.id).id)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 40
    with running.client() as client:
        assert set(ids) <= {file.id for file in client.files.list()}
    assert list((running.state_dir / "incoming").iterdir()) == []
