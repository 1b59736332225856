"""What is known of a job before anything is uploaded or paid for: `Preflight`, printed as a table."""

from datetime import date

from langchain_finetune._tables import html_table, text_table
from langchain_finetune.handles import Handle
from langchain_finetune.trainers.preflight.prices import Price
from langchain_finetune.trainers.preflight.row_check import RowProblem
from langchain_finetune.trainers.preflight.token_count import TokenCount

_MOST_SHOWN = 5
_UNKNOWN = "not known"
_BASIS = {
    "tokenizer": "the base's own tokenizer",
    "tiktoken": "tiktoken, by OpenAI's cookbook",
    "recorded": "the usage recorded in the runs",
    "characters": "an estimate by the length of the text",
}


class JobLimits(Handle):
    """How many jobs on the base the account has and may have; None where the host does not say."""

    num_pending: int | None = None
    max_pending: int | None = None
    num_today: int | None = None
    max_a_day: int | None = None

    @property
    def is_reached(self) -> bool:
        """Whether the host would refuse another job now."""
        pairs = ((self.num_pending, self.max_pending), (self.num_today, self.max_a_day))
        return any(have is not None and most is not None and have >= most for have, most in pairs)


class Preflight(Handle):
    """What a job would do and cost. Frozen and JSON-safe; printed, and in a notebook, it is a table.

    ```python
    trainer = FineTuneRunnable("openai:gpt-4.1-mini-2025-04-14", max_cost_usd=20)
    print(trainer.preflight("rows.jsonl"))
    ```
    """

    target: str
    """`"provider:base"`."""

    checked_on: date
    num_train: int
    num_validation: int
    num_bytes: int
    """Of what would be uploaded."""

    problems: tuple[RowProblem, ...] = ()
    """The first problems of the rows, errors before warnings where there are many."""

    num_errors: int = 0
    """Problems for which the host would refuse the file; `invoke` raises them as `InvalidRowsError`."""

    num_warnings: int = 0
    tokens: TokenCount
    max_row_tokens: int | None = None
    """Tokens of one row that the host takes on the base; None where that is not known."""

    n_epochs: int | None
    """None where the host is left to choose and does not tell how it does."""

    is_auto_epochs: bool
    """Whether the host is left to choose, and `n_epochs` is what its rule says."""

    epochs_source: str
    trained_tokens: int | None
    """Tokens of the training rows times epochs: what hosts bill; None where the epochs are not known."""

    price: Price | None = None
    """None where nobody has said; give `usd_per_million_tokens`."""

    cost_usd: float | None = None
    """Of a new job, in US dollars; None without a price, or without the number of epochs."""

    max_cost_usd: float | None = None
    minutes: float | None = None
    """Of training, for the embedded server; an estimate."""

    minutes_source: str = ""
    shutdown_date: date | None = None
    """The day on which the host shuts the base down, and with it what is tuned on it."""

    days_left: int | None = None
    """Until then; negative when it is past."""

    last_job_date: date | None = None
    """The day from which on the host takes no job on the base from anybody."""

    limits: JobLimits | None = None
    existing_job: str | None = None
    """Id of a job for this very data and these settings: it would be taken, and nothing be paid."""

    existing_status: str | None = None

    @property
    def is_ready(self) -> bool:
        """Whether `invoke` would go ahead: no errors in the rows, and the cost within its limit."""
        if self.existing_job is not None or self.max_cost_usd is None:
            return not self.num_errors
        return not self.num_errors and self.cost_usd is not None and self.cost_usd <= self.max_cost_usd

    def __str__(self) -> str:
        lines = [text_table(self._rows())]
        if self.problems:
            shown = [
                (_place(problem), problem.code, problem.advice) for problem in self.problems[:_MOST_SHOWN]
            ]
            lines.append(text_table(shown, indent="  "))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        html = html_table(self._rows(), caption=f"Preflight of {self.target}")
        if self.problems:
            header = ("where", "code", "what it means", "what to do")
            rows = [(_place(item), item.code, item.sentence, item.advice) for item in self.problems]
            html += html_table(rows, header)
        return html

    def _rows(self) -> list[tuple[str, str]]:
        rows = [
            ("target", self.target),
            ("rows", f"{self.num_train} train, {self.num_validation} validation, {_size(self.num_bytes)}"),
            ("problems", self._problems_line()),
            ("tokens", self._tokens_line()),
            ("epochs", self._epochs_line()),
            ("trained tokens", _UNKNOWN if self.trained_tokens is None else f"{self.trained_tokens:,}"),
            ("cost", self._cost_line()),
        ]
        if self.minutes_source:
            minutes = _UNKNOWN if self.minutes is None else f"about {self.minutes:g} min"
            rows.append(("time", f"{minutes} ({self.minutes_source})"))
        if self.shutdown_date:
            closing = f"; no new jobs from {self.last_job_date} on" if self.last_job_date else ""
            rows.append(("shutdown", f"{self.shutdown_date}, {days_line(self.days_left)}{closing}"))
        if self.limits:
            rows.append(("jobs", _limits_line(self.limits)))
        if self.existing_job:
            rows.append(
                ("existing job", f"{self.existing_job}, {self.existing_status}: nothing would be paid")
            )
        return rows

    def _problems_line(self) -> str:
        if not self.num_errors and not self.num_warnings:
            return "none"
        return f"{self.num_errors} errors, {self.num_warnings} warnings"

    def _tokens_line(self) -> str:
        tokens = self.tokens
        about = "" if tokens.is_exact else "about "
        most = f"of at most {self.max_row_tokens:,}" if self.max_row_tokens else "the most is not known"
        cut = f", {tokens.num_too_long} rows are too long" if tokens.num_too_long else ""
        return (
            f"{about}{tokens.num_tokens:,}: {tokens.mean:,.0f} a row, {tokens.longest:,} in row "
            f"{tokens.longest_row}, {most}{cut} ({_BASIS[tokens.basis]})"
        )

    def _epochs_line(self) -> str:
        number = _UNKNOWN if self.n_epochs is None else str(self.n_epochs)
        return f"{number} ({'auto: ' if self.is_auto_epochs else ''}{self.epochs_source})"

    def _cost_line(self) -> str:
        limit = "" if self.max_cost_usd is None else f", the limit is {self.max_cost_usd:.2f} USD"
        if self.price is None:
            return f"{_UNKNOWN}: give usd_per_million_tokens{limit}"
        if not self.price.usd_per_million_tokens:
            return f"none ({self.price.source})"
        if self.cost_usd is None:
            return f"{_UNKNOWN}: give hyperparameters={{'n_epochs': ...}}{limit}"
        since = f", {self.price.as_of}" if self.price.as_of else ""
        usd = self.price.usd_per_million_tokens
        return (
            f"about {self.cost_usd:.2f} USD at {usd:g} a million tokens ({self.price.source}{since}){limit}"
        )


def days_line(days: int | None) -> str:
    """Return how long something still is, as a person says it."""
    if days is None:
        return _UNKNOWN
    if days < 0:
        return f"{_days(-days)} ago"
    return "today" if days == 0 else f"{_days(days)} left"


def _days(number: int) -> str:
    return "1 day" if number == 1 else f"{number} days"


def _place(problem: RowProblem) -> str:
    place = problem.file if problem.row is None else f"{problem.file} row {problem.row}"
    return f"{place}, {problem.field}" if problem.field else place


def _limits_line(limits: JobLimits) -> str:
    parts = []
    if limits.num_pending is not None:
        parts.append(f"{limits.num_pending} of {_most(limits.max_pending)} pending")
    if limits.num_today is not None:
        parts.append(f"{limits.num_today} of {_most(limits.max_a_day)} today")
    return ", ".join(parts) or _UNKNOWN


def _most(number: int | None) -> str:
    return "any number" if number is None else str(number)


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:.1f} MB" if num_bytes >= 100_000 else f"{num_bytes / 1e3:.1f} kB"  # noqa: PLR2004
