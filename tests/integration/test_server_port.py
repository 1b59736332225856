"""The port that a server binds: the same one again, as long as it is free."""

import socket

import pytest

from finetune_server.config import Settings
from finetune_server.lifecycle import StateDirectory


@pytest.fixture
def settings(tmp_path):
    return Settings(state_dir=tmp_path / "server")


def test_the_first_port_is_remembered_and_a_broken_memory_forgotten(settings):
    claimed = StateDirectory.claim(settings, wait_seconds=0)
    with claimed.listen() as bound:
        port = bound.getsockname()[1]
    assert settings.port_file.read_text() == f"{port}\n"
    with claimed.listen() as bound:
        assert bound.getsockname()[1] == port
        assert bound.proto == socket.IPPROTO_TCP
    with socket.create_server(("127.0.0.1", port)), claimed.listen() as bound:
        assert bound.getsockname()[1] != port
    assert settings.port_file.read_text() == f"{port}\n"
    for broken in ("x", "99999", "-1"):
        settings.port_file.write_text(broken)
        with claimed.listen() as bound:
            assert bound.getsockname()[1] > 0
    claimed.release()
