import os
import subprocess
import sys
from pathlib import Path

import pytest

from langchain_finetune import __version__
from langchain_finetune._spool import state_directory
from langchain_finetune.cli.main import main
from langchain_finetune.trainers.local import stop as local_stop
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


@pytest.mark.parametrize(
    ("given", "passed_on"),
    [
        (["serve"], ["DIRECTORY"]),
        (["serve", "--help"], ["DIRECTORY", "--help"]),
        (["serve", "--state-dir", "x", "--port", "1"], ["DIRECTORY", "--state-dir", "x", "--port", "1"]),
        (["keys", "create", "bob"], ["keys", "DIRECTORY", "create", "bob"]),
    ],
)
def test_serve_and_keys_become_the_servers_own_commands(monkeypatch, given, passed_on):
    executed = []
    monkeypatch.setattr(os, "execv", lambda program, command: executed.append((program, command)))
    main(given)
    [(program, command)] = executed
    assert program == sys.executable
    place = passed_on.index("DIRECTORY")
    passed_on[place : place + 1] = ["--default-state-dir", str(state_directory() / "server")]
    assert command == [sys.executable, "-m", "finetune_server", *passed_on]


@pytest.mark.parametrize("option", [["--state-dir", "/x"], ["--state-dir=/x"]])
def test_a_directory_that_is_named_needs_no_home(monkeypatch, tmp_path, option):
    monkeypatch.setenv("LANGCHAIN_FINETUNE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(os, "execv", lambda *_: None)
    main(["keys", "list", *option])
    assert not (tmp_path / "home").exists()
    main(["keys", "list"])
    assert (tmp_path / "home").exists()


def test_clean_has_the_server_remove_its_own(monkeypatch):
    commands = []
    monkeypatch.setattr(
        subprocess,
        "run",
        lambda command, **_: commands.append(command) or subprocess.CompletedProcess(command, 3),
    )
    assert main(["clean", "--older-than", "30"]) == 0
    assert commands == []
    directory = state_directory() / "server"
    directory.mkdir()
    assert main(["clean", "--older-than", "30"]) == 3
    options = ["clean", "--default-state-dir", str(directory), "--older-than", "30.0"]
    assert commands == [[sys.executable, "-m", "finetune_server", *options]]


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
    stopped = []

    def stop(directory, *, tell):
        tell("patience")
        stopped.append(directory)
        return True

    monkeypatch.setattr(local_stop, "stop_server", stop)
    assert main(["stop"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("stopped the embedded server of ")
    assert captured.err == "patience\n"
    assert main(["stop", "--state-dir", "/elsewhere"]) == 0
    assert stopped == [state_directory() / "server", Path("/elsewhere")]


def test_an_error_is_one_line_on_stderr_and_exit_code_1(capsys):
    (state_directory() / "layout.json").write_text('{"version": 99}')
    assert main(["clean", "--older-than", "1"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("langchain-finetune: ")
    assert "layout 99" in captured.err
