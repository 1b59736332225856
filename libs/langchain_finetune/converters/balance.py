"""Fewer rows on request: at most so many a tool, a tag or another label, and a sample of the rest.

Which rows stay is decided by the order of a seeded hash, of the group first and then of the row, and not by
a random generator: the same rows stay in whatever order they come, a thread stays as it grows, and new rows
take the place of others only where a cap or a number is reached. A row over one of its caps is dropped.
"""

import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

Row = Mapping[str, Any]
SessionRow = Mapping[str, Any]

OVER_CAP: Final = "over_cap"
"""Reason in the report of a row that was dropped as one of its labels has enough rows."""
NOT_SAMPLED: Final = "not_sampled"
"""Reason in the report of a row that was dropped as it is none of the sample."""
_REASONS: Final = (None, OVER_CAP, NOT_SAMPLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What was asked for. A row counts for each tool that it calls, for each of its tags and labels."""

    max_per_tool: int | None = None
    """Rows whose answers call the same tool."""
    max_per_tag: int | None = None
    """Rows whose runs have the same tag."""
    max_per_label: Mapping[str, int] = field(default_factory=dict)
    """Rows with the same value, by the key of metadata or of feedback; metadata come first."""
    sample: int | float | None = None
    """Of the rows that are left then, a share (a float, at most 1.0) or a number (an int)."""
    seed: int = 0

    def __post_init__(self) -> None:
        caps = {"max_per_tool": self.max_per_tool, "max_per_tag": self.max_per_tag}
        caps |= {f"max_per_label[{key!r}]": cap for key, cap in self.max_per_label.items()}
        for name, cap in caps.items():
            if cap is not None and cap < 1:
                msg = f"{name} is {cap}: give the most rows that may stay, 1 or more, or leave it out."
                raise ValueError(msg)
        sample = self.sample
        is_share = isinstance(sample, float)
        if sample is not None and (isinstance(sample, bool) or sample <= 0 or (is_share and sample > 1)):
            msg = (
                f"sample is {sample}: give a share such as 0.1, at most 1.0, or a number of rows such as 500."
            )
            raise ValueError(msg)

    @property
    def is_capping(self) -> bool:
        """Whether rows have to be told apart by their labels."""
        return bool(self.max_per_tool or self.max_per_tag or self.max_per_label)

    @property
    def is_asked(self) -> bool:
        """Whether any row may be dropped."""
        return self.is_capping or self.sample is not None

    def labels_of(self, row: Row, session: SessionRow) -> Iterator[tuple[str, int]]:
        """Yield the labels of a run that are capped, each once, and their caps.

        Args:
            row: What the run was rendered to: its answer, or its answers, count for their tools.
            session: The run, with its tags, metadata and feedback.
        """
        if self.max_per_tool:
            for name in sorted(_tools_called(row)):
                yield f"tool:{name}", self.max_per_tool
        if self.max_per_tag:
            for tag in sorted(set(session.get("tags") or ())):
                yield f"tag:{tag}", self.max_per_tag
        for key, cap in self.max_per_label.items():
            for source in ("metadata", "feedback"):
                values = session.get(source) or {}
                if values.get(key) is not None:
                    value = orjson.dumps(values[key], option=orjson.OPT_SORT_KEYS).decode()
                    yield f"label:{key}={value}", cap
                    break


def _tools_called(row: Row) -> set[str]:
    if "input" in row:
        answers = [*row.get("preferred_output", ()), *row.get("non_preferred_output", ())]
    else:
        answers = row["messages"][-1:]
    names: set[str] = set()
    for answer in answers:
        names.update(call["function"]["name"] for call in answer.get("tool_calls") or ())
        if answer.get("function_call"):
            names.add(answer["function_call"]["name"])
    return names


class Labels:
    """What is kept of each row by its position: 8 bytes a row, and 4 a label."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self.caps = array("I")
        """By the number of the label."""
        self._flat = array("I")
        self._ends = array("I")
        self._contents = array("I")

    def __len__(self) -> int:
        return len(self._ends)

    def enter(self, content: bytes = bytes(4), labels: Iterable[tuple[str, int]] = ()) -> None:
        """Enter the next row by the digest of its content; what is left out is entered with nothing."""
        for label, cap in labels:
            number = self._numbers.setdefault(label, len(self.caps))
            if number == len(self.caps):
                self.caps.append(cap)
            self._flat.append(number)
        self._ends.append(len(self._flat))
        self._contents.append(int.from_bytes(content[:4]))

    def of(self, position: int) -> "array[int]":
        """Return the numbers of a row's labels."""
        start = self._ends[position - 1] if position else 0
        return self._flat[start : self._ends[position]]

    def content_of(self, position: int) -> bytes:
        """Return the first bytes of the digest of a row's content."""
        return self._contents[position].to_bytes(4)


class Dropped:
    """Why rows were dropped, by position: one byte a row."""

    def __init__(self, num_rows: int) -> None:
        self._codes = bytearray(num_rows)

    def __getitem__(self, position: int) -> str | None:
        """Return the reason, None for a row that stays."""
        return _REASONS[self._codes[position]]

    def __contains__(self, position: int) -> bool:
        return bool(self._codes[position])

    def __len__(self) -> int:
        """Return the number of rows that were dropped."""
        return len(self._codes) - self._codes.count(0)

    def drop(self, position: int, reason: str) -> None:
        """Drop a row."""
        self._codes[position] = _REASONS.index(reason)

    def count(self, reason: str) -> int:
        """Return the number of rows that were dropped for a reason."""
        return self._codes.count(_REASONS.index(reason))


def thin(
    positions: Iterable[int],
    labels: Labels,
    balance: Balance,
    opening: Callable[[int], bytes],
    merged: Mapping[int, int] | None = None,
) -> Dropped:
    """Decide which rows are dropped.

    Args:
        positions: The rows there are: no duplicates, nothing that was merged or left out.
        labels: The labels of all rows.
        balance: What was asked for.
        opening: The hash of the opening prompt of a row's group, by the row's position.
        merged: The row that a merged one is part of, by position: it has the labels of all its parts.
    """
    dropped = Dropped(len(labels))
    if not balance.is_asked:
        return dropped
    salt = b"balance:%d:" % balance.seed  # nothing to do with the hash of the split

    def place(position: int) -> tuple[int, int]:
        first = hashlib.blake2b(salt + opening(position), digest_size=4).digest()
        second = hashlib.blake2b(salt + labels.content_of(position), digest_size=4).digest()
        return int.from_bytes(first + second), position

    staying = sorted(positions, key=place)
    if balance.is_capping:
        staying = _capped(staying, labels, _parts(merged or {}), dropped)
    if balance.sample is not None:
        share = balance.sample
        number = share if isinstance(share, int) else round(share * len(staying))
        for position in staying[max(number, 1) :]:
            dropped.drop(position, NOT_SAMPLED)
    return dropped


def _parts(merged: Mapping[int, int]) -> dict[int, list[int]]:
    parts: dict[int, list[int]] = {}
    for position, into in merged.items():
        parts.setdefault(into, []).append(position)
    return parts


def _capped(
    ordered: list[int], labels: Labels, parts: Mapping[int, list[int]], dropped: Dropped
) -> list[int]:
    room, staying = array("I", labels.caps), []
    for position in ordered:
        numbers = set(labels.of(position)).union(*(labels.of(part) for part in parts.get(position, ())))
        if all(room[number] for number in numbers):
            staying.append(position)
            for number in numbers:
                room[number] -= 1
        else:
            dropped.drop(position, OVER_CAP)
    return staying
