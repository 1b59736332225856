"""A process that reads blocks of an export: asked on stdin, it answers on stdout, until stdin closes.

What both ends say is pickled: the other end is this package in a process that this package has started.
"""

import os
import pickle
import sys
from pickle import UnpicklingError
from typing import IO, Any, NamedTuple, NoReturn

from langchain_finetune.loaders._export_blocks import FileBlock, rated_rows, read_block
from langchain_finetune.loaders._root_feedback import RootFeedback
from langchain_finetune.loaders._selection import Sieve


class Question(NamedTuple):
    """What is asked about a block."""

    block: FileBlock
    is_for_roots: bool
    """Whether for the rows that tell the feedback on roots, instead of the runs."""


def main() -> None:
    """Answer questions; first comes the selection, at any time the feedback on roots."""
    asked, answers = sys.stdin.buffer, sys.stdout.buffer
    try:
        _answer(asked, answers)
    except (EOFError, UnpicklingError):
        return  # there is nothing more to do, or who asked was killed in the middle of a question
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), answers.fileno())  # the interpreter flushes it


def _answer(asked: IO[bytes], answers: IO[bytes]) -> NoReturn:
    sieve = Sieve(receive(asked))
    roots: RootFeedback | None = None
    while True:
        given = receive(asked)
        if isinstance(given, RootFeedback):
            roots = given
        elif given.is_for_roots:
            send(answers, rated_rows(given.block))
        else:
            send(answers, read_block(given.block, sieve, roots))


def send(stream: IO[bytes], value: Any) -> None:
    """Say something to the other end."""
    pickle.dump(value, stream, pickle.HIGHEST_PROTOCOL)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Return what the other end says.

    Raises:
        EOFError: It says nothing more.
    """
    return pickle.load(stream)  # noqa: S301  our own process at the other end
