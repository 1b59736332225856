"""A real server and its real trainer, killed at seeded points of a job's life, and what must be so after."""

import contextlib
import hashlib
import os
import re
import sqlite3
import time
from dataclasses import dataclass, field
from typing import Any, Self

import openai
import psutil

from tests.kill_aims import NUM_STEPS, WAIT_SECONDS, Killed, Point, Remains
from tests.server_process import ServerProcess, wait_for_status

_ONCE = ("Fine-tuning job started", "New fine-tuned model created", "The job has successfully completed")
_RESUMED = re.compile(r"Fine-tuning job resumed from the (?:checkpoint at step (\d+)|start)\b")
_CHECKPOINT = re.compile(r"Checkpoint created at step \d+")
_END_SECONDS = 30.0
_TRAINER = re.compile(r"trainer started job=.* pid=(\d+)")


@dataclass(frozen=True)
class KillRecord:
    """How one point went."""

    seed: int
    victims: tuple[str, ...]
    aims: tuple[str, ...]
    phases: tuple[str, ...]
    """What the job was at when it was killed."""
    resumed_from: tuple[int, ...]
    """The step gone on from after each kill that broke a training off; 0 is the start."""
    seconds: float
    has_succeeded: bool = True
    """Whether all that was asserted was so."""

    @classmethod
    def of_failure(cls, seed: int, seconds: float) -> Self:
        """Of a point at which something was lost."""
        return cls(
            seed=seed,
            victims=("-",),
            aims=(),
            phases=("see above",),
            resumed_from=(),
            seconds=seconds,
            has_succeeded=False,
        )


@dataclass
class KillPoints:
    """Points on one state directory, one after the other; each leaves it as it must be for the next.

    Args:
        server: A started server with the real trainer.
        base: The base model, as a job names it.
    """

    server: ServerProcess
    base: str
    _files: dict[str, str] = field(default_factory=dict)
    """The SHA-256 of all bytes that the server must have."""
    _jobs: list[str] = field(default_factory=list)
    _adapter: str = ""

    def run(self, seed: int) -> KillRecord:
        """Kills at the seed's point, starts what was killed again, and asserts that all is well."""
        begin = time.monotonic()
        point = Point(self.server, self.base, seed)
        killed = point.kill_and_restart()
        self._files[killed.file_id] = hashlib.sha256(point.rows).hexdigest()
        resumed_from: tuple[int, ...] = ()
        for one in filter(None, (killed.ahead, killed)):
            self._jobs.append(one.job_id)
            self._wait_for_success(one)
            if point.aims[0].name == "success":
                point.kill_success(one)
        with self.server.client() as client:
            self._assert_nothing_lost_or_doubled(client)
            for one in filter(None, (killed.ahead, killed)):
                resumed_from = _assert_told_once(client, one)
            if point.is_padded:
                client.files.delete(killed.file_id)
                del self._files[killed.file_id]
        self._assert_no_process_left()
        self._assert_store_sound()
        return KillRecord(
            seed=seed,
            victims=point.victims,
            aims=tuple(aim.name for aim in point.aims),
            phases=tuple(left.phase for left in killed.remains),
            resumed_from=resumed_from,
            seconds=time.monotonic() - begin,
        )

    def _wait_for_success(self, killed: Killed) -> None:
        with self.server.client() as client:
            job = wait_for_status(client, killed.job_id, "succeeded", "failed", seconds=WAIT_SECONDS)
            assert job.status == "succeeded", job.error
            (result_file,) = job.result_files
            content = client.files.content(result_file).read()
        assert len(content.splitlines()) == NUM_STEPS + 1
        self._files[result_file] = hashlib.sha256(content).hexdigest()
        # The same rows and the same seed: whoever was killed, what was learned is the same.
        adapter = (self.server.state_dir / "jobs" / killed.job_id / "adapter.gguf").read_bytes()
        digest = hashlib.sha256(adapter).hexdigest()
        self._adapter = self._adapter or digest
        assert digest == self._adapter

    def _assert_nothing_lost_or_doubled(self, client: openai.OpenAI) -> None:
        """Jobs, files and models, for who asks and on the disk."""
        jobs = list(client.fine_tuning.jobs.list(limit=100))
        assert [job.id for job in jobs] == self._jobs[::-1]
        models = {model.id for model in client.models.list() if model.id.startswith("ft:")}
        assert {id_ for id_ in models if ":ckpt-step-" not in id_} == {job.fine_tuned_model for job in jobs}
        assert {file.id for file in client.files.list()} == self._files.keys()
        for file_id, digest in self._files.items():
            assert hashlib.sha256(client.files.content(file_id).read()).hexdigest() == digest
        state = self.server.state_dir
        assert {path.name for path in (state / "files").iterdir()} == self._files.keys()
        assert {path.name for path in (state / "jobs").iterdir()} == set(self._jobs)
        assert list((state / "incoming").iterdir()) == []

    def _assert_no_process_left(self) -> None:
        """No trainer lives, and nothing that one has started: each had a session of its own."""
        sessions = {int(pid) for pid in _TRAINER.findall(self.server.log.read_text())}
        assert sessions
        # A trainer that has left its result and its lock may still be about to end.
        deadline = time.monotonic() + _END_SECONDS
        while left := [*self.server.trainers(), *_living(sessions)]:
            assert time.monotonic() < deadline, left
            time.sleep(0.05)

    def _assert_store_sound(self) -> None:
        with contextlib.closing(sqlite3.connect(self.server.state_dir / "server.sqlite")) as store:
            assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert store.execute("PRAGMA foreign_key_check").fetchall() == []


def _living(sessions: set[int]) -> list[int]:
    """The processes of these sessions."""
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            if os.getsid(pid) in sessions and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
    return found


def _assert_told_once(client: openai.OpenAI, killed: Killed) -> tuple[int, ...]:
    """Every step and every turn of the job is told once, in order; gives the steps it was resumed from."""
    events = list(client.fine_tuning.jobs.list_events(killed.job_id, limit=100))[::-1]
    assert len({event.id for event in events}) == len(events)
    assert [event.created_at for event in events] == sorted(event.created_at for event in events)
    steps = [event.data["step"] for event in events if event.type == "metrics"]
    assert steps == list(range(1, NUM_STEPS + 1))
    told = [event.message for event in events]
    assert [told.count(message) for message in _ONCE] == [1] * len(_ONCE)
    checkpoints = [found[0] for message in told if (found := _CHECKPOINT.match(message))]
    assert len(set(checkpoints)) == len(checkpoints)
    resumed_from = tuple(int(found[1] or 0) for message in told if (found := _RESUMED.match(message)))
    # Killed twice before it began anew it was broken off once.
    broken_off = {left.broken_off: left for left in killed.remains if left.broken_off}
    _assert_resumed(resumed_from, list(broken_off.values()))
    _assert_trainer_agrees(events)
    return resumed_from


def _assert_resumed(resumed_from: tuple[int, ...], broken_off: list[Remains]) -> None:
    """One event for each training that was broken off, and it names the newest checkpoint there was."""
    if any(left.could_end for left in broken_off):
        num_sure = sum(not left.could_end for left in broken_off)
        assert num_sure <= len(resumed_from) <= len(broken_off)
    else:
        assert resumed_from == tuple(left.checkpoint for left in broken_off)


def _assert_trainer_agrees(events: list[Any]) -> None:
    """A trainer goes on from where the server said that it would."""
    said = 0
    for event in events:
        if found := _RESUMED.match(event.message):
            said = int(found[1] or 0)
        elif (event.data or {}).get("phase") == "started":
            assert (event.data["resumed_from_step"] or 0) == said
