"""`report`: a comparison as one HTML file."""

import sys
from pathlib import Path
from typing import Any

import click

from langchain_finetune.cli.output import json_option, print_result, say


@click.command("report")
@click.argument("comparison")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where to; `report.html` beside the details if absent.",
)
@json_option
def command(comparison: str, out: Path | None, *, is_json: bool) -> None:
    """Write the report of a comparison as one HTML file that needs no network.

    COMPARISON is what `compare --json` printed (`-` reads it from standard input), or the folder of its
    details. The report shows prompts and answers: it is as confidential as the rows.
    """
    path = write(_loaded(comparison), out)
    print_result({"report": str(path)}, str(path), is_json=is_json)


def write(report: Any, out: Path | None) -> Path:
    """Write a report as HTML, with the loss curve where the job can still be looked at."""
    from langchain_finetune.errors import StorageError

    try:
        path: Path = report.write_html(out, metrics=_figures(report.job_id))
    except OSError as e:
        if isinstance(e, FileNotFoundError) and out is None:
            raise
        msg = f"cannot write {out}: {e.strerror or e}. Name another file with --out."
        raise StorageError(msg) from e
    return path


def _figures(job_id: str | None) -> list[dict[str, float]]:
    from langchain_finetune.errors import FineTuneError
    from langchain_finetune.trainers import job_named

    if job_id is None:
        return []
    try:
        return job_named(job_id).metrics()
    except FineTuneError as e:
        say(f"the report has no loss curve: {e}")
        return []


def _loaded(word: str) -> Any:
    from pydantic import ValidationError

    from langchain_finetune.errors import SourceError
    from langchain_finetune.evaluators import ComparisonReport

    if word != "-" and not Path(word).is_file():
        return ComparisonReport.load(word)
    try:
        text = sys.stdin.buffer.read() if word == "-" else Path(word).read_bytes()
        return ComparisonReport.model_validate_json(text)
    except ValidationError as e:
        msg = f"{word} is no report of a comparison: give what `langchain-finetune compare --json` prints."
        raise SourceError(msg) from e
