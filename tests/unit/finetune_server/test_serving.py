import pytest
from fastapi import FastAPI

from finetune_server import serving
from finetune_server.config import Settings
from finetune_server.keys import KeyCheck, KeyFile, digest_of
from finetune_server.lifecycle import ServerStartError


class Bound:
    """A listener, as far as the check of the door looks at it: nothing is bound in a unit test."""

    def __init__(self, address):
        self.address = address

    def getsockname(self):
        return (self.address, 4711)


def check_door(tmp_path, address, *, environment=None, name=None):
    settings = Settings(state_dir=tmp_path / "my server", host="the.host")
    named = KeyFile(settings.named_keys_file)
    if name:
        named.create(name, now=1)
    keys = KeyCheck(digest_of("k"), named=named, environment=environment)
    serving._check_door(settings, keys, Bound(address))


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "::1"])
def test_on_the_loopback_the_local_key_is_enough(tmp_path, address):
    check_door(tmp_path, address)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "10.0.0.1", "fe80::1"])
def test_beyond_it_a_key_for_others_is_compulsory_and_the_error_says_what_to_run(tmp_path, address):
    with pytest.raises(ServerStartError) as caught:
        check_door(tmp_path, address)
    told = str(caught.value)
    assert f"the.host ({address}) can be reached from other machines" in told
    assert f"langchain-finetune keys create NAME --state-dir '{tmp_path}/my server'\n" in told
    assert "FINETUNE_SERVER_API_KEY" in told
    check_door(tmp_path, address, environment=digest_of("x"))
    check_door(tmp_path, address, name="bob")


def test_a_key_file_that_cannot_be_used_is_no_key(tmp_path):
    (tmp_path / "my server").mkdir()
    (tmp_path / "my server" / "keys.json").write_text("{")
    with pytest.raises(ServerStartError, match="is damaged"):
        check_door(tmp_path, "0.0.0.0")


@pytest.mark.parametrize(
    ("mode", "is_warned"), [(0o700, False), (0o755, False), (0o770, True), (0o777, True)]
)
def test_a_directory_that_others_may_write_in_is_warned_of(tmp_path, caplog, mode, is_warned):
    tmp_path.chmod(mode)
    serving._check_owner(Settings(state_dir=tmp_path))
    assert bool(caplog.records) is is_warned


def test_the_connections_own_addresses_reach_the_gate_and_nothing_but_http():
    config = serving._uvicorn_config(FastAPI())
    assert (config.proxy_headers, config.ws, config.access_log) == (False, "none", False)


def test_a_bad_key_in_the_environment_is_told_before_anything_is_made(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FINETUNE_SERVER_API_KEY", "short")
    assert serving.run(Settings(state_dir=tmp_path / "server")) == 1
    assert "at least 24 characters" in capsys.readouterr().err
    assert not (tmp_path / "server").exists()


def test_a_log_file_that_cannot_be_written_is_one_line(tmp_path, capsys):
    settings = Settings(state_dir=tmp_path / "server", log_file=tmp_path / "none" / "x.log")
    assert serving.run(settings) == 1
    assert capsys.readouterr().err.startswith("finetune_server cannot start: ")
