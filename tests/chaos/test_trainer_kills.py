"""A client that is killed pays once: as many seeded points of a job's life as `CHAOS_CLIENT_POINTS` says."""

import os

import pytest

from tests.client_kills import Clients, Plot, Tally, play

NUM_POINTS = int(os.environ.get("CHAOS_CLIENT_POINTS", "200"))
FIRST_SEED = int(os.environ.get("CHAOS_CLIENT_SEED", "1000"))


@pytest.mark.timeout(60 + 10 * NUM_POINTS)
def test_a_client_that_is_killed_anywhere_and_run_again_pays_once(tmp_path, monkeypatch, capsys):
    clients, tally = Clients(), Tally()
    try:
        for seed in range(FIRST_SEED, FIRST_SEED + NUM_POINTS):
            home = tmp_path / str(seed)
            home.mkdir()
            monkeypatch.setenv("LANGCHAIN_FINETUNE_HOME", str(home))
            play(Plot.of(seed), clients, home, tally)
    finally:
        clients.close()
    with capsys.disabled():
        print(f"\n{tally}")  # noqa: T201
    assert tally.kills >= NUM_POINTS * 0.8
