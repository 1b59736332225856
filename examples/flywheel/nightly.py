"""A nightly flywheel: what was recorded since last time is trained on, and what is better is promoted.

```bash
python examples/flywheel/nightly.py langsmith:my-app local:smollm2-135m-instruct my-app@production
```

Safe to run twice, at once or one after the other, and after a crash at any point:

- The window ends at midnight, so a second run of a night selects the same runs, makes the same rows and finds
  the same job; answers of a comparison are kept; an alias that stands for the model already is not moved.
- The mark, up to which runs were seen, moves last, by a rename.
- Rows that are held out stay held out as the data grow: the model in production was not trained on them
  either.
- Runs of tuned models and of comparisons carry a mark of their own and are left out of every selection.
"""

import argparse
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple

from langchain_finetune import (
    AliasStore,
    FineTunedModel,
    FineTuneError,
    FineTuneRunnable,
    LangSmithRunChatLoader,
    ModelComparison,
    ProgressPrinter,
    PromotionGate,
    RunExportLoader,
    RunStore,
    TrainingDataConverter,
)
from langchain_finetune.errors import AliasNotFoundError, SelectionError

CONVERTER = TrainingDataConverter(test_fraction=0.2)


class Night(NamedTuple):
    """What a night came to."""

    outcome: Literal["waiting", "unchanged", "kept", "promoted"]
    num_new: int
    """Runs since last time."""
    reason: str = ""
    model: str | None = None


class Flywheel(NamedTuple):
    """What turns."""

    loader: Any
    """Where runs come from, with the conditions that they have to meet."""
    trainer: FineTuneRunnable
    alias: str
    """The name that the application asks for."""
    mark: Path
    """File with the moment up to which runs were seen."""
    min_new: int = 50
    """Fewest new runs that are worth a training."""
    window: timedelta = timedelta(days=90)
    """How far back runs are trained on."""
    min_gain: float = 0.0
    """Least gain over the model in production, with 95 % confidence."""
    config: Any = None

    def turn(self, now: datetime) -> Night:
        """Do a night's work.

        Args:
            now: The moment; runs of the day that has begun are left to the next night.
        """
        until = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        num_new = self._num_new(until)
        if num_new < self.min_new:
            return Night("waiting", num_new, f"{self.min_new} new runs are needed")
        window = {"start_time": until - self.window, "end_time": until}
        data = (self.loader | CONVERTER).invoke(window, self.config)
        model = self.trainer.invoke(data, self.config)
        night = self._promoted(model, num_new)
        _write_mark(self.mark, until)
        return night

    def _num_new(self, until: datetime) -> int:
        since = _read_mark(self.mark) or until - self.window
        if since >= until:
            return 0
        try:
            return self.loader.invoke({"start_time": since, "end_time": until}).num_sessions
        except SelectionError:
            return 0  # nothing was recorded, or nothing that is wanted

    def _promoted(self, model: Any, num_new: int) -> Night:
        aliases = AliasStore()
        production = _production(aliases, self.alias)
        if production is not None and production.model == model.model_name:
            return Night("unchanged", num_new, "the same data as last time", production.model)
        baseline = production.to_chat_model() if production else None
        comparison = ModelComparison(baseline=baseline)
        report = comparison.invoke(model, self.config)
        decision = PromotionGate(comparison, min_gain=self.min_gain).decide(report)
        if decision.promoted:
            aliases.promote(self.alias, model, note=decision.reason)
        return Night("promoted" if decision.promoted else "kept", num_new, decision.reason, decision.model)


def _production(aliases: AliasStore, alias: str) -> FineTunedModel | None:
    try:
        return aliases.resolve(alias)
    except AliasNotFoundError:
        return None


def _read_mark(path: Path) -> datetime | None:
    return datetime.fromisoformat(json.loads(path.read_text())["until"]) if path.exists() else None


def _write_mark(path: Path, until: datetime) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.write_text(json.dumps({"until": until.isoformat()}))
    new.replace(path)


def loader_for(source: str) -> Any:
    """Return the loader of a source: `langsmith:PROJECT`, `recorded:runs.sqlite`, or an export's path."""
    kind, _, name = source.partition(":")
    wanted = {"feedback": {"user_score": 1}}
    if kind == "langsmith":
        return LangSmithRunChatLoader(project_name=name, **wanted)
    if kind == "recorded":
        return LangSmithRunChatLoader(client=RunStore(name), **wanted)
    return RunExportLoader(source, **wanted)


def main() -> int:
    """Turn once, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", help="langsmith:PROJECT, recorded:runs.sqlite, or an export")
    parser.add_argument("target", help="provider:base")
    parser.add_argument("alias", help="such as my-app@production")
    parser.add_argument("--mark", type=Path, default=Path("flywheel.json"), help="%(default)s")
    parser.add_argument("--min-new", type=int, default=50, help="%(default)s")
    options = parser.parse_args()
    flywheel = Flywheel(
        loader=loader_for(options.source),
        trainer=FineTuneRunnable(options.target),
        alias=options.alias,
        mark=options.mark,
        min_new=options.min_new,
        config={"callbacks": [ProgressPrinter()]},
    )
    try:
        night = flywheel.turn(datetime.now(UTC))
    except FineTuneError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(night._asdict()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
