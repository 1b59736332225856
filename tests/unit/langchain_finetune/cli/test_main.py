import os
import sys

import pytest

from langchain_finetune import __version__
from langchain_finetune._spool import state_directory
from langchain_finetune.cli.main import main
from langchain_finetune.trainers import local_stop
from tests.fakes.training_rows import training_data


def exit_code(*arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return caught.value.code


def test_its_version_goes_to_stdout(capsys):
    assert exit_code("--version") == 0
    assert capsys.readouterr().out == f"langchain-finetune {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [(), ("dance",), ("stop", "--now"), ("clean",), ("clean", "--older-than", "x")]
)
def test_what_is_not_understood_is_said_on_stderr(capsys, arguments):
    assert exit_code(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "usage: langchain-finetune" in captured.err


@pytest.mark.parametrize("days", ["-1", "nan"])
def test_an_age_that_is_none_is_refused(days):
    assert exit_code("clean", f"--older-than={days}") == 2


def test_serve_becomes_the_server_of_the_state_directory_and_passes_its_options_on(monkeypatch):
    executed = []
    monkeypatch.setattr(os, "execv", lambda program, command: executed.append((program, command)))
    main(["serve", "--port", "8000", "--log-level", "debug"])
    [(program, command)] = executed
    assert program == sys.executable
    assert command[1:] == [
        "-m",
        "finetune_server",
        "--state-dir",
        str(state_directory() / "server"),
        "--idle-minutes",
        "0",
        "--port",
        "8000",
        "--log-level",
        "debug",
    ]


def test_clean_removes_what_is_old_and_says_how_much(capsys):
    data = training_data()
    assert main(["clean", "--older-than", "30"]) == 0
    assert data.train.exists()
    assert main(["clean", "--older-than", "0"]) == 0
    assert not data.train.exists()
    assert "removed 0 recorded session files and 1 training data sets" in capsys.readouterr().out


def test_stop_says_whether_there_was_anything_to_stop(capsys, monkeypatch):
    assert main(["stop"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err.startswith("no embedded server runs in ")) == ("", True)
    monkeypatch.setattr(local_stop, "stop_server", lambda directory: True)
    assert main(["stop"]) == 0
    assert capsys.readouterr().out.startswith("stopped the embedded server of ")


def test_an_error_is_one_line_on_stderr_and_exit_code_1(capsys):
    (state_directory() / "layout.json").write_text('{"version": 99}')
    assert main(["clean", "--older-than", "1"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("langchain-finetune: ")
    assert "layout 99" in captured.err
