"""What training costs, by host and base: list prices of one day, to be overruled by whoever has others.

Newer prices, a discount or a base that is not listed: `FineTuneRunnable(..., usd_per_million_tokens=...)`.
"""

from collections.abc import Mapping
from datetime import date
from typing import Final

from langchain_finetune.base_names import base_of, without_date
from langchain_finetune.handles import Handle
from langchain_finetune.hosts import LOCAL, OPENAI


class Price(Handle):
    """What a million trained tokens cost."""

    usd_per_million_tokens: float
    """US dollars for 1,000,000 trained tokens: tokens of the training rows times epochs."""

    as_of: date | None = None
    """The day on which the source said so; None for a price of the caller's."""

    source: str
    """Where the price is from: a link, or whose it is."""


_OPENAI_PRICING: Final = "https://developers.openai.com/api/docs/pricing#fine-tuning"
_NEBIUS_PRICING: Final = "https://docs.tokenfactory.nebius.com"

_OPENAI_USD: Final = {
    "gpt-4.1": 25.0,
    "gpt-4.1-mini": 5.0,
    "gpt-4.1-nano": 1.5,
    "gpt-4o": 25.0,
    "gpt-4o-mini": 3.0,
    "gpt-3.5-turbo": 8.0,
    "davinci-002": 6.0,
    "babbage-002": 0.4,
}
_NEBIUS_USD: Final = {
    "meta-llama/Llama-3.1-8B-Instruct": 0.4,
    "meta-llama/Llama-3.3-70B-Instruct": 2.8,
}

PRICES: Final[Mapping[str, Mapping[str, Price]]] = {
    OPENAI.name: {
        base: Price(usd_per_million_tokens=usd, as_of=date(2026, 11, 22), source=_OPENAI_PRICING)
        for base, usd in _OPENAI_USD.items()
    },
    "nebius": {
        base: Price(usd_per_million_tokens=usd, as_of=date(2026, 2, 1), source=_NEBIUS_PRICING)
        for base, usd in _NEBIUS_USD.items()
    },
}
"""By the host's name and the base, with or without its date, for supervised and dpo.

No list price of Azure, Together or Fireworks was found on 2026-11-22, so that there is none here."""

_FREE: Final = Price(usd_per_million_tokens=0.0, source="this machine's own time")
_GIVEN: Final = "usd_per_million_tokens"
_BY_THE_HOUR: Final = "reinforcement"


def price_of(
    provider: str, base: str, usd_per_million_tokens: float | None = None, *, method: str = "supervised"
) -> Price | None:
    """Return what training costs, None where nobody has said.

    Args:
        provider: Name of the host.
        base: The base model, or a tuned one that is trained further.
        usd_per_million_tokens: The caller's own price; it goes before the table's.
        method: Method of training; reinforcement is paid by the hour and not by the token.
    """
    if usd_per_million_tokens is not None:
        return Price(usd_per_million_tokens=usd_per_million_tokens, source=_GIVEN)
    if provider == LOCAL.name:
        return _FREE
    if method == _BY_THE_HOUR:
        return None
    listed, name = PRICES.get(provider, {}), base_of(base)
    return listed.get(name) or listed.get(without_date(name))
