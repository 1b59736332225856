import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from langchain_finetune import __version__
from langchain_finetune._spool import state_directory
from langchain_finetune.cli.main import COMMANDS, langchain_finetune, main
from langchain_finetune.trainers.local import stop as local_stop
from tests.fakes.training_rows import training_data


def test_its_version_goes_to_stdout(cli):
    assert cli("--version") == (0, f"langchain-finetune {__version__}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("dance",),
        ("stop", "--now"),
        ("clean",),
        ("clean", "--older-than", "x"),
        ("clean", "--older-than=-1"),
        ("clean", "--older-than=nan"),
        ("jobs", "show"),
        ("train", "openai:x"),
    ],
)
def test_what_is_not_understood_is_said_on_stderr(cli, arguments):
    called = cli(*arguments)
    assert (called.code, called.out) == (2, "")
    assert "Usage: langchain-finetune" in called.err


def test_without_a_command_the_commands_are_told(cli):
    called = cli()
    assert (called.code, called.out) == (2, "")
    assert all(f"  {name} " in called.err for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_says_what_it_does(name):
    context = langchain_finetune.make_context("langchain-finetune", ["doctor"], resilient_parsing=True)
    command = langchain_finetune.get_command(context, name)
    assert command.name == name
    assert command.help


@pytest.mark.parametrize("name", sorted({*COMMANDS} - {"serve", "keys"}))
def test_the_help_of_a_command_fits_a_terminal(cli, name):
    called = cli(name, "--help")
    assert called.code == 0
    assert called.out.startswith(f"Usage: langchain-finetune {name}")
    assert max(map(len, called.out.splitlines())) <= 80


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


@pytest.fixture
def server_commands(monkeypatch):
    commands = []

    def run(command, **_):
        commands.append(command)
        return subprocess.CompletedProcess(command, 3, stdout='{"num_files": 1}\n')

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_clean_has_the_server_remove_its_own(cli, server_commands):
    assert cli("clean", "--older-than", 30).code == 0
    assert server_commands == []
    directory = state_directory() / "server"
    directory.mkdir()
    assert cli("clean", "--older-than", 30).code == 3
    options = ["clean", "--default-state-dir", str(directory), "--older-than", "30.0"]
    assert server_commands == [[sys.executable, "-m", "finetune_server", *options]]


def test_clean_tells_both_parts_in_one_object(cli, server_commands):
    (state_directory() / "server").mkdir()
    called = cli("clean", "--older-than", 30, "--json")
    assert called.json == {"num_sessions": 0, "num_data": 0, "num_bytes": 0, "server": {"num_files": 1}}
    assert server_commands[0][-1] == "--json"


def test_clean_removes_what_is_old_and_says_how_much(cli):
    data = training_data()
    assert cli("clean", "--older-than", 30).code == 0
    assert data.train.exists()
    called = cli("clean", "--older-than", 0)
    assert not data.train.exists()
    assert "removed 0 recorded session files and 1 training data sets" in called.out


def test_stop_says_whether_there_was_anything_to_stop(cli, monkeypatch):
    called = cli("stop")
    assert (called.code, called.out) == (0, "")
    assert called.err.startswith("no embedded server runs in ")
    stopped = []

    def stop(directory, *, tell):
        tell("patience")
        stopped.append(directory)
        return True

    monkeypatch.setattr(local_stop, "stop_server", stop)
    called = cli("stop")
    assert called.out.startswith("stopped the embedded server of ")
    assert called.err == "patience\n"
    assert cli("stop", "--state-dir", "/elsewhere", "--json").json == {
        "stopped": True,
        "directory": "/elsewhere",
    }
    assert stopped == [state_directory() / "server", Path("/elsewhere")]


def test_an_error_is_one_line_on_stderr_and_exit_code_1(cli):
    (state_directory() / "layout.json").write_text('{"version": 99}')
    called = cli("clean", "--older-than", 1)
    assert (called.code, called.out) == (1, "")
    assert called.err.startswith("langchain-finetune: ")
    assert "layout 99" in called.err


def test_with_json_an_error_is_json_too(cli):
    called = cli("select", "nothing.jsonl", "--json")
    assert (called.code, called.out) == (6, "")
    assert called.error["type"] == "SourceNotFoundError"
    assert called.error["exit_code"] == 6
    assert cli("select", "--json").error["type"] == "MissingParameter"


def test_an_interrupt_is_130(cli, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(local_stop, "stop_server", interrupt)
    assert cli("stop").code == 130


_LOADED = """
import sys
from langchain_finetune.cli.main import main
code = main(sys.argv[1:])
import json
heavy = ("pydantic", "langchain_core", "openai", "rich", "yaml", "httpx2", "asyncio")
print(json.dumps([code, [name for name in heavy if name in sys.modules]]))
"""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["jobs", "--help"], ["openai", "--help"]])
def test_help_loads_nothing_that_takes_its_time(arguments):
    # A measure of time would say something about the machine.
    done = subprocess.run(
        [sys.executable, "-c", _LOADED, *arguments], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [0, []]
