"""What an answer takes: time and tokens. Less is better."""

from dataclasses import dataclass
from typing import ClassVar

from langchain_finetune.evaluators.metrics.example import Example
from langchain_finetune.evaluators.metrics.metric import Metric
from langchain_finetune.evaluators.tool_calls import Answer


@dataclass(frozen=True, kw_only=True)
class Latency(Metric):
    """Seconds from the question to the whole answer, when it was first asked.

    Questions of the same model that are asked at the same time wait for each other: compare models that were
    asked with the same `max_concurrency`, with 1 for the figure that a single user sees.
    """

    name: str = "seconds"
    is_share: ClassVar[bool] = False
    is_more_better: ClassVar[bool] = False

    def score(self, example: Example, answer: Answer) -> float | None:
        """Return the seconds, None where nobody measured them."""
        del example
        return answer.seconds


@dataclass(frozen=True, kw_only=True)
class Tokens(Metric):
    """Tokens of prompt and answer as the host counted them: `tokens.input` and `tokens.output`."""

    name: str = "tokens"
    is_share: ClassVar[bool] = False
    is_more_better: ClassVar[bool] = False

    def score(self, example: Example, answer: Answer) -> dict[str, float | bool | None]:
        """Return the counts, None where the host did not count."""
        del example
        return {"input": answer.input_tokens, "output": answer.output_tokens}
