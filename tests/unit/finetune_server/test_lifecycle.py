import json
import os

import pytest

from finetune_server.config import Settings
from finetune_server.lifecycle import Announcement, ServerStartError, StateDirectory, is_idle


@pytest.fixture
def settings(tmp_path):
    return Settings(state_dir=tmp_path / "server")


def test_a_directory_is_claimed_once(settings):
    first = StateDirectory.claim(settings, wait_seconds=0)
    first.announce(4711)
    second = StateDirectory.claim(settings, wait_seconds=0)
    assert isinstance(second, Announcement)
    assert (second.pid, second.base_url) == (os.getpid(), "http://127.0.0.1:4711/v1")
    first.release()
    assert not settings.announcement_file.exists()
    third = StateDirectory.claim(settings, wait_seconds=0)
    assert isinstance(third, StateDirectory)
    third.release()


def test_a_holder_that_says_nothing_is_an_error(settings):
    first = StateDirectory.claim(settings, wait_seconds=0)
    with pytest.raises(ServerStartError, match="does not say where it listens"):
        StateDirectory.claim(settings, wait_seconds=0)
    first.release()


@pytest.mark.parametrize("told", ["{", "[]", '{"pid": 1}', "null"])
def test_an_announcement_that_cannot_be_read_is_none(settings, told):
    first = StateDirectory.claim(settings, wait_seconds=0)
    settings.announcement_file.write_text(told)
    with pytest.raises(ServerStartError):
        StateDirectory.claim(settings, wait_seconds=0)
    first.release()


def test_what_a_killed_server_left_is_not_believed(settings):
    first = StateDirectory.claim(settings, wait_seconds=0)
    first.announce(4711)
    told = json.loads(settings.announcement_file.read_text())
    settings.announcement_file.write_text(json.dumps(told | {"pid": 999_999_999}))
    with pytest.raises(ServerStartError):
        StateDirectory.claim(settings, wait_seconds=0)
    first.release()


def test_a_claim_clears_what_uploads_and_servers_left(settings):
    settings.make_directories()
    (settings.incoming_dir / "half").write_text("x")
    settings.announcement_file.write_text("{}")
    claimed = StateDirectory.claim(settings, wait_seconds=0)
    assert list(settings.incoming_dir.iterdir()) == []
    assert not settings.announcement_file.exists()
    claimed.release()


def test_an_ipv6_host_is_written_as_one():
    assert Announcement.of("::1", 80).base_url == "http://[::1]:80/v1"


@pytest.mark.parametrize(
    ("idle_minutes", "idle_seconds", "num_jobs", "expected"),
    [(1, 60, 0, True), (1, 59, 0, False), (1, 60, 1, False), (0, 9999, 0, False)],
)
def test_idle_is_no_request_and_no_job_for_as_long_as_was_said(
    tmp_path, idle_minutes, idle_seconds, num_jobs, expected
):
    settings = Settings(state_dir=tmp_path, idle_minutes=idle_minutes)
    assert is_idle(settings, idle_seconds, lambda: num_jobs) is expected
