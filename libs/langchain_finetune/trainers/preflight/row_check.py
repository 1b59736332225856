"""Training files against the rules of their host, before anything is uploaded; no network.

A file is read once, a line at a time. What stands in a row is never told: a problem has its row, its field
and a code.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from langchain_finetune._parsing import loads
from langchain_finetune.errors import InvalidRowsError, NotEnoughExamplesError, SourceNotFoundError
from langchain_finetune.handles import Handle, Split
from langchain_finetune.hosts import Host
from langchain_finetune.rows import (
    FORMATS,
    Problem,
    advice_on,
    find_host_problems,
    in_host_words,
    is_readable,
    is_too_large,
    rules_of,
)
from langchain_finetune.rows.host_words import TOO_FEW
from langchain_finetune.runs import SENTENCES, Reason

MOST_LISTED: Final = 20
"""Problems of a file that are kept; all are counted."""

_MOST_TOLD: Final = 3
_BOM: Final = b"\xef\xbb\xbf"
_IMAGE: Final = b'"image_url"'


class RowProblem(Handle):
    """A rule that a training file breaks."""

    file: Split
    row: int | None = None
    """The line in the file, counted from 1; None for what is wrong with the whole file."""

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

    is_error: bool = True
    """Whether the host would refuse the file; otherwise it trains, to less effect."""

    def __str__(self) -> str:
        place = self.file if self.row is None else f"{self.file} row {self.row}"
        return f"{place}{f', {self.field}' if self.field else ''}: {self.code}"


@dataclass(kw_only=True)
class RowCheck:
    """What was found in the files of one job."""

    num_rows: dict[Split, int] = field(default_factory=dict)
    num_bytes: dict[Split, int] = field(default_factory=dict)
    problems: list[RowProblem] = field(default_factory=list)
    """The first ones."""
    num_errors: int = 0
    num_warnings: int = 0
    host: Host
    method: str = "supervised"
    """Of training."""
    base: str = ""
    """What is to be trained; some hosts take images for some bases alone."""

    def add(self, problem: RowProblem) -> None:
        """Count a problem; errors are kept before warnings."""
        if problem.is_error:
            self.num_errors += 1
        else:
            self.num_warnings += 1
        if len(self.problems) < MOST_LISTED:
            self.problems.append(problem)
        elif problem.is_error:
            mildest = next((i for i, kept in enumerate(self.problems) if not kept.is_error), None)
            if mildest is not None:
                del self.problems[mildest]
                self.problems.append(problem)

    @property
    def errors(self) -> list[RowProblem]:
        """The first problems for which the host would refuse the file."""
        return [problem for problem in self.problems if problem.is_error]


def check_files(  # noqa: PLR0913 - the files, and what they are for
    train: Path,
    validation: Path | None,
    host: Host,
    *,
    method: str = "supervised",
    base: str = "",
    has_rules: bool = True,
) -> RowCheck:
    """Hold training files to the rules of their host.

    Args:
        train: The training rows, JSON Lines.
        validation: The validation rows.
        host: Where they are to go.
        method: Method of training that they are for.
        base: Base model that they are for.
        has_rules: Whether the rules for rows are OpenAI's; otherwise only the number of rows is looked at.

    Raises:
        SourceNotFoundError: A file is gone.
    """
    check = RowCheck(host=host, method=method, base=base)
    _check_file(train, "train", check, has_rules=has_rules)
    if validation is not None:
        _check_file(validation, "validation", check, has_rules=has_rules)
    if check.num_rows["train"] < host.min_examples:
        advice = "load more runs, or give smaller test and validation fractions to the converter."
        num_train, least = check.num_rows["train"], host.min_examples
        sentence = f"There are {num_train}, {host.title} needs {least}."
        words = TOO_FEW.message.format(row=num_train, least=least)
        code = "not_enough_rows"
        check.add(RowProblem(file="train", code=code, sentence=sentence, advice=advice, host_words=words))
    if method in rules_of(host).needs_validation and not check.num_rows.get("validation"):
        sentence = (
            f"{host.title} trains by the method {method!r} only with validation rows, and there are none."
        )
        advice = "Hand over `TrainingData` with a `validation` file."
        check.add(RowProblem(file="validation", code="no_validation_rows", sentence=sentence, advice=advice))
    return check


def require_rows(check: RowCheck) -> None:
    """Refuse files that their host would refuse.

    Raises:
        NotEnoughExamplesError: There are too few training rows.
        InvalidRowsError: Rows break rules; it has the first ones.
    """
    num_train, least = check.num_rows["train"], check.host.min_examples
    if num_train < least:
        msg = (
            f"there are {num_train} training rows, {check.host.title} needs at least {least}: load more "
            "runs, or give smaller test and validation fractions to the converter."
        )
        raise NotEnoughExamplesError(msg)
    if not check.num_errors:
        return
    told = [f"{problem} ({problem.sentence} {problem.advice})" for problem in check.errors[:_MOST_TOLD]]
    more = check.num_errors - len(told)
    msg = (
        f"{check.host.title} would refuse the training data; nothing was uploaded. {' '.join(told)}"
        f"{f' And {more} more.' if more else ''} `preflight(data).problems` lists them."
    )
    raise InvalidRowsError(msg, check.errors, check.num_errors)


def read_rows(path: Path) -> Iterator[tuple[int, bytes, dict[str, Any] | None]]:
    """Yield each line's number, its bytes, and its object where it holds one.

    Raises:
        SourceNotFoundError: The file is gone.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError as e:
        msg = f"the training rows {path} are gone: run the pipe from its loader on to make them again."
        raise SourceNotFoundError(msg) from e
    with file:
        for number, line in enumerate(file, start=1):
            yield number, line, _object_of(line.removeprefix(_BOM) if number == 1 else line)


def _object_of(line: bytes) -> dict[str, Any] | None:
    try:
        value = loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _check_file(path: Path, split: Split, check: RowCheck, *, has_rules: bool) -> None:
    rules, method = rules_of(check.host), check.method
    num_rows = num_bytes = num_with_images = 0
    for number, line, row in read_rows(path):
        num_rows, num_bytes = number, num_bytes + len(line)
        num_with_images += rules.max_image_rows is not None and _IMAGE in line
        for problem in _row_problems(line, row, check) if has_rules else ():
            check.add(_told(problem, split, number, row, check))
    check.num_rows[split], check.num_bytes[split] = num_rows, num_bytes
    for code, figure, most, unit in (
        ("file_too_large", num_bytes, check.host.max_file_bytes, "bytes"),
        ("too_many_rows", num_rows, rules.max_rows_of(check.host, method, split), "rows"),
        ("too_many_image_rows", num_with_images, rules.max_image_rows, "rows with images"),
    ):
        if most is not None and figure > most:
            sentence = f"The file has {figure} {unit}, {check.host.title} takes {most}."
            advice = "Train on fewer rows: `sample` and `limit` of the selection leave some out."
            check.add(RowProblem(file=split, code=code, sentence=sentence, advice=advice))


def _row_problems(line: bytes, row: dict[str, Any] | None, check: RowCheck) -> Iterator[Problem]:
    row_format, rules = FORMATS[check.method], rules_of(check.host)
    if is_too_large(len(line), rules):
        yield Problem(Reason.TOO_LONG, "")
    if row is None:
        yield Problem(Reason.NOT_JSON, "")
        return
    yield from (misshapes := list(row_format.find_misshapes(row)))
    if not is_readable(misshapes):
        return
    yield from (problems := list(row_format.find_problems(row)))
    if not problems:
        yield from row_format.find_notes(row)
    yield from find_host_problems(row, rules, check.base, check.method)


def _told(
    problem: Problem, split: Split, number: int, row: dict[str, Any] | None, check: RowCheck
) -> RowProblem:
    return RowProblem(
        file=split,
        row=number,
        field=problem.field,
        code=problem.reason.value,
        sentence=SENTENCES[problem.reason],
        advice=advice_on(problem.reason, check.method),
        host_words=in_host_words(problem, number, row, check.method),
        is_error=problem.reason not in rules_of(check.host).harmless,
    )
