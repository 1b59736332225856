"""A real server in a process of its own, for the integration tests to start, ask, kill and start again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil

BASE = "smollm2-135m-instruct"
ROOT = Path(__file__).parents[1]
TRAINER = (sys.executable, str(ROOT / "tests" / "fakes" / "trainer.py"))
_READY_SECONDS = 30.0


class ServerProcess:
    """One server at a time on one state directory.

    Args:
        state_dir: The server's.
        settings: Fields of the server's `Settings`; the trainer is the fake one unless they name another.
    """

    def __init__(self, state_dir: Path, **settings: Any) -> None:
        self.state_dir = state_dir
        self._settings = {"trainer_command": TRAINER, **settings}
        self.launcher: list[str] = []
        """What the command is put behind, if anything."""
        self.process: subprocess.Popen[bytes] | None = None
        self.log = state_dir.with_name(state_dir.name + ".log")

    def start(self) -> "ServerProcess":
        """Starts the server and waits until it answers."""
        self.spawn()
        self.wait_ready()
        return self

    def spawn(self) -> subprocess.Popen[bytes]:
        """Starts the server."""
        told = json.dumps({"state_dir": str(self.state_dir), **self._settings})
        command = [*self.launcher, sys.executable, str(ROOT / "tests" / "fakes" / "server.py"), told]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self.process

    @staticmethod
    def environment() -> dict[str, str]:
        """This process's, with the sources on the path."""
        paths = [str(ROOT / "libs"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}

    def wait_ready(self) -> None:
        """Waits until the server that was started answers."""
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            if self.process is not None and self.process.poll() is not None:
                break
            if self._is_ready():
                return
            time.sleep(0.02)
        msg = "the server did not come up: " + self.log.read_text()[-3000:]
        raise AssertionError(msg)

    def _is_ready(self) -> bool:
        try:
            told = json.loads((self.state_dir / "server.json").read_text())
            is_mine = self.process is not None and told["pid"] == self.process.pid
            return is_mine and httpx.get(self._root(told) + "/healthz").status_code == httpx.codes.OK
        except (OSError, httpx.HTTPError):
            return False

    @staticmethod
    def _root(told: dict[str, Any]) -> str:
        return str(told["base_url"]).removesuffix("/v1")

    @property
    def base_url(self) -> str:
        """Where it listens."""
        return str(json.loads((self.state_dir / "server.json").read_text())["base_url"])

    @property
    def key(self) -> str:
        """What opens it."""
        return (self.state_dir / "api_key").read_text().strip()

    def client(self) -> openai.OpenAI:
        """The stock client; errors are not retried, so that a test sees them."""
        return openai.OpenAI(base_url=self.base_url, api_key=self.key, max_retries=0, timeout=30)

    def async_client(self) -> openai.AsyncOpenAI:
        """The stock asynchronous client."""
        return openai.AsyncOpenAI(base_url=self.base_url, api_key=self.key, max_retries=0, timeout=30)

    def http(self) -> httpx.Client:
        """For what the stock client would not send."""
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=self.base_url, headers=headers, timeout=30)

    def kill(self) -> None:
        """Ends the server as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Asks the server to end, and gives its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def close(self) -> None:
        """Leaves nothing behind, however the test went."""
        if self.process is not None and self.process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.kill()
        for process in self.trainers():
            process.kill()

    def trainers(self) -> list[psutil.Process]:
        """Living trainers of this state directory, whoever started them."""
        found = []
        for process in psutil.process_iter(["cmdline", "status"]):
            command = process.info["cmdline"] or []
            is_trainer = bool(command) and command[-1].startswith(str(self.state_dir / "jobs"))
            if is_trainer and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process)
        return found


def rows(number: int = 12, trainer: str = "") -> bytes:
    """A training file of that many valid examples; the first may hold options for the fake trainer."""
    lines = []
    for index in range(number):
        content = f"Trainer: {trainer}" if trainer and index == 0 else f"Say {index}."
        messages = [
            {"role": "user", "content": content},
            {"role": "assistant", "content": str(index)},
        ]
        lines.append(json.dumps({"messages": messages}))
    return ("\n".join(lines) + "\n").encode()


def create_job(server: ServerProcess, trainer: str = "") -> str:
    """The id of a new job, with options for the fake trainer."""
    with server.client() as client:
        file = client.files.create(file=("train.jsonl", rows(trainer=trainer)), purpose="fine-tune")
        return client.fine_tuning.jobs.create(model=BASE, training_file=file.id).id


def messages(server: ServerProcess, job_id: str) -> list[str]:
    """What the job's events say, oldest first."""
    with server.client() as client:
        return [event.message for event in client.fine_tuning.jobs.list_events(job_id, limit=100)][::-1]


def wait_for_steps(server: ServerProcess, job_id: str, number: int, seconds: float = 60) -> None:
    """Waits until that many training steps have been told."""
    deadline = time.monotonic() + seconds
    while sum(message.startswith("Step ") for message in messages(server, job_id)) < number:
        assert time.monotonic() < deadline, f"no {number} steps were told: {messages(server, job_id)}"
        time.sleep(0.01)


def wait_for_status(client: openai.OpenAI, job_id: str, *statuses: str, seconds: float = 30) -> Any:
    """The job, once it is in one of these states."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        job = client.fine_tuning.jobs.retrieve(job_id)
        if job.status in statuses:
            return job
        time.sleep(0.02)
    msg = f"job {job_id} is {job.status}, not {statuses}"
    raise AssertionError(msg)
