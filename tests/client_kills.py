"""Clients that are killed at seeded points of a job's life and run again: one job, each upload once."""

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.client_zygote import BASE, Errand
from tests.fakes.loopback import Moment, Request
from tests.fakes.openai_host import FakeHost
from tests.fakes.openai_plan import Manners
from tests.fakes.training_rows import training_data

STAGES = (
    "in an upload",
    "after an upload, before the create",
    "in the create, before the host acts",
    "in the create, after the host acted",
    "after the answer to the create",
    "while waiting",
    "while finishing",
    "anywhere",
)


@dataclass
class Kill:
    """When a client dies: at the n-th request of a kind, at a moment of it, perhaps a little later."""

    method: str
    path: str
    nth: int
    moment: Moment
    is_carried_out: bool = False
    """Whether the host still does what it was asked."""
    delay_seconds: float = 0.0
    has_struck: bool = False

    def strikes(self, moment: Moment, request: Request) -> bool:
        is_it = request.method in self.method.split() and re.fullmatch(self.path, request.path)
        if self.has_struck or moment != self.moment or not is_it:
            return False
        self.nth -= 1
        self.has_struck = self.nth <= 0
        return self.has_struck


def kill_in(stage: str, dice: random.Random) -> Kill:
    """A kill at a point of a stage."""
    delay = dice.choice([0.0, dice.uniform(0, 0.004)])
    acts = dice.random() < 0.5
    before: Moment = dice.choice(["arriving", "read"])
    any_moment: Moment = dice.choice(["arriving", "read", "done"])
    jobs = r"/fine_tuning/jobs"
    kills = {
        "in an upload": Kill("POST", "/files", dice.randint(1, 2), before, acts, delay),
        "after an upload, before the create": dice.choice(
            [
                Kill("POST", "/files", dice.randint(1, 2), "done"),
                Kill("POST", "/files", dice.randint(1, 2), "answered", delay_seconds=delay),
                Kill("GET", "/files", 2, any_moment),
            ]
        ),
        "in the create, before the host acts": Kill("POST", jobs, 1, before),
        "in the create, after the host acted": dice.choice(
            [Kill("POST", jobs, 1, "read", is_carried_out=True), Kill("POST", jobs, 1, "done")]
        ),
        "after the answer to the create": Kill("POST", jobs, 1, "answered", delay_seconds=delay),
        "while waiting": Kill("GET", rf"{jobs}/ftjob-.*", dice.randint(1, 7), any_moment),
        "while finishing": dice.choice(
            [Kill("GET", "/models/ft:.*", 1, any_moment), Kill("GET DELETE", "/files/.*", 1, any_moment)]
        ),
        "anywhere": Kill("GET POST DELETE", ".*", dice.randint(1, 16), any_moment, acts, delay),
    }
    return kills[stage]


@dataclass
class Tally:
    """What all the points came to."""

    points: int = 0
    kills: int = 0
    twice: int = 0
    by_stage: Counter[str] = field(default_factory=Counter)
    jobs: int = 0
    uploads: int = 0

    def __str__(self) -> str:
        stages = ", ".join(f"{stage} {count}" for stage, count in self.by_stage.items())
        return (
            f"{self.points} points, {self.kills} kills (at {self.twice} points two): {self.jobs} jobs, "
            f"{self.uploads} uploads, none of them twice, the right model each time\n"
            f"  kills by stage: {stages}"
        )


class Clients:
    """Runs clients against a host, one at a time, and kills them."""

    def __init__(self) -> None:
        self._zygote = subprocess.Popen(
            [sys.executable, "-m", "tests.client_zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lock = threading.Lock()
        self._pid: int | None = None
        self._is_known = threading.Event()

    def close(self) -> None:
        with self._zygote as zygote:
            zygote.stdin.close()

    def run(self, errand: Errand) -> int:
        """Run a client to its end and return its exit code; a signal's is negative."""
        self._say(errand.line)
        with self._lock:
            self._pid = int(self._hear())
        self._is_known.set()
        assert self._hear() == "gone\n"
        with self._lock:
            self._pid = None
        self._is_known.clear()
        self._say("collect\n")
        return int(self._hear())

    def kill(self) -> None:
        """Kill the client that runs now, if it still does."""
        self._is_known.wait(timeout=30)
        with self._lock, suppress(ProcessLookupError):
            if self._pid is not None:
                os.kill(self._pid, signal.SIGKILL)

    def _say(self, line: str) -> None:
        self._zygote.stdin.write(line)
        self._zygote.stdin.flush()

    def _hear(self) -> str:
        line = self._zygote.stdout.readline()
        assert line, "the zygote died"
        return line


@dataclass
class Plot:
    """One point: a host with its manners, a trainer's settings, and the kills, each for one run."""

    seed: int
    stages: list[str]
    kills: list[Kill]
    manners: Manners
    settings: dict[str, Any]

    @classmethod
    def of(cls, seed: int) -> "Plot":
        dice = random.Random(f"kills {seed}")
        stages = [STAGES[seed % len(STAGES)]]
        if dice.random() < 0.35:
            # What lies behind is not done again, so there is nothing to be killed in.
            stages.append(dice.choice(STAGES[seed % len(STAGES) :]))
        manners = Manners(
            drops_metadata=dice.random() < 0.2,
            ignores_filter=dice.random() < 0.3,
            honors_idempotency=dice.random() < 0.3,
            listings_behind=dice.choice([0, 0, 1, 3]),
        )
        settings = {"retrain": dice.random() < 0.2, "delete_uploads_after": dice.random() < 0.3}
        return cls(seed, stages, [kill_in(stage, dice) for stage in stages], manners, settings)


def play(plot: Plot, clients: Clients, home: Path, tally: Tally) -> None:
    """Kill the client at each point, let it run to its end, and look at what there is at the host."""
    host = FakeHost()
    host.manners = plot.manners
    data = training_data().model_dump(mode="json")
    answer = home / "answer"
    with host.serve() as url:

        def errand(**settings: Any) -> Errand:
            return Errand(url=url, home=str(home), data=data, answer=str(answer), settings=settings)

        num_jobs, num_kills = 1, 0
        if plot.settings["retrain"]:
            # The new job is one more than the one that was there before.
            assert clients.run(errand()) == 0, plot
            num_jobs = 2
        for stage, kill in zip(plot.stages, plot.kills, strict=True):
            host.onlooker = _killer(kill, clients)
            answer.unlink(missing_ok=True)
            code = clients.run(errand(**plot.settings))
            assert code in (0, -signal.SIGKILL), plot
            if code:
                num_kills += 1
                tally.by_stage[stage] += 1
            elif plot.settings["retrain"]:
                # It had its model before it could be killed: another run would be another job.
                break
        else:
            host.onlooker = lambda _moment, _request: False
            assert clients.run(errand(**plot.settings)) == 0, plot
        _check(plot, host, num_jobs, answer.read_text())
    tally.points += 1
    tally.kills += num_kills
    tally.twice += num_kills > 1
    tally.jobs += len(host.jobs)
    tally.uploads += len(host.contents)


def _killer(kill: Kill, clients: Clients) -> Any:
    def look_on(moment: Moment, request: Request) -> bool:
        if not kill.strikes(moment, request):
            return False
        time.sleep(kill.delay_seconds)
        clients.kill()
        return not kill.is_carried_out

    return look_on


def _check(plot: Plot, host: FakeHost, num_jobs: int, model: str) -> None:
    assert len(host.jobs) == num_jobs, plot
    *_, newest = host.jobs
    assert model == f"ft:{BASE}:fake::{newest[-8:]}", plot
    assert sorted(len(content.splitlines()) for content in host.contents.values()) == [2, 12], plot
    assert len(host.files) == (0 if plot.settings["delete_uploads_after"] else 2), plot
