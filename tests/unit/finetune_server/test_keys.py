import json
import logging
import os
import subprocess
import sys
import threading

import pytest

from finetune_server import keys as keys_module
from finetune_server.keys import (
    VARIABLE,
    KeyCheck,
    KeyFile,
    UnusableKeyError,
    digest_of,
    local_key_digest,
    take_environment_key,
)


@pytest.fixture
def key_file(tmp_path):
    return KeyFile(tmp_path / "server" / "keys.json")


def check_of(key_file, environment=None):
    return KeyCheck(digest_of("sk-1"), named=key_file, environment=environment)


# --- the local key ---


def test_a_key_is_made_once_and_for_its_owner_alone(tmp_path):
    path = tmp_path / "api_key"
    digest = local_key_digest(path)
    key = path.read_text().strip()
    assert key.startswith("sk-local-")
    assert len(key) > 40
    assert digest == digest_of(key)
    assert local_key_digest(path) == digest
    assert path.read_text() == key + "\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["api_key"]


def test_an_empty_key_file_gets_a_key(tmp_path):
    path = tmp_path / "api_key"
    path.write_text("\n")
    local_key_digest(path)
    assert path.read_text().startswith("sk-local-")


@pytest.mark.parametrize(
    ("header", "is_right"),
    [
        ("Bearer sk-1", True),
        ("bearer sk-1", True),
        ("Bearer  sk-1 ", True),
        ("Bearer sk-2", False),
        ("Bearer sk-", False),
        ("Bearer", False),
        ("Basic sk-1", False),
        ("sk-1", False),
        ("", False),
        ("Bearer é", False),
    ],
)
def test_only_the_key_as_a_bearer_token_opens(key_file, header, is_right):
    assert check_of(key_file).caller(header, is_local=True) == ("local" if is_right else None)


def test_the_local_key_opens_for_this_machine_alone(key_file):
    assert check_of(key_file).caller("Bearer sk-1", is_local=False) is None


# --- named keys ---


def test_a_named_key_is_stored_as_a_hash_for_its_owner_alone(key_file):
    key = key_file.create("bob", now=7)
    assert key.startswith("sk-ft-")
    assert len(key) > 40
    content = key_file.path.read_text()
    assert key not in content
    digest = digest_of(key).hex()
    assert json.loads(content) == {
        "version": 1,
        "keys": [{"name": "bob", "sha256": digest, "created_at": 7}],
    }
    assert key_file.path.stat().st_mode & 0o777 == 0o600
    assert key_file.path.parent.stat().st_mode & 0o777 == 0o700
    assert [each.name for each in key_file.path.parent.iterdir()] == ["keys.json"]


def test_a_named_key_opens_from_everywhere_from_its_creation_to_its_deletion(key_file):
    check = check_of(key_file)
    assert check.caller("Bearer x", is_local=True) is None
    bob = f"Bearer {key_file.create('bob', now=1)}"
    eve = f"Bearer {key_file.create('eve', now=1)}"
    assert [check.caller(key, is_local=False) for key in (bob, eve)] == ["bob", "eve"]
    assert key_file.delete("bob")
    assert [check.caller(key, is_local=False) for key in (bob, eve)] == [None, "eve"]
    assert not key_file.delete("bob")
    assert [each.name for each in key_file.read()] == ["eve"]


def test_keys_created_at_once_are_all_kept(key_file):
    threads = [
        threading.Thread(target=key_file.create, args=(f"k{number}",), kwargs={"now": 1})
        for number in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.name for each in key_file.read()} == {f"k{number}" for number in range(16)}


@pytest.mark.parametrize("name", ["", "a b", "../x", "é", "-x", "x" * 65, "a\n", "local", "environment"])
def test_a_name_that_is_none_is_refused(key_file, name):
    with pytest.raises(UnusableKeyError, match="cannot be named"):
        key_file.create(name, now=1)
    assert not key_file.path.exists()


def test_a_name_is_not_given_twice(key_file):
    key = key_file.create("bob", now=1)
    with pytest.raises(UnusableKeyError, match="Delete it first"):
        key_file.create("bob", now=2)
    assert check_of(key_file).caller(f"Bearer {key}", is_local=False) == "bob"


def sound(**changes):
    return {"name": "bob", "sha256": digest_of("sk-bob").hex(), "created_at": 1, **changes}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '{"version": 1}',
        '{"version": 1, "keys": 3}',
        '{"version": 1, "keys": [3]}',
        '{"version": 1, "keys": [{}]}',
        json.dumps({"version": 2, "keys": [sound()]}),
        json.dumps({"version": 1, "keys": [sound(), sound(sha256="")]}),
        json.dumps({"version": 1, "keys": [sound(), sound(sha256=digest_of("x").hex().upper())]}),
        json.dumps({"version": 1, "keys": [sound(), sound(name=3)]}),
        json.dumps({"version": 1, "keys": [sound(), sound(role="admin")]}),
        "[" * 200_000,
    ],
)
def test_a_damaged_file_opens_for_nobody_and_the_log_says_why_once(key_file, content, caplog):
    key = key_file.create("bob", now=1)
    check = check_of(key_file)
    assert check.caller(f"Bearer {key}", is_local=True) == "bob"
    key_file.path.write_text(content)
    for _ in range(2):
        assert check.caller("Bearer sk-bob", is_local=True) is None
        assert check.caller(f"Bearer {key}", is_local=True) is None
        assert check.caller("Bearer sk-1", is_local=True) == "local"
    (told,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert told.fields["reason"].startswith(f"{key_file.path} is damaged.")
    with pytest.raises(UnusableKeyError, match="is damaged"):
        key_file.create("eve", now=1)
    assert key_file.path.read_text() == content


def test_a_file_that_cannot_be_read_opens_for_nobody(key_file, caplog):
    key_file.path.mkdir(parents=True)
    assert check_of(key_file).caller("Bearer x", is_local=True) is None
    assert "cannot be read" in caplog.records[-1].fields["reason"]


def test_a_file_that_is_whole_again_opens_again(key_file):
    check = check_of(key_file)
    key = key_file.create("bob", now=1)
    content = key_file.path.read_text()
    key_file.path.write_text("{")
    assert check.caller(f"Bearer {key}", is_local=False) is None
    key_file.path.write_text(content)
    assert check.caller(f"Bearer {key}", is_local=False) == "bob"


def test_the_file_is_read_once_for_each_change(key_file, monkeypatch):
    check = check_of(key_file)
    key_file.create("bob", now=1)
    check.caller("Bearer x", is_local=True)
    monkeypatch.setattr(key_file, "read", lambda: pytest.fail("read again"))
    check.caller("Bearer x", is_local=True)


# --- the check ---


def test_the_check_holds_no_key(key_file):
    key = key_file.create("bob", now=1)
    check = check_of(key_file, environment=digest_of("sk-2"))
    check.caller(f"Bearer {key}", is_local=True)
    held = repr(vars(check)) + repr(vars(key_file))
    assert not [each for each in ("sk-1", "sk-2", key) if each in held]


@pytest.mark.parametrize("given", ["sk-1", "sk-2", "wrong"])
def test_every_key_is_compared_whichever_is_given(key_file, monkeypatch, given):
    key_file.create("bob", now=1)
    check = check_of(key_file, environment=digest_of("sk-2"))
    compared = []
    real = keys_module.hmac.compare_digest
    monkeypatch.setattr(
        keys_module.hmac, "compare_digest", lambda *pair: compared.append(pair) or real(*pair)
    )
    check.caller(f"Bearer {given}", is_local=True)
    assert len(compared) == 3


def test_other_machines_need_a_named_key_or_the_environments(key_file):
    with pytest.raises(UnusableKeyError, match="no key that other machines could use"):
        check_of(key_file).check_reachable()
    check_of(key_file, environment=digest_of("sk-2")).check_reachable()
    key_file.create("bob", now=1)
    check_of(key_file).check_reachable()
    key_file.path.write_text("{")
    with pytest.raises(UnusableKeyError, match="is damaged"):
        check_of(key_file).check_reachable()


# --- the environment's key ---


def test_the_environments_key_is_taken_out_of_it(monkeypatch, key_file):
    key = "k" * 24
    monkeypatch.setenv(VARIABLE, key)
    check = check_of(key_file, environment=take_environment_key())
    assert check.caller(f"Bearer {key}", is_local=False) == "environment"
    child = [sys.executable, "-c", f"import os; print({VARIABLE!r} in os.environ)"]
    assert subprocess.run(child, capture_output=True, check=True).stdout == b"False\n"
    assert take_environment_key() is None


@pytest.mark.parametrize("key", ["", "k" * 23, "k" * 24 + " ", "k" * 12 + "\n" + "k" * 12, "é" * 24])
def test_a_key_in_the_environment_that_is_no_secret_is_refused_without_being_shown(monkeypatch, key):
    monkeypatch.setenv(VARIABLE, key)
    with pytest.raises(UnusableKeyError, match="at least 24 characters") as caught:
        take_environment_key()
    assert not key or key not in str(caught.value)
    assert VARIABLE not in os.environ
