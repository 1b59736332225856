"""The first rows of training data, for a person to look at."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Literal, NamedTuple

import orjson

from langchain_finetune._parsing import loads
from langchain_finetune._spool import SPLITS, read_jsonl
from langchain_finetune._tables import html_table, one_line, text_table, width_of
from langchain_finetune.errors import SettingError
from langchain_finetune.handles import Split, TrainingData
from langchain_finetune.rows import FORMATS, estimate_tokens

_HEADER: Final = ("split", "row", "what is asked", "what is answered", "tokens", "run")
_ASKED, _ANSWERED, _RUN = 2, 3, 5
_GAP: Final = 2
_SHORT_RUN: Final = 9
_WIDE: Final = 140
"""Columns from which on run ids are shown whole."""

_LEAST: Final = 12
_ASKED_SHARE: Final = 0.45
_MOST_IN_HTML: Final = 2000


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """A row as it is shown."""

    split: Split
    row: int
    """0-based in its split's file, as in the report."""

    asked: str
    """The last question of a user."""

    answered: str
    """What is trained on after it: texts, and tool calls as `name(arguments)`."""

    tokens: int | None
    """As in the report, else an estimate by the length of its text; None for what is no row of the method."""

    is_estimated: bool
    run_id: str | None
    """The run that it comes from, where there is a report."""


@dataclass(frozen=True, slots=True, repr=False)
class Preview:
    """The first rows of training data as a table: in a terminal by `print` or at the prompt, in a notebook.

    It holds what people said to a model, and shows it: it is made to be looked at, not to be logged.
    """

    data: TrainingData
    rows: tuple[PreviewRow, ...]

    def __str__(self) -> str:
        columns = shutil.get_terminal_size().columns
        counts = "\n".join(one_line(line, columns) for line in _counts(self.data))
        return f"{counts}\n{_table(self.rows, columns)}" if self.rows else f"{counts}\n(no rows here)"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        cells = [[one_line(cell, _MOST_IN_HTML) for cell in _cells(row)] for row in self.rows]
        return html_table(cells, _HEADER, "; ".join(_counts(self.data)))


def preview(data: TrainingData, n: int = 5, split: Split | Literal["all"] = "train") -> Preview:
    """Read the first rows of a split, or of each.

    Raises:
        SettingError: There is no split of this name.
        SourceError: The rows are gone, or are no JSON Lines.
    """
    if split != "all" and split not in SPLITS:
        msg = f"there is no split {split!r}: give {', '.join(SPLITS)} or all."
        raise SettingError(msg)
    rows: list[PreviewRow] = []
    for each in SPLITS if split == "all" else (split,):
        if (path := getattr(data, each)) is not None:
            first = list(islice(read_jsonl(path), n))
            lines = _report_lines(data, each, len(first))
            rows += [
                _preview_row(row, each, number, lines.get(number, {}), data.method)
                for number, row in enumerate(first)
            ]
    return Preview(data, tuple(rows))


def _report_lines(data: TrainingData, split: Split, num_rows: int) -> dict[int, Mapping[str, Any]]:
    """Return the report's lines of the first rows of a split, by row; reads no further than they stand."""
    found: dict[int, Mapping[str, Any]] = {}
    if data.report is None or not num_rows or not data.report.exists():
        return found
    for line in read_jsonl(data.report, having=b'"kept"'):
        row = line.get("row")
        if line.get("split") == split and isinstance(row, int) and row < num_rows:
            found[row] = line
            if len(found) == num_rows:
                break
    return found


def _preview_row(
    row: Mapping[str, Any], split: Split, number: int, line: Mapping[str, Any], method: str
) -> PreviewRow:
    shown, tokens = _READERS[method](row), line.get("tokens")
    estimate = None if tokens is not None else _estimate(row, method)
    return PreviewRow(
        split,
        number,
        shown.asked,
        shown.answered,
        tokens or estimate,
        estimate is not None,
        line.get("run_id"),
    )


def _estimate(row: Mapping[str, Any], method: str) -> int | None:
    row_format = FORMATS[method]
    if next(row_format.find_misshapes(row), None) is not None:
        return None
    return estimate_tokens(row_format.as_chat(row))


# --- what stands in a row: it may be anybody's, so nothing is taken for granted --------------------------


class _Shown(NamedTuple):
    asked: str
    answered: str


def _supervised(row: Mapping[str, Any]) -> _Shown:
    messages = _messages(row.get("messages"))
    asked, after = _question(messages)
    answers = [it for it in after if it.get("role") == "assistant"]
    trained = [it for it in answers if it.get("weight") != 0]
    return _Shown(asked, " → ".join(map(_answer, trained or answers[-1:])))


def _preferences(row: Mapping[str, Any]) -> _Shown:
    given = row.get("input")
    asked, _ = _question(_messages(given.get("messages") if isinstance(given, dict) else None))
    preferred, other = (
        " → ".join(map(_answer, _messages(row.get(key))))
        for key in ("preferred_output", "non_preferred_output")
    )
    return _Shown(asked, f"{preferred}  rather than  {other}")


def _reinforcement(row: Mapping[str, Any]) -> _Shown:
    asked, _ = _question(_messages(row.get("messages")))
    items = {key: value for key, value in row.items() if key not in ("messages", "tools")}
    return _Shown(asked, ", ".join(f"{key}={_json(value)}" for key, value in items.items()))


_READERS: Final = {"supervised": _supervised, "dpo": _preferences, "reinforcement": _reinforcement}


def _messages(value: Any) -> list[Mapping[str, Any]]:
    return [it for it in value if isinstance(it, dict)] if isinstance(value, list) else []


def _question(messages: Sequence[Mapping[str, Any]]) -> tuple[str, Sequence[Mapping[str, Any]]]:
    """Return the last question, and the messages after it."""
    asking = [index for index, message in enumerate(messages) if message.get("role") == "user"]
    if not asking:
        return "", messages
    return _text(messages[asking[-1]].get("content")), messages[asking[-1] + 1 :]


def _answer(message: Mapping[str, Any]) -> str:
    parts = [_text(message.get("content")), *_calls(message)]
    refusal = message.get("refusal")
    return " ".join(filter(None, parts)) or (refusal if isinstance(refusal, str) else "")


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return " ".join(map(_part, content)) if isinstance(content, list) else ""


def _part(part: Any) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    text = part.get(kind) if isinstance(kind, str) else None
    return text if isinstance(text, str) else f"[{'image' if kind == 'image_url' else 'no text'}]"


def _calls(message: Mapping[str, Any]) -> Iterator[str]:
    calls = [it.get("function") for it in _messages(message.get("tool_calls"))]
    for call in [*calls, message.get("function_call")]:
        if isinstance(call, dict):
            yield f"{call.get('name')}({_arguments(call.get('arguments'))})"


def _arguments(given: Any) -> str:
    try:
        values = loads(given)
    except (TypeError, ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        return given if isinstance(given, str) else ""
    return ", ".join(f"{name}={_json(value)}" for name, value in values.items())


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # what JSON does not have, such as half a surrogate pair
        return ascii(value)


# --- the table ------------------------------------------------------------------------------------------


def _counts(data: TrainingData) -> Iterator[str]:
    splits = ", ".join(f"{getattr(data, f'num_{split}'):,} {split}" for split in SPLITS)
    tokens = f", {data.num_tokens:,} tokens" if data.num_tokens else ""
    yield f"rows: {splits} ({data.method}{tokens})"
    fates = [
        f"{number:,} {fate}"
        for fate, number in (
            ("merged", data.num_merged),
            ("duplicates", data.num_duplicates),
            ("rejected", data.num_rejected),
        )
        if number
    ]
    yield f"from: {data.num_runs:,} runs" + (f", {', '.join(fates)}" if fates else "")


def _cells(row: PreviewRow) -> list[str]:
    tokens = "" if row.tokens is None else f"{'~' if row.is_estimated else ''}{row.tokens:,}"
    return [row.split, str(row.row), row.asked, row.answered, tokens, row.run_id or ""]


def _table(rows: Sequence[PreviewRow], columns: int) -> str:
    listed = [_cells(row) for row in rows]
    for cells in listed:
        cells[_RUN] = one_line(cells[_RUN], columns) if columns >= _WIDE else _short(cells[_RUN])
    table = [list(_HEADER), *listed]
    if not any(cells[_RUN] for cells in listed):
        for cells in table:
            cells[_RUN] = ""
    taken = sum(
        max(width_of(cells[index]) for cells in table) + _GAP
        for index in range(len(_HEADER))
        if index not in (_ASKED, _ANSWERED)
    )
    left = max(columns - taken - _GAP, 2 * _LEAST)
    # More than the line is never needed; what one of the two does not take is the other's.
    asked, answered = (max(_width(cells[index], left) for cells in table) for index in (_ASKED, _ANSWERED))
    asked = min(asked, max(round(left * _ASKED_SHARE), left - answered))
    for cells in table:
        cells[_ASKED] = one_line(cells[_ASKED], asked)
        cells[_ANSWERED] = one_line(cells[_ANSWERED], left - asked)
    return text_table(table)


def _short(run_id: str) -> str:
    # The ids of today's runs begin with the time: runs of one hour differ at their ends.
    return run_id if len(run_id) <= _SHORT_RUN else "…" + one_line(run_id[1 - _SHORT_RUN :], _SHORT_RUN - 1)


def _width(text: str, most: int) -> int:
    return width_of(one_line(text, most))
