"""The `langchain-finetune` command: results go to stdout, talk to stderr."""

import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final

import click
from typing_extensions import override

from langchain_finetune._version import __version__
from langchain_finetune.cli.exits import ExitCode, exit_code_of
from langchain_finetune.errors import FineTuneError

PROGRAM: Final = "langchain-finetune"

COMMANDS: Final = {
    "run": "Load, convert, train, compare: a whole pipe, from a file or from options.",
    "select": "Select recorded runs and write them down as sessions.",
    "convert": "Convert sessions into rows that a trainer accepts.",
    "inspect": "Say what is in a file, and what is wrong with it.",
    "train": "Fine-tune a base model on rows.",
    "jobs": "Look at jobs, wait for them, end them.",
    "models": "List tuned models, name them, ask them.",
    "openai": "Leave OpenAI's fine-tuning: take stock, train elsewhere.",
    "compare": "Compare a tuned model with its base on held-out rows.",
    "report": "Write the report of a comparison as one HTML file.",
    "serve": "Run the embedded server in the foreground.",
    "keys": "Make, list and delete the keys that other machines need.",
    "stop": "End the embedded server.",
    "clean": "Remove what has grown old from the state directory.",
    "doctor": "Check keys, hosts, versions, disk and deadlines.",
}
"""What each command is for. A module of its own is loaded when its command is called, and not before."""


class _LazyGroup(click.Group):
    """Finds its commands in `cli/commands`, one module each."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module: Any = import_module(f"langchain_finetune.cli.commands.{cmd_name}")
        command: click.Command = module.command
        return command

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # Click's own asks every command for its help, which would load them all.
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Results go to stdout, everything else to stderr. Most commands take --json. Exit codes: "
    "docs/cli.md.",
)
@click.version_option(__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")
def langchain_finetune() -> None:
    """Recorded runs in, a fine-tuned model out."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: see `ExitCode`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = langchain_finetune.main(given, prog_name=PROGRAM, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as e:
        e.show()
        return ExitCode.NOT_UNDERSTOOD
    except click.ClickException as e:
        return _say(given, ExitCode(e.exit_code), e, e.show)
    except FineTuneError as e:
        return _say(given, exit_code_of(e), e)
    except click.exceptions.Abort:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        return _end_of_pipe()
    return code or ExitCode.DONE


def _say(given: Sequence[str], code: ExitCode, error: Exception, show: Any = None) -> int:
    """Tell an error: in one line of JSON where the results are JSON, else as a sentence."""
    if "--json" in given:
        message = error.format_message() if isinstance(error, click.ClickException) else str(error)
        told = {"type": type(error).__name__, "message": message, "exit_code": int(code)}
        print(json.dumps({"error": told}, ensure_ascii=False), file=sys.stderr)
    elif show is not None:
        show()
    else:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
    return code


def _end_of_pipe() -> int:
    # Whoever read has enough, as `head` has; the interpreter's own flush at exit would fail again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
