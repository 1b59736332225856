"""What a metric sees of a question: the recorded prompt, tools and answer. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from langchain_finetune.evaluators.tool_calls import Answer


@dataclass(frozen=True, kw_only=True)
class Example:
    """One question, and the answer on record."""

    row: int
    """0-based in the test file."""
    turn: int
    """0-based place of the answer among the row's messages."""
    prompt: tuple[Mapping[str, Any], ...]
    """The messages before the answer, in OpenAI's form."""
    tools: tuple[Mapping[str, Any], ...]
    """The tools that were offered, in OpenAI's form; legacy functions too."""
    expected: Answer
    """What was recorded."""
    run_ids: tuple[str, ...] = ()
    """The recorded runs that are part of the row, where the report of the training data tells them."""
    tags: tuple[str, ...] = ()
    """Tags of the runs, and what kind of answer is asked for: `tool:<name>`, `text`, `later turn`."""
