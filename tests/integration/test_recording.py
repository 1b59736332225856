"""Recording with real processes: several writers, killed ones, a full disk; the tracer over real HTTP."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import langsmith
import pytest
from langchain_core.tracers import LangChainTracer

from langchain_finetune import LangSmithRunChatLoader, RunRecorder, RunSelection, RunStore
from tests.fakes.recorded_app import echo_chain, timeless

ROOT = Path(__file__).parents[2]

APP = """
import sys
from langchain_finetune import RunRecorder
from tests.fakes.recorded_app import echo_chain

path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
recorder, chain = RunRecorder(path), echo_chain()
for number in range(count):
    chain.invoke(f"{name}-{number}", {"callbacks": [recorder]})
    recorder.feedback(recorder.latest_run_id, "user_score", number % 2)
    print(number, flush=True)
print("lost", recorder.num_lost, "waiting", recorder.num_waiting, flush=True)
"""

FULL_DISK = """
import logging, resource, signal, sys
from langchain_finetune import RunRecorder
from tests.fakes.recorded_app import echo_chain

logging.basicConfig(format="%(levelname)s %(message)s")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
recorder, chain = RunRecorder(sys.argv[1]), echo_chain()
chain.invoke("before", {"callbacks": [recorder]})
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))  # what the disk still takes
answers = [chain.invoke(f"full-{n}" + "x" * 5000, {"callbacks": [recorder]}).content for n in range(60)]
print(set(answers), recorder.num_waiting > 0, recorder.num_lost)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
chain.invoke("after", {"callbacks": [recorder]})
print(recorder.num_waiting, recorder.num_lost)
"""


def start(code: str, *arguments: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "libs"), str(ROOT)))}
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )


def questions(store: RunStore) -> list[str]:
    pages = store.query(RunSelection())
    return [run["inputs"]["messages"][0][0]["kwargs"]["content"] for page in pages for run in page]


def test_several_processes_record_into_one_file_and_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    apps = [start(APP, path, f"app{number}", 40) for number in range(4)]
    outputs = [app.communicate()[0] for app in apps]
    assert [output.splitlines()[-1] for output in outputs] == ["lost 0 waiting 0"] * 4, outputs
    with RunStore(path) as store:
        assert sorted(questions(store)) == sorted(f"app{a}-{n}" for a in range(4) for n in range(40))
        assert store.integrity() == []
        assert store.num_runs == 480
        rated = LangSmithRunChatLoader(client=store, feedback={"user_score": 1}).invoke({})
        assert rated.num_sessions == 80


def test_a_killed_process_loses_what_was_in_flight_and_never_the_file(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    survivor = start(APP, path, "survivor", 150)
    said: dict[str, int] = {}
    for attempt in range(3):
        victim = start(APP, path, f"victim{attempt}", 10_000)
        assert victim.stdout is not None
        for line in victim.stdout:
            said[f"victim{attempt}"] = int(line)
            if said[f"victim{attempt}"] >= 5 + 10 * attempt:
                victim.send_signal(signal.SIGKILL)
                break
        # What it still managed to say before it died is recorded too.
        said[f"victim{attempt}"] = max([said[f"victim{attempt}"], *map(int, victim.stdout.read().split())])
        victim.stdout.close()
        assert victim.wait() == -signal.SIGKILL
    output, _ = survivor.communicate()
    assert output.splitlines()[-1] == "lost 0 waiting 0"
    with RunStore(path) as store:
        found = questions(store)
        assert store.integrity() == []
        for victim_name, last in said.items():
            assert {f"{victim_name}-{number}" for number in range(last + 1)} <= set(found)
            assert len([each for each in found if each.startswith(victim_name)]) <= last + 2
        assert len([each for each in found if each.startswith("survivor")]) == 150


def test_a_full_disk_breaks_no_application_and_what_was_kept_is_written_later(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    output, _ = start(FULL_DISK, path).communicate()
    lines = output.splitlines()
    assert lines[-2:] == ["{'hello'} True 0", "0 0"], output
    assert len([line for line in lines if line.startswith("WARNING")]) == 1
    with RunStore(path) as store:
        assert len(questions(store)) == 62
        assert store.integrity() == []


def test_a_reader_holds_up_no_writer(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    recorder, chain = RunRecorder(path), echo_chain()
    for number in range(150):
        chain.invoke(f"q{number}", {"callbacks": [recorder]})
    with RunStore(path) as store:
        pages = store.query(RunSelection())
        next(pages)  # stays open
        chain.invoke("meanwhile", {"callbacks": [recorder]})
        assert recorder.num_waiting == 0
        assert len(list(pages)) == 1
        assert "meanwhile" in questions(store)


def test_what_is_recorded_equals_what_the_tracer_posts_over_http(tmp_path: Path) -> None:
    with receiving() as (url, posted):
        client = langsmith.Client(url, api_key="k", auto_batch_tracing=False, info={})
        callbacks = [LangChainTracer(client=client), RunRecorder(tmp_path / "runs.sqlite")]
        config = {"callbacks": callbacks, "configurable": {"thread_id": "t"}, "tags": ["a"]}
        echo_chain().invoke("hi", config)
        list(echo_chain().stream("hi", config))
        client.close()
    db = sqlite3.connect(tmp_path / "runs.sqlite")
    recorded = {
        run_id: timeless(json.loads(body)) for run_id, body in db.execute("SELECT id, body FROM runs")
    }
    db.close()
    assert len(recorded) == 6
    assert recorded == {run_id: timeless(run) for run_id, run in posted.items()}


@contextmanager
def receiving() -> Iterator[tuple[str, dict[str, Any]]]:
    """Listen as LangSmith does for runs; yield the URL and the runs by id."""
    posted: dict[str, Any] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def take(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            run = posted.setdefault(body["id"], {})
            run.update({key: value for key, value in body.items() if value is not None or key not in run})
            self.send_response(202)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        do_POST = do_PATCH = take  # noqa: N815 - the names that http.server looks for

        def log_message(self, *_: Any) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", posted
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_and_its_parent_both_record(tmp_path: Path) -> None:
    code = """
import os, sys
from langchain_finetune import RunRecorder
from tests.fakes.recorded_app import echo_chain

recorder, chain = RunRecorder(sys.argv[1]), echo_chain()
chain.invoke("before", {"callbacks": [recorder]})
child = os.fork()
for number in range(30):
    chain.invoke(f"{'parent' if child else 'child'}-{number}", {"callbacks": [recorder]})
if child:
    assert os.waitpid(child, 0)[1] == 0
else:
    os._exit(0)
"""
    path = tmp_path / "runs.sqlite"
    app = start(code, path)
    output, _ = app.communicate()
    assert app.returncode == 0, output
    with RunStore(path) as store:
        assert len(questions(store)) == 61
        assert store.integrity() == []
