"""The rules for a row of `reinforcement`: a question, and whatever the grader reads beside it.

The format is `FineTuneReinforcementRequestInput` of OpenAI's specification: `messages` and `tools` are the
only reserved keys, every other one is the grader's (`{{ item.key }}`).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from langchain_finetune.rows import rules, shape
from langchain_finetune.rows.arguments import find_misfits
from langchain_finetune.rows.rules import Problem
from langchain_finetune.runs import Reason

_ROLES: Final = frozenset({"developer", "user", "assistant", "tool"})
_RESERVED: Final = ("messages", "tools")


def find_misshapes(row: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what keeps a row from being read as a chat."""
    yield from shape.find_chat_misshapes(as_chat(row))


def find_problems(row: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield every rule that a row breaks."""
    chat = as_chat(row)
    messages = chat["messages"]
    yield from rules.find_chat_problems(chat, _ROLES)
    if messages[-1]["role"] != "user":
        yield Problem(Reason.NO_QUESTION, f"messages[{len(messages) - 1}]")


def find_notes(row: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is odd about a row without a problem, and keeps no host from training on it."""
    return find_misfits(as_chat(row))


def as_chat(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the model is shown of a row."""
    return {key: row[key] for key in _RESERVED if key in row}
