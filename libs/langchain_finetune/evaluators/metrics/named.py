"""Metrics by their names, and what else may be given as one."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from langchain_core.language_models import BaseChatModel

from langchain_finetune.errors import SettingError
from langchain_finetune.evaluators.metrics.chrf import ChrF
from langchain_finetune.evaluators.metrics.exact import Exact
from langchain_finetune.evaluators.metrics.judge import Judge
from langchain_finetune.evaluators.metrics.metric import Metric
from langchain_finetune.evaluators.metrics.own import OwnMetric
from langchain_finetune.evaluators.metrics.price import Price
from langchain_finetune.evaluators.metrics.refusal import RefusalAgreement
from langchain_finetune.evaluators.metrics.text import ExactText, NormalizedText
from langchain_finetune.evaluators.metrics.tool_call_match import ToolCallMatch
from langchain_finetune.evaluators.metrics.usage import Latency, Tokens
from langchain_finetune.evaluators.metrics.validity import Validity

METRICS: Final[Mapping[str, Callable[[], Metric]]] = {
    "exact": Exact,
    "tool_calls": ToolCallMatch,
    "valid": Validity,
    "text": NormalizedText,
    "exact_text": ExactText,
    "chrf": ChrF,
    "refusal": RefusalAgreement,
    "seconds": Latency,
    "tokens": Tokens,
    "usd": Price,
}

DEFAULT_METRICS: Final = ("exact", "tool_calls", "valid", "text", "refusal", "seconds", "tokens")


def read_metrics(given: Iterable[Any]) -> tuple[Metric | Judge, ...]:
    """Return metrics for what a person gives: names, metrics, chat models as judges, functions.

    Raises:
        SettingError: Something is none of these, there is none at all, or two have the same name.
    """
    metrics = tuple(_read(each) for each in given)
    names = [metric.name for metric in metrics]
    if not names:
        msg = (
            f"there is no metric: give some of {', '.join(METRICS)}, a chat model as a judge, or a function."
        )
        raise SettingError(msg)
    if len(set(names)) < len(names):
        double = next(name for name in names if names.count(name) > 1)
        msg = f"two metrics are called {double!r}: give one another name, such as Judge(model, name=...)."
        raise SettingError(msg)
    return metrics


def _read(given: Any) -> Metric | Judge:
    if isinstance(given, Metric | Judge):
        return given
    if isinstance(given, str):
        if given in METRICS:
            return METRICS[given]()
        msg = f"there is no metric {given!r}: the names are {', '.join(METRICS)}."
        raise SettingError(msg)
    if isinstance(given, BaseChatModel):
        return Judge(given)
    if callable(given):
        return OwnMetric.of(given)
    msg = (
        f"a {type(given).__name__} is no metric: give a name, a metric, a chat model to judge, or a function "
        "(example, answer) -> float | bool | dict."
    )
    raise SettingError(msg)
