"""How much of what is held out was trained on: our split against one of rows at random, on agent traces."""

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson


class Leaks(NamedTuple):
    """Shares of the test rows."""

    num_test: int
    same_trace: float
    """Of whose trace a row is trained on."""
    same_prompt: float
    """Whose very prompt is trained on."""
    same_answer: float
    """Whose prompt and answer are how a training row begins: it was trained on, or stood in the context."""


class _Row(NamedTuple):
    trace: str
    prompt: bytes
    beginnings: list[bytes]
    """Hash-like texts of the row's messages up to each, the whole row last."""


def leaks_of(train: Sequence[_Row], test: Sequence[_Row]) -> Leaks:
    """Hold test rows against training rows."""
    traces = {row.trace for row in train}
    prompts = {row.prompt for row in train}
    beginnings = {beginning for row in train for beginning in row.beginnings}
    return Leaks(
        len(test),
        sum(row.trace in traces for row in test) / len(test),
        sum(row.prompt in prompts for row in test) / len(test),
        sum(row.beginnings[-1] in beginnings for row in test) / len(test),
    )


def our_split(data: Any) -> tuple[list[_Row], list[_Row]]:
    """Read the training and the test rows of training data, with their traces from the report."""
    traces = dict(_traces(data.report))
    train, test = (
        [_row(row, traces[split, number]) for number, row in enumerate(_read(getattr(data, split)))]
        for split in ("train", "test")
    )
    return train, test


def random_split(rows: Sequence[_Row], fraction: float, seed: int = 0) -> tuple[list[_Row], list[_Row]]:
    """Part rows as most scripts do: shuffled, one by one."""
    shuffled = [*rows]
    random.Random(seed).shuffle(shuffled)
    end = round(len(rows) * fraction)
    return shuffled[end:], shuffled[:end]


def _traces(report: Path) -> Iterator[tuple[tuple[str, int], str]]:
    for line in _read(report):
        if line["status"] == "kept":
            # A run's id ends with the number of its trace: see converter_source.
            yield (line["split"], line["row"]), line["run_id"].rpartition("-")[2]


def _read(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        yield from map(orjson.loads, file)


def _row(row: Mapping[str, Any], trace: str) -> _Row:
    # Weights say what is trained on, not what is seen.
    texts = [orjson.dumps({**message, "weight": 1}) for message in row["messages"]]
    beginnings = [b"\n".join(texts[: index + 1]) for index in range(len(texts))]
    return _Row(trace, beginnings[-2], beginnings[1:])
