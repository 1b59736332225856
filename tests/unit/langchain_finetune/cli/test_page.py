"""docs/cli.md: every option is listed, and every example is carried out, in order, against the fake host."""

import io
import re
import shlex
import shutil
import sys
from pathlib import Path

import click
import pytest

from langchain_finetune.cli.main import COMMANDS, langchain_finetune

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "cli.md").read_text()
SHARED = ("select", "convert", "train", "compare")
NOT_CARRIED_OUT = ("serve", "keys", "eval")
"""They take this process's place, or are the shell's."""


def commands():
    context = click.Context(langchain_finetune)
    for name in COMMANDS:
        command = langchain_finetune.get_command(context, name)
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", it) for inner, it in command.commands.items())
        elif name not in NOT_CARRIED_OUT:
            yield name, command


def listed_in(label):
    rows = re.search(rf"^\| of `{label}` \| \|\n\|---\|---\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return re.findall(r"^\| (`.*`) \| (.*) \|$", rows[1], re.MULTILINE) if rows else []


def options_of(command):
    options = [it for it in command.params if isinstance(it, click.Option)]
    return [(", ".join(f"`{name}`" for name in it.opts), it.help) for it in options]


@pytest.mark.parametrize(
    ("label", "command"), list(commands()), ids=lambda it: it if isinstance(it, str) else ""
)
def test_every_option_is_listed_with_its_words(label, command):
    elsewhere = [row for name in SHARED for row in listed_in(name)] if label == "run" else []
    assert listed_in(label)
    assert [row for row in options_of(command) if row not in listed_in(label) + elsewhere] == []
    assert [row for row in listed_in(label) if row not in options_of(command)] == []


def examples():
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL):
        for line in block.splitlines():
            text, _, comment = line.partition(" # ")
            code = re.match(r"exit (\d+)", comment)
            yield text, int(code[1]) if code else 0


class Shell:
    """As much of a shell as the examples need."""

    def __init__(self, cli, monkeypatch):
        self._cli = cli
        self._monkeypatch = monkeypatch
        self.variables = {}

    def run(self, line):
        called = None
        for part in line.split(" | "):
            words = shlex.split(re.sub(r"\$(\w+)", lambda it: self.variables[it[1]], part))
            target = words[words.index(">") + 1] if ">" in words else None
            words = words[: words.index(">")] if target else words
            assert words[0] == "langchain-finetune"
            piped = io.TextIOWrapper(io.BytesIO(called.out.encode() if called else b""))
            self._monkeypatch.setattr(sys, "stdin", piped)
            called = self._cli(*words[1:])
            if target:
                Path(target).write_text(called.out)
            if "--no-wait" in words:
                self.variables["JOB"] = called.out.split()[1]
                self.variables["JOB_ID"] = self.variables["JOB"].partition(":")[2]
        return called


def test_the_examples_work_in_their_order(cli, host, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "examples" / "calculator" / "runs.jsonl", "runs.jsonl")
    [pipe] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    Path("pipe.yaml").write_text(pipe)
    shell, num_done = Shell(cli, monkeypatch), 0
    for line, code in examples():
        if any(line.startswith((f"langchain-finetune {name}", name)) for name in NOT_CARRIED_OUT):
            continue
        called = shell.run(line)
        assert called.code == code, (line, called)
        num_done += 1
    assert num_done > 30
