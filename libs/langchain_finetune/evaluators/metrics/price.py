"""What an answer costs, by the host's list price for the tokens that it counted. Less is better."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import ClassVar, Final, NamedTuple, Self

from langchain_finetune.evaluators.metrics.example import Example
from langchain_finetune.evaluators.metrics.metric import Metric
from langchain_finetune.evaluators.tool_calls import Answer
from langchain_finetune.hosts import LOCAL, OPENAI

_MILLION: Final = 1_000_000


class TokenPrice(NamedTuple):
    """US dollars for a million tokens of prompts and of answers."""

    input: float
    output: float


PRICES_DATE: Final = date(2026, 11, 22)
"""Day on which the prices below were read: https://developers.openai.com/api/docs/pricing#fine-tuning"""

TUNED_PRICES: Final[Mapping[str, TokenPrice]] = {
    "gpt-4.1": TokenPrice(3.0, 12.0),
    "gpt-4.1-mini": TokenPrice(0.8, 3.2),
    "gpt-4o": TokenPrice(3.75, 15.0),
    "gpt-4o-mini": TokenPrice(0.3, 1.2),
}
"""Of OpenAI's tuned models, by their base without its date. Training has prices of its own: see preflight."""

_FREE: Final = TokenPrice(0.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class Price(Metric):
    """US dollars an answer.

    Models of the embedded server cost nothing but this machine's time, OpenAI's tuned ones the list price;
    of any other model nothing is known unless `prices` tells it: `Price(prices={"gpt-4.1": (2, 8)})`, US
    dollars for a million tokens of prompts and of answers by the model's name.
    """

    name: str = "usd"
    prices: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    price: TokenPrice | None = None
    """Of the model that is measured."""

    is_share: ClassVar[bool] = False
    is_more_better: ClassVar[bool] = False

    def score(self, example: Example, answer: Answer) -> float | None:
        """Return US dollars, None where there is no price or no count."""
        del example
        if self.price is None or answer.input_tokens is None or answer.output_tokens is None:
            return None
        paid = answer.input_tokens * self.price.input + answer.output_tokens * self.price.output
        return paid / _MILLION

    def for_model(self, model: str, provider: str | None) -> Self:
        """Return the metric with the price of a model."""
        return replace(self, price=self._price_of(model, provider))

    def _price_of(self, model: str, provider: str | None) -> TokenPrice | None:
        if model in self.prices:
            return TokenPrice(*self.prices[model])
        if provider == LOCAL.name:
            return _FREE
        if provider == OPENAI.name and model.startswith("ft:"):
            base = model.split(":")[1]
            names = [name for name in TUNED_PRICES if base == name or base.startswith(f"{name}-20")]
            return TUNED_PRICES[names[0]] if names else None
        return None
