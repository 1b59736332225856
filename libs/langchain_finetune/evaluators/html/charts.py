"""Charts as inline SVG: bars with intervals, a curve, a histogram. Pure; colors are the page's."""

from collections.abc import Sequence
from html import escape
from typing import Final, NamedTuple

_WIDTH: Final = 640
_HEIGHT: Final = 240
_LEFT: Final = 56
_RIGHT: Final = 14
_TOP: Final = 14
_BOTTOM: Final = 40
_NUM_TICKS: Final = 4


class Line(NamedTuple):
    """One curve."""

    name: str
    style: str
    """Class of the page's style that has its color."""
    points: Sequence[tuple[float, float]]


def bar(mean: float, low: float, high: float, style: str) -> str:
    """Return a bar from 0 to 1 with its interval; it is as wide as the page lets it."""
    left, width, right = (f"{100 * min(1.0, max(0.0, value)):.2f}%" for value in (low, mean, high))
    return (
        '<svg class="bar" role="img" width="100%" height="22" '
        f'aria-label="{mean:.1%}, interval {low:.1%} to {high:.1%}">'
        '<rect class="track" x="0" y="4" width="100%" height="14" rx="3"/>'
        f'<rect class="{escape(style)}" x="0" y="4" width="{width}" height="14" rx="3"/>'
        f'<line class="whisker" x1="{left}" x2="{right}" y1="11" y2="11"/>'
        f'<line class="whisker" x1="{left}" x2="{left}" y1="6" y2="16"/>'
        f'<line class="whisker" x1="{right}" x2="{right}" y1="6" y2="16"/>'
        "</svg>"
    )


def gain_bar(mean: float, low: float, high: float) -> str:
    """Return a difference from -1 to 1 with its interval, around a line at 0."""
    left, at, right = (f"{50 + 50 * min(1.0, max(-1.0, value)):.2f}%" for value in (low, mean, high))
    style = "better" if low > 0 else "worse" if high < 0 else "unsure"
    return (
        f'<svg class="bar" role="img" width="100%" height="22" aria-label="{mean:+.1%}">'
        '<rect class="track" x="0" y="4" width="100%" height="14" rx="3"/>'
        '<line class="axis" x1="50%" x2="50%" y1="1" y2="21"/>'
        f'<line class="whisker" x1="{left}" x2="{right}" y1="11" y2="11"/>'
        f'<line class="whisker" x1="{left}" x2="{left}" y1="6" y2="16"/>'
        f'<line class="whisker" x1="{right}" x2="{right}" y1="6" y2="16"/>'
        f'<circle class="{style}" cx="{at}" cy="11" r="5"/>'
        "</svg>"
    )


def curve(lines: Sequence[Line], x_title: str) -> str:
    """Return curves over the same axes, from 0 up; empty where there is not one point."""
    points = [point for line in lines for point in line.points]
    if not points:
        return ""
    most_x = max(x for x, _ in points)
    least_x = min(x for x, _ in points)
    most_y = _ceiling(max(y for _, y in points))
    span = (most_x - least_x) or 1.0

    def place(point: tuple[float, float]) -> str:
        x = _LEFT + (point[0] - least_x) / span * (_WIDTH - _LEFT - _RIGHT)
        y = _TOP + (1 - max(0.0, point[1]) / most_y) * (_HEIGHT - _TOP - _BOTTOM)
        return f"{x:.1f},{y:.1f}"

    drawn = "".join(
        f'<polyline class="curve {escape(line.style)}" points="{" ".join(map(place, line.points))}"/>'
        if len(line.points) > 1
        else "".join(
            f'<circle class="{escape(line.style)}" cx="{x}" cy="{y}" r="4"/>'
            for x, y in (place(point).split(",") for point in line.points)
        )
        for line in lines
    )
    labels = [(least_x, f"{least_x:g}", "start"), (most_x, f"{most_x:g}", "end")]
    below = "".join(
        f'<text x="{place((x, 0)).split(",")[0]}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
        for x, text, anchor in labels
    )
    return _chart(_grid(most_y) + drawn + below + _x_title(x_title), "the loss by step")


def histogram(counts: Sequence[tuple[str, int]], x_title: str) -> str:
    """Return bars over labels; empty where there is nothing to count."""
    if not counts:
        return ""
    most = max(1, -(-max(number for _, number in counts) // _NUM_TICKS)) * _NUM_TICKS
    step = (_WIDTH - _LEFT - _RIGHT) / len(counts)
    every = max(1, -(-len(counts) // 6))
    parts = []
    for index, (label, number) in enumerate(counts):
        x, height = _LEFT + index * step, number / most * (_HEIGHT - _TOP - _BOTTOM)
        parts.append(
            f'<rect class="model-2" x="{x + step * 0.08:.1f}" y="{_HEIGHT - _BOTTOM - height:.1f}" '
            f'width="{step * 0.84:.1f}" height="{height:.1f}" rx="2">'
            f"<title>{escape(label)}: {number}</title></rect>"
        )
        if index % every == 0:
            parts.append(
                f'<text x="{x + step / 2:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">'
                f"{escape(label)}</text>"
            )
    return _chart(_grid(most) + "".join(parts) + _x_title(x_title), x_title)


def _chart(inner: str, label: str) -> str:
    box = f"0 0 {_WIDTH} {_HEIGHT}"
    return f'<svg class="chart" role="img" aria-label="{escape(label)}" viewBox="{box}">{inner}</svg>'


def _grid(most: float) -> str:
    parts = []
    for tick in range(_NUM_TICKS + 1):
        value = most * tick / _NUM_TICKS
        y = _TOP + (1 - tick / _NUM_TICKS) * (_HEIGHT - _TOP - _BOTTOM)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    return "".join(parts)


def _x_title(title: str) -> str:
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    return (
        f'<text class="title" x="{middle:.0f}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(title)}</text>'
    )


def _ceiling(value: float) -> float:
    """Return the next round number that an axis can end at."""
    if value <= 0:
        return 1.0
    step = 10.0 ** (len(f"{value:.0f}") - 1) if value >= 1 else 10.0 ** -(len(f"{1 / value:.0f}"))
    for factor in (1, 2, 4, 5, 8, 10, 20, 40, 50, 80, 100):
        if factor * step >= value:
            return factor * step
    return value
