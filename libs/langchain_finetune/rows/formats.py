"""What a row of training data looks like, by the method of training."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from langchain_finetune.rows import arguments, preference, reinforcement, rules, shape
from langchain_finetune.rows.rules import Problem
from langchain_finetune.runs import Reason

Row = Mapping[str, Any]

_READABLE: Final = frozenset({Reason.UNKNOWN_KEY, Reason.INVALID_WEIGHT, Reason.NOTHING_TO_LEARN})
"""Misshapes of a row whose messages and tools can be read all the same."""


class PlacedChat(NamedTuple):
    """A conversation that stands in a row, ending as it is trained on."""

    chat: Row
    rename: Callable[[str], str]
    """Turns a field of the chat into the row's."""


class RowFormat(NamedTuple):
    """How the rows of one method are read."""

    find_misshapes: Callable[[Row], Iterator[Problem]]
    """What keeps a row from being read."""

    find_problems: Callable[[Row], Iterator[Problem]]
    """The rules that a row without a misshape breaks."""

    find_notes: Callable[[Row], Iterator[Problem]]
    """What is odd about a row without a problem, and keeps no host from training on it."""

    chats: Callable[[Row], Iterator[PlacedChat]]
    """The conversations in a row without a misshape: one, or one for each of two outputs."""

    as_chat: Callable[[Row], Row]
    """All that the model reads of a row without a misshape as `messages` and `tools`, to be counted."""


def _one_chat(row: Row) -> Iterator[PlacedChat]:
    yield PlacedChat(row, str)


def _graded_chat(row: Row) -> Iterator[PlacedChat]:
    yield PlacedChat(reinforcement.as_chat(row), str)


def _two_chats(row: Row) -> Iterator[PlacedChat]:
    for name, chat in preference.answered(row):
        yield PlacedChat(chat, partial(preference.field_of, row, name))


FORMATS: Final[Mapping[str, RowFormat]] = {
    "supervised": RowFormat(
        find_misshapes=shape.find_misshapes,
        find_problems=rules.find_problems,
        find_notes=arguments.find_misfits,
        chats=_one_chat,
        as_chat=lambda row: row,
    ),
    "dpo": RowFormat(
        find_misshapes=preference.find_misshapes,
        find_problems=preference.find_problems,
        find_notes=preference.find_notes,
        chats=_two_chats,
        as_chat=preference.as_chat,
    ),
    "reinforcement": RowFormat(
        find_misshapes=reinforcement.find_misshapes,
        find_problems=reinforcement.find_problems,
        find_notes=reinforcement.find_notes,
        chats=_graded_chat,
        as_chat=reinforcement.as_chat,
    ),
}
"""By `Method`."""


def is_readable(misshapes: list[Problem]) -> bool:
    """Tell whether a row with these misshapes can be held to the rules and counted all the same."""
    return all(problem.reason in _READABLE for problem in misshapes)


def read_chat(row: Row, method: str) -> Row | None:
    """Return all that a model reads of a row; None where it has not the shape that a token count needs."""
    row_format = FORMATS[method]
    return row_format.as_chat(row) if is_readable(list(row_format.find_misshapes(row))) else None
