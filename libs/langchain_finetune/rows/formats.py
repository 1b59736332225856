"""What a row of training data looks like, by the method of training."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from langchain_finetune.rows import preference, reinforcement, rules, shape
from langchain_finetune.rows.rules import Problem

Row = Mapping[str, Any]


class RowFormat(NamedTuple):
    """How the rows of one method are read."""

    find_misshapes: Callable[[Row], Iterator[Problem]]
    """What keeps a row from being read."""

    find_problems: Callable[[Row], Iterator[Problem]]
    """The rules that a row without a misshape breaks."""

    as_chat: Callable[[Row], Row]
    """All that the model reads of a row without a misshape as `messages` and `tools`, to be counted."""


FORMATS: Final[Mapping[str, RowFormat]] = {
    "supervised": RowFormat(shape.find_misshapes, rules.find_problems, lambda row: row),
    "dpo": RowFormat(preference.find_misshapes, preference.find_problems, preference.as_chat),
    "reinforcement": RowFormat(
        reinforcement.find_misshapes, reinforcement.find_problems, reinforcement.as_chat
    ),
}
"""By `Method`."""
