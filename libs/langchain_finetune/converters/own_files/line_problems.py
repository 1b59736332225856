"""Lines of people's own files against the rules: what is wrong, where, in whose words, and what to do."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from langchain_finetune.converters.target import Target
from langchain_finetune.errors import InvalidRowsError
from langchain_finetune.handles import Handle, Split
from langchain_finetune.rows import FORMATS, Problem, advice_on, in_host_words, is_readable
from langchain_finetune.runs import SENTENCES, Reason

MOST_TOLD: Final = 20
"""Problems that an error tells and keeps; all are counted."""


class LineProblem(Handle):
    """A rule that a line of a file breaks."""

    path: Path
    file: Split
    row: int
    """The line in the file, counted from 1."""

    field: str = ""
    """Where in the row, such as `messages[2].tool_calls`."""

    code: str
    """A stable code, one of those in `docs/errors.md`."""

    sentence: str
    """What the code means."""

    advice: str
    """What to do about it."""

    host_words: str | None = None
    """How OpenAI words it, where that is known."""

    def __str__(self) -> str:
        place = f"{self.path}:{self.row}{f', {self.field}' if self.field else ''}"
        words = f' OpenAI says: "{self.host_words}"' if self.host_words else ""
        return f"{place}: {self.code}. {self.sentence} {self.advice}{words}"


class Checked(NamedTuple):
    """A line of a file, held to the rules."""

    row: Any
    errors: list[Problem]
    """Rules for whose breach the host refuses the file."""
    notes: list[Problem]
    """What is wrong, or odd, and keeps no host from training."""
    tokens: int | None
    """By the target's tokenizer; None for a row with errors, and where there is none."""


def check_line(line: bytes, target: Target) -> Checked:
    """Hold a line to the rules of a target."""
    try:
        # Strictly: what only Python reads, such as NaN or half a surrogate pair, no host would.
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        row = None
    if not isinstance(row, dict):
        return Checked(None, [Problem(Reason.NOT_JSON, "")], [], None)
    problems = list(_problems(row, target))
    harmless = target.rules.harmless
    errors = [it for it in problems if it.reason not in harmless]
    notes = [it for it in problems if it.reason in harmless]
    if errors:
        return Checked(row, errors, notes, None)
    tokens = target.count_tokens(row)
    most = target.max_tokens_per_example if tokens is not None else None
    if tokens is not None and most is not None and tokens > most:
        (notes if Reason.TOO_LONG in harmless else errors).append(Problem(Reason.TOO_LONG, ""))
    return Checked(row, errors, notes, tokens)


def _problems(row: dict[str, Any], target: Target) -> Iterator[Problem]:
    row_format = FORMATS[target.method]
    yield from (misshapes := list(row_format.find_misshapes(row)))
    if not is_readable(misshapes):
        return
    yield from (problems := list(row_format.find_problems(row)))
    if not problems:
        yield from row_format.find_notes(row)
    yield from target.find_problems(row)


class LineProblems:
    """The problems of some files: the first of them, and the number of all."""

    def __init__(self, method: str) -> None:
        self._method = method
        self._codes: Counter[str] = Counter()
        self._first: list[LineProblem] = []
        self._num_rows = 0

    def __bool__(self) -> bool:
        return bool(self._codes)

    def enter(self, checked: Checked, split: Split, path: Path, number: int) -> None:
        """Enter the errors of a line."""
        self._num_rows += 1
        for problem in checked.errors:
            self._codes[problem.reason.value] += 1
            if len(self._first) < MOST_TOLD:
                self._first.append(self._told(problem, checked.row, split, path, number))

    def _told(
        self, problem: Problem, row: Mapping[str, Any] | None, split: Split, path: Path, number: int
    ) -> LineProblem:
        return LineProblem(
            path=path,
            file=split,
            row=number,
            field=problem.field,
            code=problem.reason.value,
            sentence=SENTENCES[problem.reason],
            advice=advice_on(problem.reason, self._method),
            host_words=in_host_words(problem, number, row, self._method),
        )

    def error(self, num_rows: int, who: str) -> InvalidRowsError:
        """Return the one error that tells them.

        Args:
            num_rows: Rows that were looked at.
            who: Who refuses such files.
        """
        told = "".join(f"\n  {problem}" for problem in self._first)
        hidden = self._codes - Counter(problem.code for problem in self._first)
        more = f"\n  And {hidden.total():,} more: {counted(hidden)}." if hidden else ""
        msg = (
            f"{self._num_rows:,} of {num_rows:,} rows break rules, and {who} refuses a file for one of them. "
            f'Correct them, or pass on_error="reject" to leave them out:{told}{more}'
        )
        return InvalidRowsError(msg, self._first, self._codes.total())


def counted(codes: Counter[str]) -> str:
    """Return how many there are of each code, the most first."""
    return ", ".join(f"{number:,} {code}" for code, number in codes.most_common())
