"""The recorded answer or not: the strictest metric, and the headline by default."""

from dataclasses import dataclass

from langchain_finetune.evaluators.metrics.example import Example
from langchain_finetune.evaluators.metrics.metric import Metric
from langchain_finetune.evaluators.tool_calls import Answer, is_exact


@dataclass(frozen=True, kw_only=True)
class Exact(Metric):
    """1 where the answer makes the recorded calls, or says the recorded text where there are none."""

    name: str = "exact"

    def score(self, example: Example, answer: Answer) -> bool:
        """Return whether the answer is the recorded one."""
        return is_exact(example.expected, answer)
