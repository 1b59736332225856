import sys

import pytest

from finetune_server import __main__, serving
from finetune_server.cli.serve import serve_parser
from finetune_server.config import Limits, Settings


def settings_of(monkeypatch, *arguments: str) -> Settings:
    given = []
    monkeypatch.setattr(serving, "run", lambda settings: given.append(settings) or 0)
    assert __main__.main(arguments) == 0
    return given[0]


def test_the_state_directory_is_enough(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    settings = settings_of(monkeypatch, "--state-dir", "server")
    assert settings == Settings(state_dir=tmp_path / "server")
    assert (settings.host, settings.port, settings.idle_minutes) == ("127.0.0.1", None, 0)


def test_everything_can_be_said(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    more = ["--host", "::1", "--port", "4711", "--idle-minutes", "30", "--max-concurrent-jobs", "2"]
    more += ["--max-file-mb", "3", "--max-body-mb", "4", "--max-row-mb", "5", "--max-rows", "6"]
    more += ["--max-pending-jobs", "7", "--min-free-mb", "0"]
    more += ["--log-level", "debug", "--log-format", "json", "--log-file", "server.log"]
    options = {each for each in more if each.startswith("--")} | {"--state-dir", "--help"}
    assert options == {
        each.option_strings[-1] for each in serve_parser([])._actions if each.help != "==SUPPRESS=="
    }
    assert settings_of(monkeypatch, "--state-dir", str(tmp_path), *more) == Settings(
        state_dir=tmp_path,
        host="::1",
        port=4711,
        idle_minutes=30,
        max_concurrent_jobs=2,
        log_level="debug",
        log_format="json",
        log_file=tmp_path / "server.log",
        limits=Limits(
            max_file_bytes=3 << 20,
            max_body_bytes=4 << 20,
            max_row_bytes=5 << 20,
            max_rows=6,
            max_pending_jobs=7,
            min_free_bytes=0,
        ),
    )


@pytest.mark.parametrize(
    "wrong",
    [
        ["--port", "99999"],
        ["--port", "x"],
        ["--host", ""],
        ["--state-dir", ""],
        ["--idle-minutes", "-1"],
        ["--idle-minutes", "nan"],
        ["--max-concurrent-jobs", "0"],
        ["--max-file-mb", "0"],
        ["--max-file-mb", "1.5"],
        ["--max-rows", "-3"],
        ["--min-free-mb", "-1"],
        ["--log-format", "xml"],
        ["--log-level", "loud"],
    ],
)
def test_what_makes_no_sense_is_refused(monkeypatch, capsys, wrong):
    with pytest.raises(SystemExit) as caught:
        settings_of(monkeypatch, "--state-dir", "x", *wrong)
    assert caught.value.code == 2
    assert wrong[0] in capsys.readouterr().err


def test_without_a_state_directory_there_is_no_server(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        settings_of(monkeypatch)
    assert "--state-dir" in capsys.readouterr().err


def test_called_by_the_client_it_has_a_state_directory_and_speaks_of_the_clients_command(
    monkeypatch, capsys, tmp_path
):
    default = ["--default-state-dir", str(tmp_path)]
    assert settings_of(monkeypatch, *default).state_dir == tmp_path
    assert settings_of(monkeypatch, *default, "--state-dir", "/elsewhere").state_dir.name == "elsewhere"
    with pytest.raises(SystemExit):
        settings_of(monkeypatch, *default, "--help")
    shown = capsys.readouterr().out
    assert shown.startswith("usage: langchain-finetune serve ")
    assert f"(default: {tmp_path})" in shown.replace("\n", "").replace(" " * 30, "")
    assert "--default-state-dir" not in shown


def test_without_the_extra_the_pip_line_is_said(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "finetune_server.serving", None)
    assert __main__.main(["--state-dir", "x"]) == 1
    assert 'pip install "langchain-finetune[local]"' in capsys.readouterr().err


def test_every_option_has_help_and_every_default_is_shown(capsys):
    for action in serve_parser([])._actions:
        assert action.help, action.option_strings
        if action.default not in (None, "==SUPPRESS=="):
            assert "(default: " in action.help, action.option_strings
