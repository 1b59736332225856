"""A client that is killed pays once: twenty seeded points of a job's life, over real HTTP."""

import pytest

from tests.client_kills import Clients, Plot, Tally, play

NUM_POINTS = 20


@pytest.fixture
def clients():
    clients = Clients()
    yield clients
    clients.close()


def test_a_client_that_is_killed_anywhere_and_run_again_pays_once(clients, tmp_path, monkeypatch, capsys):
    tally = Tally()
    for seed in range(NUM_POINTS):
        home = tmp_path / str(seed)
        home.mkdir()
        monkeypatch.setenv("LANGCHAIN_FINETUNE_HOME", str(home))
        play(Plot.of(seed), clients, home, tally)
    with capsys.disabled():
        print(f"\n{tally}")  # noqa: T201
    assert tally.kills >= NUM_POINTS * 0.8
