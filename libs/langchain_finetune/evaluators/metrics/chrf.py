"""How near a text is to the recorded one, in n-grams of characters: chrF++ by sacrebleu.

chrF needs no tokenizer, works in every language, and agrees better with people than BLEU or ROUGE do
(https://aclanthology.org/W15-3049/, https://aclanthology.org/W17-4770/). sacrebleu is the library that papers
compare by; rouge-score has had no release since 2022.
"""

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from langchain_finetune.errors import MissingExtraError
from langchain_finetune.evaluators.metrics.example import Example
from langchain_finetune.evaluators.metrics.metric import Metric
from langchain_finetune.evaluators.tool_calls import Answer


@dataclass(frozen=True, kw_only=True)
class ChrF(Metric):
    """chrF++ of the text, 0 to 1; nothing where the record has no text. Needs the extra `evaluation`.

    Raises:
        MissingExtraError: sacrebleu is not installed.
    """

    name: str = "chrf"

    def __post_init__(self) -> None:
        """Find out now whether the library is there, not after the last question."""
        _chrf()

    def score(self, example: Example, answer: Answer) -> float | None:
        """Return the similarity of the texts."""
        expected = example.expected.text.strip()
        if not expected:
            return None
        return float(_chrf().sentence_score(answer.text.strip(), [expected]).score) / 100


@cache
def _chrf() -> Any:
    try:
        return import_module("sacrebleu.metrics").CHRF(word_order=2)
    except ImportError as e:
        msg = (
            "the metric 'chrf' needs sacrebleu, which is not installed: "
            'pip install "langchain-finetune[evaluation]"'
        )
        raise MissingExtraError(msg) from e
