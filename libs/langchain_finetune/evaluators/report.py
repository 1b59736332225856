"""What a comparison found."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import orjson
from pydantic import Field

from langchain_finetune._spool import read_jsonl, write_json
from langchain_finetune.errors import SourceNotFoundError
from langchain_finetune.handles import Handle


class Decision(Handle):
    """What a `PromotionGate` made of a comparison."""

    promoted: bool
    reason: str
    """For a person to read."""

    model: str
    """Name of the model that was handed on."""

    metric: str
    min_gain: float
    max_regressions: int | None = None


class ComparisonReport(Handle):
    """How base and tuned model did on rows that neither was trained on.

    A small handle: what it names lies on disk, see `answers()`, `regressed()` and `summary()`. Printed, it is
    a table; `write_html()` makes a page of it.
    """

    base: str
    """Name of the baseline."""

    tuned: str
    """Name of the first model that is compared with it."""

    num_held_out: int
    """Rows of the test file."""

    num_questions: int = 0
    """Trained answers in them: a row with several turns is asked turn by turn."""

    base_exact: float
    """Share of the questions that the base answered exactly as recorded, 0 to 1."""

    tuned_exact: float
    """The same of the tuned model."""

    forced_exact: float | None = None
    """The same of the base with forced calls, where it was asked."""

    metric: str = "exact"
    """Name of the score that `gain` is about: the first of the comparison's metrics."""

    base_score: tuple[float, float, float] | None = None
    """Mean of that score, and the bounds of its 95 % interval; the same of the tuned and the forced one."""
    tuned_score: tuple[float, float, float] | None = None
    forced_score: tuple[float, float, float] | None = None

    gain: tuple[float, float, float] | None = None
    """Mean of the paired differences of tuned and base, and the bounds of its 95 % interval: above 0 is
    better."""

    num_wins: int = 0
    """Questions on which the tuned model scored better than the base; the same of losses and ties."""
    num_losses: int = 0
    num_ties: int = 0

    tuned_misses: tuple[int, ...] = ()
    """Rows of the test file, 0-based, that the tuned model did not answer as recorded: the first hundred."""

    regressions: tuple[int, ...] = ()
    """Those among them that the base did: the first hundred."""

    num_asked: int
    """Questions asked this time; the other answers were there from an earlier comparison."""

    num_failed: int = 0
    """Questions that got no answer but an error. They count as misses, and are asked again next time."""

    errors: tuple[str, ...] = ()
    """The errors, each once."""

    warnings: tuple[str, ...] = ()
    """What a person should know before believing the figures."""

    is_adapter_loaded: bool | None = None
    """Whether the tuned model answers differently from its base; None where that was not looked at."""

    test: Path
    """The held-out rows."""

    test_sha256: str
    seconds: float
    job_id: str | None = None

    directory: Path | None = None
    """Where the details lie: `report.json`, `summary.json`, `answers.jsonl`,
    `regressions.jsonl`."""

    experiments: Mapping[str, str] = Field(default_factory=dict)
    """URLs of the LangSmith experiments by model, with `langsmith=True`."""

    decision: Decision | None = None
    """What a `PromotionGate` made of it."""

    @property
    def reused(self) -> bool:
        """Whether every answer was there from an earlier comparison."""
        return self.num_asked == 0

    def summary(self) -> dict[str, Any]:
        """Return all figures: scores by metric and model, duels, tables by tag, lineage.

        Raises:
            SourceNotFoundError: The details were cleaned away.
        """
        path = self._directory() / "summary.json"
        if not path.exists():
            raise SourceNotFoundError(_gone(path))
        found: dict[str, Any] = orjson.loads(path.read_bytes())
        return found

    def answers(self) -> Iterator[dict[str, Any]]:
        """Yield a dict for each question.

        It has `row`, `turn`, `run_ids`, `tags`, `asked`, `expected`, and `models` with the answer, the error
        and the scores of each.
        """
        return read_jsonl(self._directory() / "answers.jsonl")

    def regressed(self) -> Iterator[dict[str, Any]]:
        """Yield a dict for each question on which a model scored worse than the baseline.

        It has `row`, `turn`, `run_ids`, `tags`, `model`, `metric`, `score` and `baseline_score`.
        """
        return read_jsonl(self._directory() / "regressions.jsonl")

    def with_decision(self, decision: Decision) -> "ComparisonReport":
        """Return the report with what a gate decided; it is written down beside the details."""
        report = self.model_copy(update={"decision": decision})
        report.save()
        return report

    def save(self) -> None:
        """Write the report down beside its details, as `report.json`."""
        if self.directory is not None and self.directory.exists():
            write_json(self.directory / "report.json", self.model_dump(mode="json"))

    @classmethod
    def load(cls, directory: str | Path) -> Self:
        """Return the report of which the details lie in a directory.

        Raises:
            SourceNotFoundError: There is none.
        """
        path = Path(directory) / "report.json"
        if not path.exists():
            raise SourceNotFoundError(_gone(path))
        return cls.model_validate_json(path.read_bytes())

    def write_html(
        self, path: str | Path | None = None, *, metrics: Iterable[Mapping[str, float]] = ()
    ) -> Path:
        """Write the report as one HTML file that needs no network, and return its path.

        It shows prompts and answers: it is as confidential as the rows.

        Args:
            path: Where to; None is `report.html` beside the details.
            metrics: The job's figures for the loss curve, as of `FineTuneJob.metrics()`.

        Raises:
            SourceNotFoundError: The details were cleaned away.
        """
        from langchain_finetune.evaluators.html.page import page_of  # noqa: PLC0415  most reports need no page

        target = Path(path) if path is not None else self._directory() / "report.html"
        text = page_of(self, list(metrics))
        target.write_text(text, encoding="utf-8")
        return target

    def _directory(self) -> Path:
        if self.directory is None:
            msg = "this report has no details on disk: compare again."
            raise SourceNotFoundError(msg)
        return self.directory

    def __str__(self) -> str:
        forced = f"{self.base}, forced calls"
        names = [self.base, self.tuned, *([forced] if self.forced_score else ())]
        width = max(map(len, names))
        title = "exact match" if self.metric == "exact" else self.metric
        lines = [f"{'model':<{width}}  {title:>11}  95 % interval"]
        shown = ((self.base, self.base_score), (self.tuned, self.tuned_score), (forced, self.forced_score))
        lines += [f"{name:<{width}}  {_cells(found)}" for name, found in shown if found]
        if self.gain:
            low, high = self.gain[1:]
            lines.append(
                f"gain {_signed(self.gain[0])} ({_signed(low)} to {_signed(high)}): "
                f"{self.num_wins} wins, {self.num_losses} losses, {self.num_ties} ties"
            )
        lines.append(
            f"{self.num_held_out} held-out rows, {self.num_asked} questions asked in {self.seconds:.1f} s"
        )
        if self.num_failed:
            lines.append(f"{self.num_failed} questions failed: {'; '.join(self.errors)}")
        lines += [f"warning: {text}" for text in self.warnings]
        if self.decision:
            lines.append(
                f"{'promoted' if self.decision.promoted else 'kept the baseline'}: {self.decision.reason}"
            )
        return "\n".join(lines)


def _gone(path: Path) -> str:
    return f"the details {path} are not here any more: compare again, which asks nothing that was answered."


def _cells(found: tuple[float, float, float]) -> str:
    mean, low, high = found
    if high <= 1:
        return f"{mean:>11.1%}  {low:.1%} to {high:.1%}"
    return f"{mean:>11.3g}  {low:.3g} to {high:.3g}"


def _signed(value: float) -> str:
    return f"{value:+.1%}" if abs(value) <= 1 else f"{value:+.3g}"
