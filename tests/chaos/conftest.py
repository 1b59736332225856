"""The chaos table: where jobs were killed, and how they went on."""

import statistics
from collections import defaultdict

import pytest

from tests.kill_points import KillRecord

KILLS = pytest.StashKey[list[KillRecord]]()
_HEAD = ("victim", "phase", "points", "succeeded", "from a checkpoint", "from the start", "median s")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[KILLS] = []


@pytest.fixture
def kills(request):
    """Where a point's record goes."""
    return request.config.stash[KILLS]


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    records = config.stash[KILLS]
    if not records:
        return
    terminalreporter.section("kills")
    lines = [_HEAD, *_lines(records)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    for line in lines:
        cells = [
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        terminalreporter.write_line("  ".join(cells))
    minutes = sum(record.seconds for record in records) / 60
    num_kills = sum(len(record.aims) for record in records)
    num_lost = sum(not record.has_succeeded for record in records)
    terminalreporter.write_line(
        f"{len(records)} points, {num_kills} kills, {len(records) - num_lost} jobs succeeded, "
        f"{num_lost} did not, {minutes:.1f} minutes"
    )


def _lines(records: list[KillRecord]) -> list[tuple[str, ...]]:
    groups: dict[tuple[str, str], list[KillRecord]] = defaultdict(list)
    for record in records:
        groups[" then ".join(record.victims), " then ".join(record.phases)].append(record)
    return [(*names, *_figures(groups[names])) for names in sorted(groups)] + [
        ("total", "", *_figures(records))
    ]


def _figures(records: list[KillRecord]) -> tuple[str, ...]:
    steps = [step for record in records for step in record.resumed_from]
    figures = (
        len(records),
        sum(record.has_succeeded for record in records),
        sum(step > 0 for step in steps),
        sum(step == 0 for step in steps),
    )
    median = statistics.median(record.seconds for record in records)
    return (*map(str, figures), f"{median:.1f}")
