"""The gate of a pipe: hands on the tuned model when it wins, and the baseline when it does not."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableConfig
from pydantic import BaseModel, Field, RootModel, create_model, field_validator
from typing_extensions import override

from langchain_finetune._stage import Stage
from langchain_finetune.errors import SettingError
from langchain_finetune.evaluators.contenders import base_of, name_of
from langchain_finetune.evaluators.model_comparison import ModelComparison, Models
from langchain_finetune.evaluators.report import ComparisonReport, Decision

GATE_EVENT: Final = "langchain_finetune_gate"
"""Name of the custom event with the decision; its data are those of `Decision`, the gain, and where the
details lie."""

logger = logging.getLogger("langchain_finetune")


class PromotionGate(Stage[Any, BaseChatModel]):
    """Hand on the tuned model when it wins, and the baseline when it does not.

    The tuned model wins when all of this holds, on the comparison's first metric:

    - it is better than the baseline on average,
    - and with 95 % confidence by more than `min_gain`: the lower bound of the gain's interval counts, not its
      mean, so that a small test file cannot promote a model by luck,
    - no more than `max_regressions` questions got worse,
    - and it differs from its base at all.

    The decision and its reason are in the custom event `langchain_finetune_gate`, in the log, and in the
    report beside the comparison's details (`ComparisonReport.load(event["directory"])`).

    ```python
    gate = PromotionGate(ModelComparison(), min_gain=0.05, max_regressions=2)
    model = (loader | converter | trainer | gate).invoke({})  # the tuned one, or the base
    ```

    Raises:
        SettingError: There is no baseline to fall back on.
        TrainingDataError: The comparison has no held-out rows.
        HostError: A model answered no question at all.
    """

    comparison: ModelComparison = Field(default_factory=ModelComparison)

    min_gain: float = Field(default=0.0, ge=-1, le=1)
    """Gain that the interval's lower bound has to exceed, in the metric's own unit: 0.05 of an exact match is
    five points of a hundred. 0: better, with 95 % confidence. Below 0 some loss is accepted, for a smaller
    model that costs less."""

    max_regressions: int | None = Field(default=None, ge=0)
    """Most questions on which the tuned model may score below the baseline; None is any number."""

    def __init__(self, comparison: ModelComparison | None = None, /, **settings: Any) -> None:
        given = {} if comparison is None else {"comparison": comparison}
        super().__init__(**given, **settings)

    @field_validator("comparison")
    @classmethod
    def _read_comparison(cls, comparison: ModelComparison) -> ModelComparison:
        return comparison

    @override
    def _accept(self, given: Any) -> Models:
        return self.comparison._accept(given)  # noqa: SLF001  the same input

    @override
    def get_input_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        return create_model(self.get_name("Input"), __base__=RootModel[Any])

    @override
    def get_output_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        return create_model(self.get_name("Output"), __base__=RootModel[Any])

    def decide(self, report: ComparisonReport) -> Decision:
        """Return what this gate makes of a report; nothing is asked."""
        reason = self._objection(report)
        return Decision(
            promoted=reason is None,
            reason=reason or self._praise(report),
            model=report.base if reason else report.tuned,
            metric=report.metric,
            min_gain=self.min_gain,
            max_regressions=self.max_regressions,
        )

    @override
    def _run(self, accepted: Models, config: RunnableConfig) -> BaseChatModel:
        tuned, baseline = self._pair(accepted)
        report = self.comparison._run(accepted, config)  # noqa: SLF001  inside this stage's own run
        decided = self._decided(report)
        dispatch_custom_event(GATE_EVENT, _event(decided), config=config)
        return tuned if _is_promoted(decided) else baseline

    @override
    async def _arun(self, accepted: Models, config: RunnableConfig) -> BaseChatModel:
        tuned, baseline = self._pair(accepted)
        report = await self.comparison._arun(accepted, config)  # noqa: SLF001  inside this stage's own run
        decided = self._decided(report)
        await adispatch_custom_event(GATE_EVENT, _event(decided), config=config)
        return tuned if _is_promoted(decided) else baseline

    def _decided(self, report: ComparisonReport) -> ComparisonReport:
        decided = report.with_decision(self.decide(report))
        if decided.decision is not None:
            verb = "promoted" if decided.decision.promoted else "kept"
            logger.info("%s %s: %s", verb, decided.decision.model, decided.decision.reason)
        return decided

    def _pair(self, accepted: Models) -> tuple[BaseChatModel, BaseChatModel]:
        models = accepted.by_name
        if len(models) != 1:
            msg = f"PromotionGate decides about one model, not about {len(models)}: give it the tuned one."
            raise SettingError(msg)
        (tuned,) = models.values()
        baseline = self.comparison.baseline or base_of(tuned)
        if baseline is None:
            msg = (
                f"the metadata of {name_of(tuned)} names no base to fall back on: give one, "
                "PromotionGate(ModelComparison(baseline=...))."
            )
            raise SettingError(msg)
        return tuned, baseline

    def _objection(self, report: ComparisonReport) -> str | None:
        if report.is_adapter_loaded is False:
            return f"{report.tuned} answers just like its base: the adapter is not loaded, or changed nothing"
        if report.gain is None:
            return f"no question has a score {report.metric} of both models"
        mean, low, _ = report.gain
        if mean <= 0 and self.min_gain >= 0:
            return f"{report.metric} did not get better: {_shown(report)}"
        if low <= self.min_gain:
            return f"the gain may be no more than {self.min_gain:+.3g}: {_shown(report)}"
        if self.max_regressions is not None and report.num_losses > self.max_regressions:
            return f"{report.num_losses} regressions are more than {self.max_regressions}: {_shown(report)}"
        return None

    def _praise(self, report: ComparisonReport) -> str:
        return f"the gain is more than {self.min_gain:+.3g}: {_shown(report)}"


def _shown(report: ComparisonReport) -> str:
    mean, low, high = report.gain or (0.0, 0.0, 0.0)
    return (
        f"{report.metric} {mean:+.3f} ({low:+.3f} to {high:+.3f}), {report.num_wins} wins, "
        f"{report.num_losses} losses, {report.num_ties} ties"
    )


def _is_promoted(report: ComparisonReport) -> bool:
    return report.decision is not None and report.decision.promoted


def _event(report: ComparisonReport) -> Mapping[str, Any]:
    decision = report.decision.model_dump(mode="json") if report.decision else {}
    return {
        **decision,
        "base": report.base,
        "tuned": report.tuned,
        "gain": report.gain,
        "num_losses": report.num_losses,
        "directory": str(report.directory) if report.directory else None,
    }
