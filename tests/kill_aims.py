"""Where in a job's life to kill, who, and what is left then.

A kill is aimed: something is waited for that the server, the store or the disk shows, then a small seeded
while, and then the victim gets its SIGKILL. What the job was at is read from what is left of it.
"""

import contextlib
import json
import random
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import openai
import psutil

from tests.server_process import ServerProcess

NUM_EPOCHS = 3
NUM_STEPS = 9
WAIT_SECONDS = 240.0
_LOOK_SECONDS = 0.0005
_PADDING_BYTES = 4 * 1024 * 1024
_TWICE = 0.25
"""The share of points at which the job, gone on, is killed once more."""


@dataclass(frozen=True)
class Aim:
    """A part of a job's life to kill in.

    Args:
        name: As the table shows it.
        is_reached: Whether the job has come so far; told its directory and a step.
        most_seconds: The longest while from there to the kill.
        victims: Who may be killed: there is not always a trainer.
        may_repeat: Whether a second kill may follow.
    """

    name: str
    is_reached: Callable[[Path, int], bool] = lambda *_: True
    most_seconds: float = 0.02
    victims: tuple[str, ...] = ("server", "trainer", "both")
    may_repeat: bool = True


def _has(*patterns: str) -> Callable[[Path, int], bool]:
    return lambda job, step: any(any(job.glob(pattern.format(step=step))) for pattern in patterns)


def _is_converting(job: Path, _: int) -> bool:
    return any(job.parents[1].glob("bases/*.partial"))


def _is_loading(job: Path, _: int) -> bool:
    """Whether this attempt's trainer has said what it will do, and no more."""
    lines = _events(job).splitlines()
    return bool(lines) and '"started"' in lines[-1] and f'"attempt":{_attempt(job)},' in lines[-1]


def _attempt(job: Path) -> int:
    """The newest attempt for which a trainer was told what to do."""
    path = job / "job.json"
    attempt: int = json.loads(path.read_text())["attempt"] if path.exists() else 0
    return attempt


def _events(job: Path) -> str:
    path = job / "events.jsonl"
    return path.read_text() if path.exists() else ""


def _aims(*aims: Aim) -> dict[str, Aim]:
    return {aim.name: aim for aim in aims}


_SERVER = ("server",)
AIMS = _aims(
    Aim("upload", lambda state, _: any((state / "incoming").iterdir()), 0.1, _SERVER, may_repeat=False),
    Aim("create", victims=_SERVER, may_repeat=False),
    Aim("validation", most_seconds=0.03, victims=_SERVER, may_repeat=False),
    Aim("queue", most_seconds=6.0, victims=_SERVER, may_repeat=False),
    Aim("trainer's start", _has("lock"), 5.0),
    Aim("base's conversion", _is_converting, 0.3),
    Aim("model's loading", _is_loading, 0.2),
    Aim("step", lambda job, step: _events(job).count('"metrics"') >= step),
    Aim("checkpoint under way", _has("trainer/checkpoint-{step}", "checkpoints/step-{step}"), 0.01),
    Aim("checkpoint kept", _has("checkpoints/step-{step}"), 0.01),
    Aim("outputs", _has("adapter.new", "adapter"), 0.02),
    Aim("result", _has("result.json"), 0.1, ("server", "both"), may_repeat=False),
    Aim("success", most_seconds=0.3, victims=_SERVER, may_repeat=False),
)
_SECOND_AIMS = ("trainer's start", "model's loading", "outputs")


@dataclass(frozen=True)
class Remains:
    """What a kill left of a job."""

    phase: str
    broken_off: int
    """The attempt that was under way and has left no result; 0 where there was none."""
    checkpoint: int
    could_end: bool
    """Whether the trainer lived a moment longer than the server, and could write on."""


@dataclass
class Killed:
    """A point's job, with the server started again after the last kill."""

    job_id: str
    file_id: str
    remains: list[Remains] = field(default_factory=list)
    ahead: "Killed | None" = None
    """The job that was in front of it in the queue."""


class Point:
    """One seed's job, and its kills.

    Args:
        server: A started server with the real trainer, that has nothing to do.
        base: The base model, as a job names it.
        seed: Says where, who and when.
    """

    def __init__(self, server: ServerProcess, base: str, seed: int) -> None:
        self._server = server
        self._base = base
        self._state = server.state_dir
        self._seeded = random.Random(f"kill point {seed}")
        self._seed = seed
        aim = list(AIMS.values())[seed % len(AIMS)]
        self.aims = (aim,)
        self.victims = (self._seeded.choice(aim.victims),)
        if aim.may_repeat and self._seeded.random() < _TWICE:
            second = AIMS[self._seeded.choice(_SECOND_AIMS)]
            self.aims = (aim, second)
            self.victims = (*self.victims, self._seeded.choice(second.victims))
        # Long lines give the upload and the validation a time in which they can be met.
        self.is_padded = aim.name in {"upload", "create", "validation"}
        self.rows = _rows(_PADDING_BYTES if self.is_padded else 0)

    def kill_and_restart(self) -> Killed:
        """Makes the job and kills where the seed says; after a success there is nothing to kill yet."""
        name = self.aims[0].name
        if name == "upload":
            return self._kill_upload()
        if name == "base's conversion":
            shutil.rmtree(self._state / "bases")
            (self._state / "bases").mkdir(mode=0o700)
        file_id = self._upload()
        if name == "create":
            return self._kill_create(file_id)
        if name == "queue":
            return self._kill_queue(file_id)
        killed = Killed(self._create(file_id), file_id)
        if name != "success":
            for aim, victim in zip(self.aims, self.victims, strict=True):
                killed.remains.append(self._kill(aim, victim, self._job_dir(killed)))
                self._restart(victim)
        return killed

    def kill_success(self, killed: Killed) -> None:
        """Kills the server when the job is done."""
        killed.remains.append(self._kill(self.aims[0], "server", self._job_dir(killed)))
        self._server.start()

    def _job_dir(self, killed: Killed) -> Path:
        return self._state / "jobs" / killed.job_id

    def _restart(self, victim: str) -> None:
        if victim != "trainer":
            self._server.start()

    def _kill_upload(self) -> Killed:
        with self._server.client() as client:
            before = {file.id for file in client.files.list()}
        upload = _Asked(self._upload)
        remains = self._kill(self.aims[0], "server", self._state)
        answer = upload.answer()
        self._server.start()
        with self._server.client() as client:
            file_ids = [file.id for file in client.files.list() if file.id not in before]
        # What was acknowledged is there; what was not is there as a whole, or not at all.
        assert file_ids == [answer] if answer else len(file_ids) <= 1
        file_id = file_ids[0] if file_ids else self._upload()
        return Killed(self._create(file_id), file_id, [remains])

    def _kill_create(self, file_id: str) -> Killed:
        before = set((self._state / "jobs").iterdir())
        create = _Asked(lambda: self._create(file_id))
        _wait_until(lambda: set((self._state / "jobs").iterdir()) - before)
        (job_dir,) = set((self._state / "jobs").iterdir()) - before
        remains = self._kill(self.aims[0], "server", job_dir)
        answer = create.answer()
        self._server.start()
        job_id = self._create(file_id)
        assert answer in {None, job_id}
        return Killed(job_id, file_id, [remains])

    def _kill_queue(self, file_id: str) -> Killed:
        ahead = Killed(self._create(file_id, "ahead"), file_id)
        killed = Killed(self._create(file_id), file_id, ahead=ahead)
        _wait_until((self._job_dir(ahead) / "lock").exists)
        killed.remains.append(self._kill(self.aims[0], "server", self._job_dir(killed)))
        ahead.remains.append(self._look(self._job_dir(ahead), could_end=True))
        self._server.start()
        return killed

    def _upload(self) -> str:
        with self._server.client() as client:
            return client.files.create(file=("rows.jsonl", self.rows), purpose="fine-tune").id

    def _create(self, file_id: str, which: str = "") -> str:
        with self._server.client() as client:
            job = client.fine_tuning.jobs.create(
                model=self._base,
                training_file=file_id,
                seed=1,
                hyperparameters={"n_epochs": NUM_EPOCHS, "batch_size": 4},
                extra_headers={"Idempotency-Key": f"point-{self._seed}-{which}"},
            )
        return job.id

    def _kill(self, aim: Aim, victim: str, job_dir: Path) -> Remains:
        """Waits for the aim, kills, and sees what is left."""
        step = self._seeded.randint(1, NUM_STEPS)
        if "checkpoint" in aim.name:
            step = self._seeded.randint(1, NUM_EPOCHS) * (NUM_STEPS // NUM_EPOCHS)
        # A job that is quicker than the aim is killed as it ends.
        _wait_until(lambda: aim.is_reached(job_dir, step) or (job_dir / "result.json").exists())
        time.sleep(self._seeded.uniform(0, aim.most_seconds))
        if victim == "trainer":
            return self._kill_trainer(job_dir)
        trainers = self._server.trainers()
        is_trainer_first = self._seeded.random() < 0.5
        if victim == "both" and is_trainer_first:
            _kill(trainers)
        self._server.kill()
        if victim == "both" and not is_trainer_first:
            _kill(trainers)
        # In half of the cases the next server comes while the old trainer may not yet have seen the end.
        is_awaited = victim == "both" or self._seeded.random() < 0.5
        if is_awaited:
            psutil.wait_procs(trainers, timeout=WAIT_SECONDS)
        return self._look(job_dir, could_end=not is_awaited)

    def _kill_trainer(self, job_dir: Path) -> Remains:
        _wait_until(lambda: self._server.trainers() or (job_dir / "result.json").exists())
        trainers = self._server.trainers()
        # Stopped first: the server lives, and would start another while one looks.
        with contextlib.suppress(psutil.NoSuchProcess):
            for trainer in trainers:
                trainer.suspend()
        with self._server.client() as client:
            status = client.fine_tuning.jobs.retrieve(job_dir.name).status
        remains = _remains(status, _attempt(job_dir), job_dir, could_end=False)
        _kill(trainers)
        return remains

    def _look(self, job_dir: Path, *, could_end: bool) -> Remains:
        status, attempt = _job_on_disk(self._state, job_dir.name)
        return _remains(status, attempt, job_dir, could_end=could_end)


class _Asked:
    """A request under way in a thread; its answer is None when the server died over it."""

    def __init__(self, ask: Callable[[], str]) -> None:
        self._ask = ask
        self._answer: str | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(openai.APIConnectionError):
            self._answer = self._ask()

    def answer(self) -> str | None:
        self._thread.join()
        return self._answer


def _rows(padding: int) -> bytes:
    """Twelve rows; blanks between JSON's own marks make them long for whoever reads them, and nobody else."""
    lines = []
    for index in range(12):
        messages = [
            {"role": "user", "content": f"Say {index}."},
            {"role": "assistant", "content": str(index)},
        ]
        lines.append('{"messages":' + " " * padding + json.dumps(messages) + "}")
    return ("\n".join(lines) + "\n").encode()


def _wait_until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "the point to kill at did not come"
        time.sleep(_LOOK_SECONDS)


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _job_on_disk(state: Path, job_id: str) -> tuple[str, int]:
    """Status and attempt as the next server will find them, from a copy, so that nothing is tidied up."""
    with tempfile.TemporaryDirectory() as directory:
        for path in state.glob("server.sqlite*"):
            shutil.copy(path, directory)
        with contextlib.closing(sqlite3.connect(Path(directory) / "server.sqlite")) as store:
            assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            row = store.execute("SELECT status, attempt FROM jobs WHERE id = ?", (job_id,)).fetchone()
    return row or ("not entered", 0)


def _remains(status: str, attempt: int, job: Path, *, could_end: bool) -> Remains:
    steps = [int(path.name.removeprefix("step-")) for path in (job / "checkpoints").glob("step-*")]
    return Remains(
        phase=_phase(status, job),
        broken_off=attempt if status == "running" and not (job / "result.json").exists() else 0,
        checkpoint=max(steps, default=0),
        could_end=could_end,
    )


def _phase(status: str, job: Path) -> str:
    """What a job was at, by what lies in its directory."""
    if status != "running":
        return status
    marks = (
        ("result written", (job / "result.json").exists()),
        ("outputs", any(job.glob("adapter*"))),
        ("checkpoint", any(job.glob("trainer/checkpoint-*"))),
        ("steps", '"metrics"' in _events(job)),
        ("model's loading", '"started"' in _events(job)),
        ("base's conversion", _is_converting(job, 0)),
        ("trainer's start", True),
    )
    return next(name for name, is_so in marks if is_so)
