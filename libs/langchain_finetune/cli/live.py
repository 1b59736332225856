"""Where progress is shown: lines that are drawn again in a terminal or a notebook, plain lines elsewhere."""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TextIO

_BAR_WIDTH: Final = 24
_PLAIN_PARTS: Final = 10
"""Parts of the work after each of which there is a plain line."""

_ROUNDING: Final = 1e-9
_CLEAR_BELOW: Final = "\r\x1b[J"
_GAP: Final = "  "


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What is shown of one job, or of one model that is asked."""

    label: str
    facts: tuple[str, ...]
    """What changes stands first: a narrow terminal cuts the end off."""
    share: float | None = None
    """Of the work that is done, from 0 to 1; None where there is no bar."""
    phase: Any = None
    """Where it changes there is a plain line."""
    is_end: bool = False

    def text(self) -> str:
        """Return the line without colors."""
        bar = [] if self.share is None else [f"{plain_bar(self.share)} {self.facts[0]}"]
        facts = self.facts if self.share is None else self.facts[1:]
        return _GAP.join([self.label, *bar, *facts])


class Outlet(Protocol):
    """Shows lines."""

    def show(self, key: str, line: Line) -> None:
        """Show a line in place of the one with the same key."""

    def say(self, text: str) -> None:
        """Show a text for good."""

    def close(self) -> None:
        """Leave the lines as they are: what comes next comes after them."""


def outlet_for(stream: TextIO | None) -> Outlet:
    """Return what fits where the program runs.

    Args:
        stream: Where to print; None is a notebook's output, or else the standard error of the moment.
    """
    if stream is None and (display := _notebook_display()) is not None:
        return NotebookLines(display)
    out = stream if stream is not None else sys.stderr
    if out.isatty() and os.environ.get("TERM") != "dumb":
        return TerminalLines(out)
    return PlainLines(stream)


def plain_bar(share: float) -> str:
    """Return a bar of ASCII."""
    filled = round(share * _BAR_WIDTH)
    return "[" + "#" * filled + "." * (_BAR_WIDTH - filled) + "]"


class PlainLines:
    """A line at each change of phase and each tenth of the work."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._shown: dict[str, tuple[Any, int]] = {}

    def show(self, key: str, line: Line) -> None:
        """Print the line when it says more than the one before."""
        part = int((line.share or 0.0) * _PLAIN_PARTS + _ROUNDING)
        last_phase, last_part = self._shown.get(key, (None, -1))
        if line.phase != last_phase or part > last_part:
            self._shown[key] = (line.phase, part)
            self.say(line.text())

    def say(self, text: str) -> None:
        """Print the text."""
        out = self._stream if self._stream is not None else sys.stderr
        out.write(text + "\n")
        out.flush()

    def close(self) -> None:
        """Nothing is left open."""


class TerminalLines:
    """One line for each job at the bottom of a terminal, drawn again and again.

    They are colored where `rich` is installed. Nothing runs beside the training and the cursor stays visible,
    so that an interrupt leaves the terminal as it was.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: dict[str, str] = {}
        self._height = 0
        self._render = _rich_renderer(stream) or _plain_renderer

    def show(self, key: str, line: Line) -> None:
        """Draw the line; one that has ended moves up for good."""
        if line.is_end:
            self._lines.pop(key, None)
            self._draw([self._render(line, None)])
        else:
            # A line that wraps could not be drawn over.
            self._lines[key] = self._render(line, max(1, shutil.get_terminal_size().columns - 1))
            self._draw([])

    def say(self, text: str) -> None:
        """Print the text above the lines."""
        self._draw([text])

    def close(self) -> None:
        """End the lines where they stand."""
        if self._height:
            self._lines.clear()
            self._height = 0
            self._write("\n")

    def _draw(self, ended: list[str]) -> None:
        rows = shutil.get_terminal_size().lines
        live = list(self._lines.values())[-max(1, rows - 1) :]
        up = f"\x1b[{self._height - 1}A" if self._height > 1 else ""
        drawn = _CLEAR_BELOW + "\n".join([*ended, *live])
        # Lines that an ended one leaves empty below itself.
        left = "" if live else "\n"
        self._height = len(live)
        self._write(up + drawn + left)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


class NotebookLines:
    """The lines as one output of a notebook's cell, which is updated in place.

    Args:
        display: IPython's `display`.
    """

    def __init__(self, display: Callable[..., Any]) -> None:
        self._display = display
        self._lines: dict[str, str] = {}
        self._live: set[str] = set()
        self._handle: Any = None

    def show(self, key: str, line: Line) -> None:
        """Update the output."""
        self._lines[key] = line.text()
        self._live.add(key)
        self._update()
        if line.is_end:
            self._live.discard(key)
            if not self._live:
                self.close()

    def say(self, text: str) -> None:
        """Add the text to the output."""
        self._lines[f"text {len(self._lines)}"] = text
        self._update()

    def close(self) -> None:
        """Leave the output: what comes next gets one of its own."""
        self._handle = None
        self._lines.clear()
        self._live.clear()

    def _update(self) -> None:
        shown = {"text/plain": "\n".join(self._lines.values())}
        if self._handle is None:
            self._handle = self._display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)


def _notebook_display() -> Callable[..., Any] | None:
    """Return IPython's `display` where this process is a notebook's kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if getattr(shell, "kernel", None) is None:
        return None
    from IPython.display import display

    known: Callable[..., Any] = display
    return known


def _plain_renderer(line: Line, width: int | None) -> str:
    return line.text()[:width]


def _rich_renderer(stream: TextIO) -> Callable[[Line, int | None], str] | None:
    """Return what renders a line with `rich`, None where that is not installed."""
    try:
        from rich.console import Console
        from rich.progress_bar import ProgressBar
        from rich.text import Text
    except ImportError:
        return None
    console = Console(file=stream, force_terminal=True)

    def render(line: Line, width: int | None) -> str:
        text = Text(line.label + _GAP, style="bold")
        if line.share is not None:
            bar = ProgressBar(total=1.0, completed=line.share, width=_BAR_WIDTH)
            for segment in console.render(bar, console.options):
                text.append(segment.text, segment.style)
            text.append(_GAP)
        text.append(_GAP.join(line.facts), style="not bold")
        if width is not None:
            text.truncate(width, overflow="ellipsis")
        with console.capture() as captured:
            console.print(text, end="", highlight=False, soft_wrap=True)
        return captured.get()

    return render
