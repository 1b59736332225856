"""Who gets in: a server that other machines can reach, its keys, and what its children inherit."""

import json
import os
import socket
import subprocess
import sys
import time

import httpx
import psutil
import pytest

from tests.server_process import BASE, ServerProcess, create_job, rows, wait_for_status

ENVIRONMENT_KEY = "environment-" + "k" * 24


def own_address() -> str:
    """An address of this machine's that is not the loopback."""
    for addresses in psutil.net_if_addrs().values():
        for each in addresses:
            if each.family == socket.AF_INET and not each.address.startswith(("127.", "169.254.")):
                return each.address
    pytest.skip("THIS MACHINE HAS NO ADDRESS BUT THE LOOPBACK: access from other machines is not tested")


def command(state_dir, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m finetune_server …`."""
    given = [sys.executable, "-m", "finetune_server", *arguments, "--state-dir", str(state_dir)]
    environment = ServerProcess.environment()
    return subprocess.run(given, env=environment, capture_output=True, text=True, timeout=60, check=False)


def key_for(state_dir, name: str) -> str:
    created = command(state_dir, "keys", "create", name)
    assert created.returncode == 0, created.stderr
    return created.stdout.strip()


@pytest.fixture
def server(tmp_path):
    process = ServerProcess(tmp_path / "server", host="0.0.0.0")
    yield process
    process.close()


class Door:
    """The server as another machine sees it.

    The connection comes from this machine's outer address to the loopback: neither the address of the
    peer nor that of the server is the other's, which is how a stranger looks.
    """

    def __init__(self, server: ServerProcess) -> None:
        url = httpx.URL(server.base_url)
        self.root = f"http://127.0.0.1:{url.port}"
        self.outer_root = f"http://{own_address()}:{url.port}"

    def status(self, key: str | None, *, path: str = "/v1/models", **headers: str) -> int:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if key:
            given["Authorization"] = f"Bearer {key}"
        with httpx.Client(transport=httpx.HTTPTransport(local_address=own_address())) as client:
            return client.get(self.root + path, headers=given).status_code


def test_beyond_the_loopback_a_key_is_compulsory_and_the_error_says_what_to_run(tmp_path):
    state_dir = tmp_path / "server"
    refused = command(state_dir, "--host", "0.0.0.0")
    assert refused.returncode == 1
    assert f"langchain-finetune keys create NAME --state-dir {state_dir}\n" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (state_dir / "server.json").exists()


def test_a_name_counts_as_the_address_that_it_stands_for(tmp_path):
    server = ServerProcess(tmp_path / "server", host="localhost")
    try:
        assert server.start().base_url.startswith("http://localhost:")
    finally:
        server.close()


def test_a_key_opens_as_soon_as_it_is_created_and_not_once_it_is_deleted(server):
    first = key_for(server.state_dir, "first")
    door = Door(server.start())
    assert server.base_url.startswith("http://127.0.0.1:")
    assert door.status(first) == 200
    second = key_for(server.state_dir, "second")
    assert door.status(second) == 200
    assert command(server.state_dir, "keys", "delete", "first").returncode == 0
    assert (door.status(first), door.status(second)) == (401, 200)
    assert httpx.get(door.outer_root + "/healthz").status_code == 200


def test_the_local_key_opens_on_this_machine_and_for_no_other(server):
    named = key_for(server.state_dir, "bob")
    door = Door(server.start())
    assert door.status(named) == 200
    assert door.status(server.key) == 401
    assert door.status(server.key, X_Forwarded_For="127.0.0.1") == 401
    header = {"Authorization": f"Bearer {server.key}"}
    for root in (door.root, door.outer_root):
        assert httpx.get(f"{root}/v1/models", headers=header).status_code == 200
        forwarded = header | {"X-Forwarded-For": "203.0.113.9"}
        assert httpx.get(f"{root}/v1/models", headers=forwarded).status_code == 401


def test_nothing_but_the_health_check_is_open(server):
    key_for(server.state_dir, "bob")
    door = Door(server.start())
    assert door.status(None, path="/healthz") == 200
    for path in ("/openapi.json", "/docs", "/redoc", "/", "/v1/files", "/healthz/", "//healthz", "/nothing"):
        assert door.status(None, path=path) == 401, path
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13"}
    assert door.status(None, **upgrade, Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==") == 401


def test_a_page_in_a_browser_gets_no_leave_to_ask(server):
    key_for(server.state_dir, "bob")
    server.start()
    origin = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    root = server.base_url.removesuffix("/v1")
    answers = [
        httpx.options(f"{root}/v1/files", headers=origin),
        httpx.get(f"{root}/healthz", headers=origin),
        httpx.get(f"{root}/v1/models", headers=origin | {"Authorization": f"Bearer {server.key}"}),
    ]
    assert [answer.status_code for answer in answers] == [401, 200, 200]
    assert not [name for answer in answers for name in answer.headers if name.startswith("access-control-")]


def test_the_environments_key_opens_and_no_child_inherits_it(tmp_path, monkeypatch):
    monkeypatch.setenv("FINETUNE_SERVER_API_KEY", ENVIRONMENT_KEY)
    server = ServerProcess(tmp_path / "server", host="0.0.0.0")
    try:
        door = Door(server.start())
        assert door.status(ENVIRONMENT_KEY) == 200
        job_id = create_job(server, "--steps 500 --step-seconds 0.1")
        with server.client() as client:
            wait_for_status(client, job_id, "running")
        with server.http() as http:
            # The first question starts an engine.
            root = server.base_url.removesuffix("/v1")
            assert http.post(f"{root}/tokenize", json={"model": BASE, "prompt": "hi"}).status_code == 200
        children = psutil.Process(server.process.pid).children(recursive=True)
        commands = [" ".join(child.cmdline()) for child in children]
        assert [each for each in commands if "fakes/trainer.py" in each]
        assert [each for each in commands if "finetune_server.inference" in each]
        for child in children:
            environment = child.environ()
            assert environment["PATH"] == os.environ["PATH"]
            assert "FINETUNE_SERVER_API_KEY" not in environment
            assert ENVIRONMENT_KEY not in "".join(environment.values())
        assert ENVIRONMENT_KEY not in server.log.read_text()
    finally:
        server.close()


def test_a_key_that_is_too_short_is_refused_and_not_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("FINETUNE_SERVER_API_KEY", "too-short-xyzzy")
    refused = command(tmp_path / "server")
    assert refused.returncode == 1
    assert refused.stderr.startswith("finetune_server cannot start: FINETUNE_SERVER_API_KEY must have")
    assert "xyzzy" not in refused.stderr


def test_the_log_is_json_where_asked_for_and_holds_no_key_and_no_row(tmp_path):
    log = tmp_path / "server" / "server.log"
    server = ServerProcess(tmp_path / "server", host="127.0.0.1", log_format="json", log_file=str(log))
    try:
        server.start()
        named = key_for(server.state_dir, "bob")
        with server.client() as client:
            file = client.files.create(file=("a.jsonl", rows()), purpose="fine-tune")
        header = {"Authorization": f"Bearer {named}"}
        assert httpx.get(f"{server.base_url}/files/{file.id}", headers=header).status_code == 200
        assert httpx.get(f"{server.base_url}/files", headers={"Authorization": "x"}).status_code == 401
        wait_for_line(log, '"status": 401')
        text = log.read_text()
        entries = [json.loads(line) for line in text.splitlines()]
        callers = [each["caller"] for each in entries if each["message"] == "request"]
        assert {"local", "bob", None} <= set(callers)
        assert not [secret for secret in (server.key, named, "Say 1.", "a.jsonl") if secret in text]
    finally:
        server.close()


def wait_for_line(log, text: str) -> None:
    deadline = time.monotonic() + 5
    while text not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("is_running", [True, False])
def test_clean_goes_through_the_server_that_runs_or_does_without(tmp_path, is_running):
    server = ServerProcess(tmp_path / "server")
    try:
        server.start()
        job_id = create_job(server)
        with server.client() as client:
            job = wait_for_status(client, job_id, "succeeded")
            spare = client.files.create(file=("b.jsonl", rows()), purpose="fine-tune")
            young = command(server.state_dir, "clean", "--older-than", "1")
            assert young.stdout.startswith("removed 0 files of the server and what 0 ended jobs left")
            assert {file.id for file in client.files.list()} >= {spare.id, *job.result_files}
        if not is_running:
            server.stop()
        cleaned = command(server.state_dir, "clean", "--older-than", "0")
        assert cleaned.returncode == 0, cleaned.stderr
        assert cleaned.stdout.startswith("removed 3 files of the server and what 1 ended jobs left")
        if not is_running:
            server.start()
        with server.client() as client:
            assert list(client.files.list()) == []
            assert client.fine_tuning.jobs.retrieve(job_id).status == "succeeded"
            assert job.fine_tuned_model in [model.id for model in client.models.list()]
        assert list((server.state_dir / "files").iterdir()) == []
        assert not (server.state_dir / "jobs" / job_id / "trainer.log").exists()
    finally:
        server.close()
