"""A tuned model held against its base, for the commands that compare."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from langchain_finetune.cli.options import Gathered, added, build

F = TypeVar("F", bound=Callable[..., Any])

_GATHERED: Final = Gathered("comparison", renamed={"data_": "data"})
_GATE: Final = Gathered("gate")

_OPTIONS: Final = (
    _GATHERED.option(
        "--metric",
        "metrics",
        multiple=True,
        metavar="NAME",
        help="What answers are measured by, the headline first: exact, tool_calls, valid, text, chrf, ...",
    ),
    _GATHERED.option(
        "--data",
        "data_",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        metavar="FILE",
        help="Held-out rows; else those of the model's own training data.",
    ),
    _GATHERED.option(
        "--langsmith", is_flag=True, help="Write the comparison to LangSmith as an experiment, too."
    ),
    _GATE.option(
        "--min-gain", type=float, metavar="GAIN", help="Least gain, with 95 % confidence: 0.05 is 5 points."
    ),
    _GATE.option(
        "--max-regressions", type=click.IntRange(0), metavar="N", help="Most questions that got worse."
    ),
)


def comparison_options(function: F) -> F:
    """Add the options of a comparison and of a gate."""
    return added(_OPTIONS, function)


comparison_of = _GATHERED.of
"""Returns what the options say, as settings of `ModelComparison`."""

gate_of = _GATE.of
"""Returns what the options say, as settings of `PromotionGate`; empty where no gate is asked for."""


def compared(
    model: Any,
    settings: Mapping[str, Any],
    gate: Mapping[str, Any] | None,
    config: Any,
    baseline: str | None = None,
) -> Any:
    """Return the report of a comparison, with a gate's decision where there is a gate.

    Args:
        model: The tuned model.
        settings: Of `ModelComparison`.
        gate: Of `PromotionGate`; None for none.
        config: What the stages are invoked with.
        baseline: The word for the model to compare with.
    """
    from langchain_finetune.cli.named import model_at
    from langchain_finetune.evaluators import ModelComparison, PromotionGate

    against = {"baseline": model_at(baseline)} if baseline else {}
    comparison = build(ModelComparison, **{**settings, **against})
    judge = None if gate is None else build(PromotionGate, comparison, **gate)
    report = comparison.invoke(model, config)
    return report if judge is None else report.with_decision(judge.decide(report))
