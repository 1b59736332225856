"""What kind of file somebody names, as its first bytes and its first row tell."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

Kind = Literal["runs", "recorded runs", "sessions", "rows", "training data", "report", "rejections"]

_SQLITE: Final = b"SQLite format 3\x00"
_MARKS: Final[tuple[tuple[Kind, tuple[set[str], ...]], ...]] = (
    ("runs", ({"run_type"}, {"inputs"})),
    ("sessions", ({"answer", "run_id"}, {"num_sessions", "path"})),
    ("training data", ({"fingerprint", "train"},)),
    ("rows", ({"messages"}, {"preferred_output"})),
    ("report", ({"run_id", "status"},)),
    ("rejections", ({"run_id", "reason"},)),
)
"""The fields that tell a first row, or a handle, from the others; the first that fits."""


def kind_of(path: Path, first: Mapping[str, Any] | None) -> Kind:
    """Return the kind of a file or a folder; what is not known otherwise is taken for runs.

    Args:
        path: The file or folder.
        first: Its first row, None where it has none.
    """
    if path.is_dir():
        return "training data" if (path / "training_data.json").is_file() else "runs"
    if is_sqlite(path):
        return "recorded runs"
    names = (first or {}).keys()
    return next((kind for kind, marks in _MARKS if any(names >= mark for mark in marks)), "runs")


def is_sqlite(path: Path) -> bool:
    """Tell whether a file is an SQLite database."""
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False
