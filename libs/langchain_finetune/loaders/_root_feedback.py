"""Feedback on the roots of traces: it mostly lies there, and not on the model's run that is trained on."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from uuid import UUID

from langchain_finetune._parsing import loads
from langchain_finetune.runs import feedback_of, parse_columns, run_id_of

_KEY: Final = b'"feedback_stats"'
_EMPTY: Final = (b"null", b"{}", b'""', b'"null"', b'"{}"')

_UUID_BYTES: Final = 16

Scores = dict[str, float]


class RootFeedback(Mapping[str, Scores]):
    """Average scores on the roots of traces, by trace id: the id of the root.

    A million rated traces take about 150 MB: ids are kept as their 16 bytes, equal scores once.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._by_trace: dict[bytes | str, Scores] = {}
        shared: dict[tuple[tuple[str, float], ...], Scores] = {}
        for row in rows:
            if row.get("feedback_stats") and is_root(row):
                # The bulk of a run is not looked at here: no need to parse it.
                run = parse_columns({**row, "inputs": None, "outputs": None})
                if scores := feedback_of(run):
                    same = shared.setdefault(tuple(scores.items()), scores)
                    self._by_trace[_packed(run_id_of(run))] = same

    def __getitem__(self, trace_id: str) -> Scores:
        return self._by_trace[_packed(trace_id)]

    def __iter__(self) -> Iterator[str]:
        for key in self._by_trace:
            yield key if isinstance(key, str) else str(UUID(bytes=key))

    def __len__(self) -> int:
        return len(self._by_trace)


def is_root(row: Mapping[str, Any]) -> bool:
    """Say whether a run is the root of its trace, as far as its own columns tell."""
    return not row.get("parent_run_id") and row.get("is_root") is not False


def _packed(trace_id: str) -> bytes | str:
    try:
        packed = bytes.fromhex(trace_id.replace("-", ""))  # a sixth of the time that `UUID` takes
    except ValueError:
        packed = b""
    return packed if len(packed) == _UUID_BYTES else trace_id


def rated_row(line: bytes) -> dict[str, Any] | None:
    """Return the run of a line that may carry feedback; None for any other, and for what is no run."""
    if not may_be_rated(line):
        return None
    try:
        row = loads(line)
    except (ValueError, RecursionError):
        return None  # told when the runs are read
    return row if isinstance(row, dict) else None


def may_be_rated(line: bytes) -> bool:
    """Say whether a line of an export may carry feedback; most carry none, and need no parsing for it."""
    at = line.find(_KEY)
    while at >= 0:
        value = line[at + len(_KEY) : at + len(_KEY) + 16].lstrip(b" \t:")
        if not value.startswith(_EMPTY):
            return True
        at = line.find(_KEY, at + 1)
    return False
