"""A hundred kills, of the server, of the trainer, of both: `make chaos`."""

import os
import sys
import time

import pytest

from tests.kill_points import KillPoints, KillRecord
from tests.server_process import ServerProcess
from tests.tiny_base import write_tiny_base

NUM_POINTS = int(os.environ.get("CHAOS_POINTS", "100"))
FIRST_SEED = int(os.environ.get("CHAOS_SEED", "0"))
REAL = (sys.executable, "-m", "finetune_server.training")


class Ground:
    """A state directory for many points; another one after a point that failed, so that it fails alone."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._factory = factory
        self._base = str(write_tiny_base(factory.mktemp("tiny") / "tiny.gguf"))
        self._points: KillPoints | None = None

    def run(self, seed: int) -> KillRecord:
        if self._points is None:
            state_dir = self._factory.mktemp("kills") / "server"
            server = ServerProcess(state_dir, trainer_command=REAL)
            self._points = KillPoints(server, self._base)
            server.start()
        try:
            return self._points.run(seed)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._points is not None:
            self._points.server.close()
        self._points = None


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    ground = Ground(tmp_path_factory)
    yield ground
    ground.close()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + NUM_POINTS))
def test_a_kill_loses_and_doubles_nothing(ground, kills, seed):
    begin = time.monotonic()
    try:
        kills.append(ground.run(seed))
    except BaseException:
        kills.append(KillRecord.of_failure(seed, time.monotonic() - begin))
        raise
