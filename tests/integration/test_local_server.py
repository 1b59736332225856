"""Finding, starting, sharing, reviving, stopping the embedded server, as processes, with a quick stand-in."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from langchain_finetune import FineTuneRunnable
from langchain_finetune._spool import state_directory
from langchain_finetune.errors import (
    AuthenticationFailedError,
    HostError,
    MissingExtraError,
    ServerStartError,
)
from langchain_finetune.trainers.local import server as local
from langchain_finetune.trainers.local import stop as local_stop
from langchain_finetune.trainers.local.chat_model import LocalChatOpenAI
from langchain_finetune.trainers.local.server import LocalServer, local_server
from langchain_finetune.trainers.local.stop import stop_server

STUB = Path(__file__).parents[1] / "fakes" / "stub_server"


@pytest.fixture(autouse=True)
def stub(monkeypatch):
    """The stand-in is what `python -m finetune_server` starts, and needs nothing installed."""
    path = os.pathsep.join([str(STUB), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setattr(local, "_EXTRA", ())


@pytest.fixture
def directory():
    path = state_directory() / "server"
    yield path
    stop_server(path)
    wait_for(lambda: not any(map(is_alive, started(path))))


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def started(directory):
    file = directory / "starts"
    return [int(pid) for pid in file.read_text().split()] if file.exists() else []


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z" if Path("/proc/self").exists() else True


def pid_of(directory):
    return json.loads((directory / "server.json").read_bytes())["pid"]


def kill(directory):
    pid = pid_of(directory)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not is_alive(pid))


def test_it_is_started_once_and_found_again(directory):
    first = LocalServer(directory).endpoint()
    second = LocalServer(directory).endpoint()
    assert first == second
    assert first.base_url.startswith("http://127.0.0.1:")
    assert len(started(directory)) == 1
    assert directory.stat().st_mode & 0o077 == 0
    assert (directory / "server.out").stat().st_mode & 0o077 == 0


def test_threads_and_processes_that_start_it_together_end_with_one(directory):
    code = (
        "from langchain_finetune.trainers.local import server as local; local._EXTRA = ();"
        "from langchain_finetune.trainers.local.server import LocalServer; from pathlib import Path;"
        f"print(LocalServer(Path({str(directory)!r})).endpoint().base_url)"
    )
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(LocalServer(directory).endpoint())) for _ in range(3)
    ]
    processes = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    urls = {process.communicate(timeout=60)[0].decode().strip() for process in processes}
    urls |= {endpoint.base_url for endpoint in found}
    assert len(urls) == 1
    wait_for(lambda: sum(map(is_alive, started(directory))) == 1)
    assert [pid for pid in started(directory) if is_alive(pid)] == [pid_of(directory)]


def test_what_a_crash_left_behind_is_not_believed(directory):
    server = LocalServer(directory)
    url = server.endpoint().base_url
    kill(directory)
    assert (directory / "server.json").exists()
    assert server.endpoint().base_url == url
    assert len(started(directory)) == 2


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"base_url": 3}', '{"base_url": "no url"}', '{"base_url": "http://["}']
)
def test_an_announcement_that_says_nothing_is_not_believed(directory, text):
    directory.mkdir(parents=True)
    (directory / "server.json").write_text(text)
    (directory / "api_key").write_text("sk-local-x\n")
    assert LocalServer(directory).endpoint().api_key == "sk-local-x"


def test_a_start_that_fails_shows_the_end_of_its_own_log(directory, monkeypatch):
    directory.mkdir(parents=True)
    (directory / "server.out").write_text("yesterday's news\n")
    monkeypatch.setenv("STUB_MODE", "fail")
    with pytest.raises(ServerStartError, match="ended with status 3") as caught:
        LocalServer(directory).endpoint()
    assert str(caught.value).endswith("the port is cursed")
    assert "yesterday" not in str(caught.value)
    assert len(started(directory)) == 1


def test_what_the_server_says_beside_its_log_is_kept_from_growing(directory, monkeypatch):
    directory.mkdir(parents=True)
    (directory / "server.out").write_text("old\n" * 100)
    monkeypatch.setattr(local, "_MOST_OUTPUT_BYTES", 100)
    monkeypatch.setenv("STUB_MODE", "fail")
    with pytest.raises(ServerStartError, match="the port is cursed"):
        LocalServer(directory).endpoint()
    assert (directory / "server.out").read_text() == "the port is cursed\n"


def test_a_start_that_hangs_is_given_up_and_ended(directory, monkeypatch):
    monkeypatch.setenv("STUB_MODE", "hang")
    monkeypatch.setattr(local, "_START_SECONDS", 0.5)
    with pytest.raises(ServerStartError, match=r"did not answer within 0\.5 s"):
        LocalServer(directory).endpoint()
    wait_for(lambda: not any(map(is_alive, started(directory))))


def test_a_server_that_does_not_take_the_key_is_named(directory, monkeypatch):
    LocalServer(directory).endpoint()
    key = (directory / "api_key").read_text()
    other = directory.parent / "other"
    other.mkdir()
    for name in ("server.json", "server.lock"):
        (other / name).write_bytes((directory / name).read_bytes())
    (other / "api_key").write_text("sk-local-wrong\n")
    monkeypatch.setenv("STUB_MODE", "hang")
    monkeypatch.setattr(local, "_START_SECONDS", 0.5)
    with pytest.raises(AuthenticationFailedError, match="langchain-finetune stop") as caught:
        LocalServer(other).endpoint()
    assert key.strip() not in str(caught.value)


def test_without_the_extra_the_pip_line_is_said(directory, monkeypatch):
    monkeypatch.setattr(local, "_EXTRA", ("json", "no_such_module"))
    with pytest.raises(MissingExtraError, match=r'no_such_module.*pip install "langchain-finetune\[local\]"'):
        LocalServer(directory).endpoint()
    assert started(directory) == []


# --- stopping ---


def test_stop_ends_it_and_waits_until_it_is_gone(directory):
    LocalServer(directory).endpoint()
    pid = pid_of(directory)
    assert stop_server(directory)
    assert not is_alive(pid)
    assert not stop_server(directory)


def test_stop_never_signals_a_process_that_was_left_in_the_announcement(directory):
    LocalServer(directory).endpoint()
    kill(directory)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as bystander:
        (directory / "server.json").write_text(json.dumps({"pid": bystander.pid}))
        assert not stop_server(directory)
        assert bystander.poll() is None
        bystander.kill()


def test_a_server_of_another_user_is_named(directory, monkeypatch):
    def refuse(*_):
        raise PermissionError

    LocalServer(directory).endpoint()
    for module, name in ((os, "kill"), (Path, "open")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, refuse)
            with pytest.raises(HostError, match="belongs to another user"):
                stop_server(directory)


def test_a_server_that_does_not_end_is_named(directory, monkeypatch):
    LocalServer(directory).endpoint()
    pid = pid_of(directory)
    monkeypatch.setattr(local_stop, "_STOP_SECONDS", 0.4)
    monkeypatch.setattr(local_stop, "_PATIENCE_SECONDS", 0.1)
    told = []
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(HostError, match=f"process {pid}"):
            stop_server(directory, tell=told.append)
        (line,) = told
        assert line.startswith(f"waiting up to 0.4 s for the embedded server of {directory} (process {pid})")
    finally:
        os.kill(pid, signal.SIGCONT)
    monkeypatch.undo()


# --- reviving ---


def model(directory):
    endpoint = local_server(directory).endpoint()
    return LocalChatOpenAI(model="m", base_url=endpoint.base_url, api_key=endpoint.api_key, max_retries=0)


def test_a_model_works_on_after_the_server_has_ended(directory):
    chat = model(directory)
    first = chat.invoke("hi").content
    stop_server(directory)
    assert chat.invoke("hi").content != first
    assert len(started(directory)) == 2


def test_a_model_works_on_in_async_code_and_in_several_event_loops(directory):
    chat = model(directory)
    first = asyncio.run(chat.ainvoke("hi")).content
    assert asyncio.run(chat.ainvoke("hi")).content == first
    stop_server(directory)
    assert asyncio.run(chat.ainvoke("hi")).content != first


def test_a_model_finds_the_server_at_another_port(directory):
    chat = model(directory)
    old = chat.openai_api_base
    stop_server(directory)
    (directory / "port").unlink()
    assert chat.invoke("hi").content
    assert local_server(directory).endpoint().base_url != old.rstrip("/")


def test_why_the_server_does_not_come_back_reaches_the_caller(directory, monkeypatch):
    chat = model(directory)
    stop_server(directory)
    monkeypatch.setenv("STUB_MODE", "fail")
    with pytest.raises(ServerStartError, match="the port is cursed"):
        chat.invoke("hi")


# --- a server that dies while a job trains ---


def put_job(directory, status, num_events):
    job = {"id": "ftjob-1", "status": status, "model": "base", "fine_tuned_model": None}
    if status == "succeeded":
        job["fine_tuned_model"] = "ft:base:local::a"
    events = [{"id": f"e{number}", "level": "info", "message": "m"} for number in range(num_events)]
    temporary = directory / "job.json.new"
    temporary.write_text(json.dumps({"job": job, "events": events}))
    temporary.replace(directory / "job.json")


def attached(directory):
    trainer = FineTuneRunnable("local:base", poll_interval=0.02, timeout=60)
    local_server(directory).endpoint()
    put_job(directory, "running", 1)
    return trainer.attach("ftjob-1")


def test_a_server_that_dies_is_started_again_and_the_wait_goes_on(directory):
    job, told = attached(directory), []

    def watch(progress):
        told.append(progress["status"])
        if len(told) == 1:
            kill(directory)
            put_job(directory, "succeeded", 5)

    tuned = job.result(watch)
    assert tuned.model_name == "ft:base:local::a"
    assert tuned.profile["max_input_tokens"] == 2048
    assert told == ["running", "succeeded"]
    assert len(started(directory)) == 2


def test_a_server_that_dies_again_and_again_is_given_up(directory):
    job = attached(directory)
    stop = threading.Event()

    def keep_killing():
        while not stop.is_set():
            try:
                kill(directory)
            except (OSError, ValueError):
                time.sleep(0.005)

    killer = threading.Thread(target=keep_killing)
    killer.start()
    try:
        with pytest.raises(ServerStartError):
            job.result()
    finally:
        stop.set()
        killer.join()
