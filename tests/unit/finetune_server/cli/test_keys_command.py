import json

import pytest

from finetune_server import __main__
from finetune_server.keys import KeyFile, digest_of


@pytest.fixture
def keys(tmp_path):
    def run(*arguments):
        return __main__.main(["keys", *arguments, "--state-dir", str(tmp_path / "server")])

    run.file = KeyFile(tmp_path / "server" / "keys.json")
    return run


def test_the_key_alone_goes_to_standard_output(keys, capsys):
    assert keys("create", "bob") == 0
    captured = capsys.readouterr()
    key = captured.out.removesuffix("\n")
    (stored,) = keys.file.read()
    assert (stored.name, stored.sha256) == ("bob", digest_of(key).hex())
    assert key not in captured.err


def test_the_list_has_names_and_dates_and_no_secret(keys, capsys):
    keys.file.create("bob", now=0)
    keys.file.create("eve", now=86_400)
    assert keys("list") == 0
    assert capsys.readouterr().out == "1970-01-01T00:00:00Z  bob\n1970-01-02T00:00:00Z  eve\n"


def test_a_deleted_key_is_gone_and_another_is_an_error(keys, capsys):
    keys.file.create("bob", now=0)
    assert keys("delete", "bob") == 0
    assert keys.file.read() == ()
    assert keys("delete", "bob") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "there is no key named bob" in captured.err


@pytest.mark.parametrize("wrong", [("create",), ("delete",), ("list", "bob"), ("dance",), ()])
def test_what_is_not_understood_is_refused(keys, wrong):
    with pytest.raises(SystemExit) as caught:
        keys(*wrong)
    assert caught.value.code == 2


def test_a_name_that_is_none_is_one_line_on_standard_error(keys, capsys):
    assert keys("create", "a b") == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)


def test_the_list_as_json_has_no_secret_either(keys, capsys):
    keys.file.create("bob", now=7)
    assert keys("list", "--json") == 0
    assert json.loads(capsys.readouterr().out) == [{"name": "bob", "created_at": 7}]
