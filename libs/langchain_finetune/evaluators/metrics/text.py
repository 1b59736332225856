"""Whether the text of an answer is the recorded one: to the letter, or but for its dress."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from langchain_finetune.evaluators.metrics.example import Example
from langchain_finetune.evaluators.metrics.metric import Metric
from langchain_finetune.evaluators.tool_calls import Answer

_SPACE: Final = re.compile(r"\s+")
_DRESS: Final = " \t\n\"'`*_.,;:!?()[]"


@dataclass(frozen=True, kw_only=True)
class ExactText(Metric):
    """1 where the text is the recorded one but for space around it; nothing where the record has no text."""

    name: str = "exact_text"

    def score(self, example: Example, answer: Answer) -> bool | None:
        """Return whether the texts agree."""
        expected = example.expected.text.strip()
        return expected == answer.text.strip() if expected else None


@dataclass(frozen=True, kw_only=True)
class NormalizedText(Metric):
    """1 where the texts agree but for case, space, Unicode forms, and punctuation and markup around them."""

    name: str = "text"

    def score(self, example: Example, answer: Answer) -> bool | None:
        """Return whether the texts agree."""
        expected = normalized(example.expected.text)
        return expected == normalized(answer.text) if expected else None


def normalized(text: str) -> str:
    """Return a text without its dress."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _SPACE.sub(" ", folded).strip(_DRESS)
