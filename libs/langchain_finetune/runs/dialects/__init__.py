"""The dialects in which recorders write a model's call down, in the order in which they are tried.

A dialect is a module of two functions: `recognizes(call)`, which looks at the outputs, and `read(call)`. To
add one, write its module and name it here, before those that would recognize its calls too.
"""

from typing import Final, Protocol

from langchain_finetune.runs.call import Call, SessionFields
from langchain_finetune.runs.dialects import (
    anthropic,
    langchain,
    openai_chat,
    openai_responses,
    opentelemetry,
    traceable,
)
from langchain_finetune.runs.rejections import Reason, Unreadable


class Dialect(Protocol):
    """One way in which a call is written down."""

    def recognizes(self, call: Call) -> bool:
        """Say whether a call is written down in this way."""

    def read(self, call: Call) -> SessionFields:
        """Read a call; raise `Unreadable` where it cannot be trained on."""


DIALECTS: Final[tuple[Dialect, ...]] = (
    langchain,
    openai_chat,
    openai_responses,
    anthropic,
    opentelemetry,
    traceable,
)


def read_call(call: Call) -> SessionFields:
    """Read a call in the first dialect that recognizes it.

    Raises:
        Unreadable: It cannot be trained on.
    """
    for dialect in DIALECTS:
        if dialect.recognizes(call):
            return dialect.read(call)
    raise Unreadable(Reason.UNKNOWN_SHAPE)
