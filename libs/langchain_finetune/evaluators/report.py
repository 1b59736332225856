"""What a comparison found."""

from pathlib import Path

from langchain_finetune.handles import Handle


class ComparisonReport(Handle):
    """How often base and tuned model gave the recorded answer on rows that neither was trained on.

    Printed, it is a table.
    """

    base: str
    tuned: str
    num_held_out: int
    base_exact: float
    """Share of the rows that the base answered exactly as recorded, 0 to 1."""

    tuned_exact: float
    """The same of the tuned model."""

    tuned_misses: tuple[int, ...] = ()
    """Rows of the test file, 0-based, that the tuned model did not answer as recorded."""

    regressions: tuple[int, ...] = ()
    """Those among them that the base did."""

    num_asked: int
    """Questions asked this time; the other answers were there from an earlier comparison."""

    num_failed: int = 0
    """Questions that got no answer but an error. They count as misses, and are asked again next time."""

    errors: tuple[str, ...] = ()
    """The errors, each once."""

    test: Path
    """The held-out rows."""

    test_sha256: str
    seconds: float
    job_id: str | None = None

    @property
    def reused(self) -> bool:
        """Whether every answer was there from an earlier comparison."""
        return self.num_asked == 0

    def __str__(self) -> str:
        width = max(len(self.base), len(self.tuned))
        rows = [
            f"{'model':<{width}}  exact match",
            f"{self.base:<{width}}  {self.base_exact:>11.1%}",
            f"{self.tuned:<{width}}  {self.tuned_exact:>11.1%}",
            f"{self.num_held_out} held-out rows, {self.num_asked} questions asked in {self.seconds:.1f} s",
        ]
        if self.num_failed:
            rows.append(f"{self.num_failed} questions failed: {'; '.join(self.errors)}")
        return "\n".join(rows)
