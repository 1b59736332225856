"""A job's result file: figures by step as CSV, which some hosts send base64-encoded."""

import base64
import binascii
import csv
from typing import Final

from langchain_finetune.trainers.jobs.job_state import number_in

_STEP: Final = "step"


def parse_result_file(content: bytes) -> list[dict[str, float]]:
    """Return the rows, each with the figures it has by their column's name.

    Columns differ by host, and empty cells are normal: OpenAI's are `step`, `train_loss`,
    `train_accuracy`, `valid_loss`, `valid_mean_token_accuracy`.

    Args:
        content: The file's bytes, CSV in UTF-8 or the base64 of it.

    Raises:
        ValueError: There is no column `step`.
    """
    for text in (_text(content), _text(_decoded(content))):
        lines = text.splitlines() if text is not None else []
        header = next(csv.reader(lines[:1]), [])
        if _STEP in (name.strip() for name in header):
            # A lone quote or a NUL makes `csv` raise; such a line is no row.
            return [row for line in lines[1:] if (row := _row(header, line))]
    msg = "it is no CSV with a column `step`, neither as it is nor decoded from base64"
    raise ValueError(msg)


def _row(header: list[str], line: str) -> dict[str, float]:
    try:
        cells = next(csv.reader([line]), [])
    except csv.Error:
        return {}
    figures = {name.strip(): number_in(cell) for name, cell in zip(header, cells, strict=False)}
    row = {name: figure for name, figure in figures.items() if figure is not None}
    return {**row, _STEP: int(row[_STEP])} if _STEP in row else {}


def _text(content: bytes | None) -> str | None:
    try:
        return content.decode("utf-8-sig") if content is not None else None
    except UnicodeDecodeError:
        return None


def _decoded(content: bytes) -> bytes | None:
    try:
        return base64.b64decode(b"".join(content.split()), validate=True)
    except binascii.Error:
        return None
