"""Tables for a person to read: in a terminal and in a notebook."""

import unicodedata
from collections.abc import Iterable, Sequence
from html import escape


def text_table(rows: Iterable[Sequence[str]], *, indent: str = "") -> str:
    """Return rows as aligned columns, the last of them not padded."""
    listed = [[*map(str, row)] for row in rows]
    widths = [max(map(width_of, column)) for column in zip(*listed, strict=True)]
    lines = []
    for row in listed:
        cells = [cell + " " * (width - width_of(cell)) for cell, width in zip(row, widths, strict=True)]
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


def width_of(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def one_line(text: str, most: int) -> str:
    """Return a text of anybody's as one line of at most so many columns, its end as `…` where it is cut.

    What a terminal would obey (escape sequences, changes of direction) does not come through.
    """
    # A column takes few characters, combining ones included: what lies far behind the cut is not looked at.
    words = "".join(map(_shown, text[: most * 8])).split()
    line = " ".join(words)
    if width_of(line) <= most and len(text) <= most * 8:
        return line
    width, end = 0, 0
    for end, character in enumerate(line):  # noqa: B007  used behind the loop
        width += _columns(character)
        if width > most - 1:
            break
    else:
        end = len(line)
    return line[:end] + "…"


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    # Cf: zero width, and what turns the direction of writing around.
    return "" if unicodedata.category(character) == "Cf" else " "
