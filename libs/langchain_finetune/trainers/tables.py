"""Tables for a person to read: in a terminal and in a notebook."""

from collections.abc import Iterable, Sequence
from html import escape


def text_table(rows: Iterable[Sequence[str]], *, indent: str = "") -> str:
    """Return rows as aligned columns, the last of them not padded."""
    listed = [[*map(str, row)] for row in rows]
    widths = [max(map(len, column)) for column in zip(*listed, strict=True)]
    lines = []
    for row in listed:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append(indent + "  ".join(cells).rstrip())
    return "\n".join(lines)


def html_table(rows: Iterable[Sequence[str]], header: Sequence[str] = (), caption: str = "") -> str:
    """Return rows as an HTML table; every text in it is escaped."""
    parts = ["<table>"]
    if caption:
        parts.append(f'<caption style="text-align:left">{escape(caption)}</caption>')
    if header:
        parts.append(_row("th", header))
    parts += [_row("td", row) for row in rows]
    return "".join([*parts, "</table>"])


def _row(tag: str, cells: Sequence[str]) -> str:
    inner = "".join(f'<{tag} style="text-align:left">{escape(str(cell))}</{tag}>' for cell in cells)
    return f"<tr>{inner}</tr>"
