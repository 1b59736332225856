"""What the commands share: who called, the state directory, numbers within bounds."""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

Number = TypeVar("Number", int, float)

_WIDTH = 100


def command_parser(command: str, arguments: Sequence[str], description: str) -> argparse.ArgumentParser:
    """A parser that has `--state-dir`.

    `langchain-finetune` hands over its command with `--default-state-dir`, an option that is not shown: the
    help then speaks of that command, and of the directory that is taken where none is given.

    Args:
        command: As `langchain-finetune` calls it.
        arguments: The command's own, of which the hidden option is read.
        description: What it does.
    """
    caller = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    caller.add_argument("--default-state-dir", type=_directory, help=argparse.SUPPRESS)
    default: Path | None = caller.parse_known_args(arguments)[0].default_state_dir
    own = "python -m finetune_server" + ("" if command == "serve" else f" {command}")
    parser = argparse.ArgumentParser(
        prog=f"langchain-finetune {command}" if default else own,
        description=description,
        parents=[caller],
        allow_abbrev=False,
        formatter_class=partial(argparse.RawDescriptionHelpFormatter, width=_WIDTH, max_help_position=30),
    )
    parser.add_argument(
        "--state-dir",
        type=_directory,
        metavar="DIR",
        required=default is None,
        default=default,
        help="the directory that the server owns" + (" (default: %(default)s)" if default else ""),
    )
    return parser


def within(kind: Callable[[str], Number], low: Number, high: Number) -> Callable[[str], Number]:
    """A type for an option: a number, not out of these bounds."""

    def parse(text: str) -> Number:
        value = kind(text)
        if not low <= value <= high:  # a NaN neither
            msg = f"{text} is not between {low} and {high}"
            raise argparse.ArgumentTypeError(msg)
        return value

    # argparse names the type where the text is no number.
    parse.__name__ = "number"
    return parse


def _directory(text: str) -> Path:
    if not text:
        msg = "no directory is named"
        raise argparse.ArgumentTypeError(msg)
    return Path(text).absolute()
