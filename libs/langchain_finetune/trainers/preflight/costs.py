"""What a job would cost: epochs, trained tokens, price, and the caller's limit."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from langchain_finetune.errors import CostLimitError, UnknownPriceError
from langchain_finetune.hosts import Host
from langchain_finetune.trainers.preflight.auto_epochs import auto_epochs_of
from langchain_finetune.trainers.preflight.prices import Price
from langchain_finetune.trainers.preflight.token_count import TokenCount

_MILLION = 1_000_000
_EPOCHS = "n_epochs"


class Epochs(NamedTuple):
    """How often each row is trained on."""

    number: int | None
    """None where "auto" is asked for and the host does not tell what that means."""

    source: str
    """Who says so: the caller, or the host's rule for "auto"."""
    is_auto: bool


class Cost(NamedTuple):
    """What a job would cost."""

    trained_tokens: int | None
    """None where the epochs are not known."""

    price: Price | None
    usd: float | None
    """None where there is no price, or the epochs are not known."""


def epochs_of(hyperparameters: Mapping[str, Any] | None, host: Host, num_rows: int) -> Epochs:
    """Return the epochs of a job: those asked for, or what "auto" means for this host and number of rows."""
    for name in (_EPOCHS, host.hyperparameter_names.get(_EPOCHS)):
        given = (hyperparameters or {}).get(name or _EPOCHS)
        if isinstance(given, int) and not isinstance(given, bool):
            return Epochs(given, "as asked for", is_auto=False)
    auto = auto_epochs_of(host)
    return Epochs(auto.of(num_rows) if auto.of else None, auto.source, is_auto=True)


def cost_of(tokens: TokenCount, epochs: Epochs, price: Price | None) -> Cost:
    """Return what training costs; validation rows are free."""
    if epochs.number is None:
        return Cost(None, price, 0.0 if price and not price.usd_per_million_tokens else None)
    trained = tokens.num_tokens * epochs.number
    usd = None if price is None else round(trained * price.usd_per_million_tokens / _MILLION, 4)
    return Cost(trained, price, usd)


def require_within(cost: Cost, max_cost_usd: float, target: str) -> None:
    """Refuse what costs more than the limit.

    Raises:
        UnknownPriceError: There is no price.
        CostLimitError: It costs more.
    """
    if cost.usd is None and cost.price is not None:
        msg = (
            f"there is a limit of {max_cost_usd:.2f} USD, and the host does not tell how many epochs it "
            f"would train {target} for; nothing was uploaded. Give them: `hyperparameters={{'n_epochs': 3}}`."
        )
        raise UnknownPriceError(msg, None, max_cost_usd)
    if cost.usd is None or cost.price is None:
        amount = (
            "" if cost.trained_tokens is None else f": about {cost.trained_tokens:,} tokens would be trained"
        )
        msg = (
            f"there is a limit of {max_cost_usd:.2f} USD and no known price for training {target}; nothing "
            f"was uploaded. Look the price up and give it as `usd_per_million_tokens`{amount}."
        )
        raise UnknownPriceError(msg, None, max_cost_usd, cost.trained_tokens)
    if cost.usd > max_cost_usd:
        price = cost.price
        since = f" of {price.as_of}" if price.as_of else ""
        msg = (
            f"training {target} would cost about {cost.usd:.2f} USD, more than the limit of "
            f"{max_cost_usd:.2f} USD; nothing was uploaded. It trains {cost.trained_tokens or 0:,} tokens at "
            f"{price.usd_per_million_tokens:g} USD a million ({price.source}{since}). Train on fewer rows or "
            "epochs, raise `max_cost_usd`, or give your own price as `usd_per_million_tokens`."
        )
        raise CostLimitError(msg, cost.usd, max_cost_usd, cost.trained_tokens, price.usd_per_million_tokens)
