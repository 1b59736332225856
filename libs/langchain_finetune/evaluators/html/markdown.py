"""The dataset card as HTML: headings, tables, code and paragraphs, which is all that a card has. Pure."""

import re
from collections.abc import Iterator
from html import escape
from typing import Final

_CODE: Final = re.compile(r"`([^`]*)`")
_CELL: Final = re.compile(r"(?<!\\)\|")


def to_html(text: str) -> str:
    """Return Markdown as HTML; whatever is not known stays as the text that it is."""
    return "\n".join(_blocks(text.splitlines()))


def _blocks(lines: list[str]) -> Iterator[str]:
    rows: list[list[str]] = []
    code: list[str] | None = None
    for line in [*lines, ""]:
        if line.startswith("```"):
            if code is not None:
                yield f"<pre>{escape(chr(10).join(code))}</pre>"
            code = [] if code is None else None
            continue
        if code is not None:
            code.append(line)
            continue
        if line.startswith("|"):
            rows.append([cell.strip().replace("\\|", "|") for cell in _CELL.split(line)[1:-1]])
            continue
        if rows:
            yield _table(rows)
            rows = []
        if heading := re.match(r"(#{1,4}) +(.*)", line):
            level = min(4, len(heading[1]) + 2)
            yield f"<h{level}>{_inline(heading[2])}</h{level}>"
        elif line.strip():
            yield f"<p>{_inline(line.strip())}</p>"
    if code:
        yield f"<pre>{escape(chr(10).join(code))}</pre>"


def _table(rows: list[list[str]]) -> str:
    body = [row for row in rows if not all(re.fullmatch(r":?-+:?", cell) for cell in row)]
    shown = "".join(
        f"<tr>{''.join(f'<{tag}>{_inline(cell)}</{tag}>' for cell in row)}</tr>"
        for tag, row in ((("th" if index == 0 else "td"), row) for index, row in enumerate(body))
    )
    return f'<div class="scroll"><table>{shown}</table></div>'


def _inline(text: str) -> str:
    return _CODE.sub(lambda found: f"<code>{found[1]}</code>", escape(text))
