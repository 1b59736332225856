"""Tokens of training rows by a base's own tokenizer and prompt, without a server: for programs, over a pipe.

Standard input has a row a line, standard output an answer a line, each written before the next row is read.
The first line answers no row: `{"context_length": ...}`, or `{"error": ..., "is_unknown_base": ...}` and the
end. What follows is the number of tokens that a row is trained with, `null` for one that cannot be rendered.
The process ends with its input.
"""

import sys
from collections.abc import Sequence
from typing import Any, BinaryIO

import orjson

_HINT = 'pip install "langchain-finetune[local]"'


def main(arguments: Sequence[str]) -> int:
    """Runs the command and gives its exit code."""
    if len(arguments) != 1:
        sys.stderr.write("count-tokens takes one base; rows go to its standard input\n")
        return 2
    return answer(arguments[0], sys.stdin.buffer, sys.stdout.buffer)


def answer(base: str, rows: BinaryIO, out: BinaryIO) -> int:
    """Answers every row, and gives the process' exit code."""
    try:
        # What the extra brings is loaded here, so that its lack is an answer too.
        from finetune_server.cli.row_lengths import RowLengths  # noqa: PLC0415
        from finetune_server.errors import UnknownBase  # noqa: PLC0415
        from finetune_server.training.errors import UnsupportedBaseError  # noqa: PLC0415
    except ModuleNotFoundError as error:
        return _give_up(out, f"{error.name} is not installed here: {_HINT}", is_unknown_base=False)
    try:
        lengths = RowLengths.of(base)
    except UnknownBase as error:
        return _give_up(out, str(error), is_unknown_base=True)
    except (UnsupportedBaseError, OSError, ValueError) as error:
        return _give_up(out, str(error), is_unknown_base=False)
    _say(out, {"context_length": lengths.context_length})
    for line in rows:
        _say(out, lengths.count(line))
    return 0


def _give_up(out: BinaryIO, error: str, *, is_unknown_base: bool) -> int:
    _say(out, {"error": error, "is_unknown_base": is_unknown_base})
    return 1


def _say(out: BinaryIO, value: Any) -> None:
    out.write(orjson.dumps(value) + b"\n")
    out.flush()
