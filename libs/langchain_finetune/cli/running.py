"""A pipe from its first stage to its last."""

from dataclasses import dataclass
from typing import Any

import click

from langchain_finetune.cli.comparing import compared
from langchain_finetune.cli.converting import converter_for, data_text
from langchain_finetune.cli.output import as_json
from langchain_finetune.cli.pipe_file import Pipe
from langchain_finetune.cli.sources import loader_for
from langchain_finetune.cli.talk import Talk
from langchain_finetune.cli.training import model_text, provider_of, told_model, trainer_for
from langchain_finetune.handles import TrainingData


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a pipe has come to."""

    data: TrainingData
    model: dict[str, Any]
    report: Any = None
    """Of the comparison, where there was one."""
    is_better: bool | None = None
    """Whether the model has passed the gate; None where there is none."""
    alias: str | None = None
    """The alias that stands for the model now."""

    def told(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "data": as_json(self.data),
            "model": self.model,
            "comparison": None if self.report is None else as_json(self.report),
            "promoted": self.is_better,
            "alias": self.alias,
        }

    def text(self) -> str:
        """Return it for a person."""
        parts = [data_text(self.data), model_text(self.model)]
        parts += [str(self.report)] if self.report is not None else []
        parts += [f"{self.alias} now stands for {self.model['model']}"] if self.alias else []
        return "\n\n".join(parts)


class Running:
    """A pipe that is carried out.

    Args:
        pipe: The pipe.
        is_quiet: Whether no progress is shown.

    Raises:
        UsageError: It has no source or no target, or a stage does not have a setting.
    """

    def __init__(self, pipe: Pipe, *, is_quiet: bool) -> None:
        if not pipe.source or not pipe.target:
            missing = (
                "a source: --source, or `source:`" if not pipe.source else "a target: --to, or `target:`"
            )
            msg = f"the pipe lacks {missing} in its file."
            raise click.UsageError(msg)
        self._pipe = pipe
        self._target = pipe.target
        # All stages are made before the first one works: a slip in the last would cost the work of the first.
        self._loader = loader_for(pipe.source, pipe.select)
        self._converter = converter_for(pipe.convert)
        method = {"method": pipe.convert["method"]} if "method" in pipe.convert else {}
        self._trainer = trainer_for(pipe.target, {**method, **pipe.train})
        self._is_quiet = is_quiet

    def look_ahead(self) -> tuple[TrainingData, Any]:
        """Load and convert, and return what the training would do and cost."""
        with self._talk() as talk:
            data = (self._loader | self._converter).invoke({}, talk.config)
            return data, self._trainer.preflight(data)

    def run(self) -> Outcome:
        """Do all of it."""
        pipe = self._pipe
        with self._talk() as talk:
            data = (self._loader | self._converter).invoke({}, talk.config)
            model = self._trainer.invoke(data, talk.config)
            told = told_model(model, is_reused=talk.is_reused)
            report: Any = self._compared(model, talk) if pipe.compares else None
        decision = report.decision if report is not None and pipe.gate is not None else None
        is_better = decision.promoted if decision is not None else None
        is_moved = pipe.alias is not None and is_better is not False
        if is_moved:
            from langchain_finetune.serving import AliasStore

            AliasStore().promote(str(pipe.alias), model, note=decision.reason if decision else "")
        return Outcome(
            data=data, model=told, report=report, is_better=is_better, alias=pipe.alias if is_moved else None
        )

    def _compared(self, model: Any, talk: Talk) -> Any:
        settings = dict(self._pipe.compare) if isinstance(self._pipe.compare, dict) else {}
        baseline = settings.pop("baseline", None)
        report = compared(model, settings, self._pipe.gate, talk.config, baseline)
        if self._pipe.report is not None:
            from langchain_finetune.cli.commands.report import write

            write(report, self._pipe.report)
        return report

    def _talk(self) -> Talk:
        return Talk(is_quiet=self._is_quiet, provider=provider_of(self._target))
