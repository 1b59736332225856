"""The command as a process: a pipe at the embedded server, an interrupt in a terminal, a pipe that ends."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny_base import write_tiny_base

ROOT = Path(__file__).parents[2]
RUNS = ROOT / "examples" / "calculator" / "runs.jsonl"
COMMAND = (sys.executable, "-m", "langchain_finetune.cli.main")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A state directory of this module's own, with the sources on the path; its server is ended."""
    paths = [str(ROOT / "libs"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    home = tmp_path_factory.mktemp("cli")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")},
        "PYTHONPATH": os.pathsep.join(paths),
        "LANGCHAIN_FINETUNE_HOME": str(home),
        "COLUMNS": "80",
        "TERM": "xterm",
    }
    yield environment
    subprocess.run([*COMMAND, "stop"], env=environment, check=True, capture_output=True)


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    return f"local:{write_tiny_base(tmp_path_factory.mktemp('base') / 'tiny.gguf')}"


@pytest.fixture
def run(environment):
    def call(*arguments, code=0):
        command = [*COMMAND, *map(str, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return done

    return call


@pytest.fixture(scope="module")
def pipe(tmp_path_factory, target):
    path = tmp_path_factory.mktemp("pipe") / "pipe.json"
    told = {
        "source": str(RUNS),
        "select": {"feedback": {"user_score": 1}, "limit": 24},
        "convert": {"test_fraction": 0.1, "validation_fraction": 0},
        "target": target,
        "train": {"hyperparameters": {"n_epochs": 1, "batch_size": 8}},
        "alias": "calculator@production",
    }
    path.write_text(json.dumps(told))
    return path


def test_a_pipe_trains_and_a_second_run_finds_its_model(run, pipe):
    first = run("run", pipe, "--json")
    told = json.loads(first.stdout)
    assert told["model"]["reused"] is False
    assert told["alias"] == "calculator@production"
    assert "loss" in first.stderr
    assert "\x1b" not in first.stdout + first.stderr
    again = json.loads(run("run", pipe, "--json", "-q").stdout)
    assert (again["model"]["model"], again["model"]["reused"]) == (told["model"]["model"], True)
    # Other commands of other processes find it by each of its names.
    [job] = json.loads(run("jobs", "list", "--json").stdout)
    assert (job["status"], job["job_id"]) == ("succeeded", told["model"]["job_id"])
    asked = run("models", "chat", "calculator@production", "What's 56/7?", "--max-tokens", 4, "--json")
    assert json.loads(asked.stdout)["usage"]["output_tokens"] <= 4
    cleaned = json.loads(run("clean", "--older-than", 0, "--json").stdout)
    assert (cleaned["num_data"], cleaned["server"]["num_files"]) == (1, 2)


def test_an_interrupt_in_a_terminal_leaves_the_job_and_the_terminal_whole(run, environment, target):
    data = json.loads(run("convert", RUNS, "--json", "-q").stdout)
    ours, theirs = pty.openpty()
    settings = ("--epochs", "50", "--batch-size", "1")
    process = subprocess.Popen(
        [*COMMAND, "train", target, data["fingerprint"], *settings],
        env={**environment, "NO_COLOR": "1"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        # Where the tests run in the background SIGINT is ignored, and a child would ignore it too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    os.close(theirs)
    shown = _read_until(ours, b"loss")
    process.send_signal(signal.SIGINT)
    shown += _read_until(ours, b"come back with")
    assert process.wait(timeout=60) == 130
    shown += _rest(ours)
    os.close(ours)
    text = shown.decode()
    assert "Traceback" not in text
    assert "\x1b[31m" not in text
    name = text.split("jobs watch ")[1].split()[0]
    assert json.loads(run("jobs", "cancel", name, "--json").stdout)["status"] == "cancelled"
    assert run("jobs", "watch", name, code=1).stderr.count("Traceback") == 0


def test_whoever_has_read_enough_may_go(environment):
    command = f"{sys.executable} -m langchain_finetune.cli.main doctor --offline | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "versions\n"
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def _read_until(descriptor, text):
    shown = b""
    while text not in shown:
        readable, _, _ = select.select([descriptor], [], [], 120)
        assert readable, shown
        shown += os.read(descriptor, 4096)
    return shown


def _rest(descriptor):
    shown = b""
    while select.select([descriptor], [], [], 0)[0]:
        try:
            part = os.read(descriptor, 4096)
        except OSError:
            break  # the other end is closed
        if not part:
            break
        shown += part
    return shown
