"""Progress for a person to watch: a bar in a terminal, a few plain lines elsewhere."""

import shutil
import sys
import threading
from collections.abc import Mapping
from typing import Any, Final, TextIO
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from typing_extensions import override

_BAR_WIDTH: Final = 24
_PLAIN_LINES: Final = 10
"""Parts of the work after each of which there is a plain line."""

_ROUNDING: Final = 1e-9

_START_OF_LINE: Final = "\r\x1b[2K"


class ProgressPrinter(BaseCallbackHandler):
    """Prints what the stages report: counts, the state of a job, its step, loss and time left.

    ```python
    model = pipeline.invoke({}, config={"callbacks": [ProgressPrinter()]})
    ```

    Args:
        stream: Where to print; the default is the standard error of the moment. In a terminal one line is
            drawn again and again, elsewhere there is a line at each change of state and each tenth.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._is_line_open = False
        self._shown: dict[str, tuple[Any, int]] = {}
        """By job or model: the state and the part of the work that a plain line showed last."""

    @override
    def on_custom_event(
        self,
        name: str,
        data: Any,
        *,
        run_id: UUID,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(data, Mapping):
            return
        with self._lock:
            try:
                self._show(name, data)
            except (OSError, ValueError):
                # A stream that is closed is no reason for a training to fail.
                return

    def _show(self, name: str, data: Mapping[str, Any]) -> None:
        if name == "langchain_finetune_job":
            self._show_job(data)
        elif name == "langchain_finetune_compare":
            self._show_comparison(data)
        elif name in _COUNTS:
            self._print(f"{_COUNTS[name]}: {_counts(data)}")

    def _show_job(self, data: Mapping[str, Any]) -> None:
        status, share = data.get("status"), _share(data.get("step"), data.get("total_steps"))
        text = job_line(data)
        is_end = status in ("succeeded", "failed", "cancelled")
        self._advance(f"job {data.get('job_id')}", status, share, text, is_end=is_end)

    def _show_comparison(self, data: Mapping[str, Any]) -> None:
        done, total, model = data.get("done"), data.get("total"), data.get("model")
        share = _share(done, total)
        text = f"compare  {_bar(share)} {done}/{total}  {model}"
        self._advance(f"compare {model}", None, share, text, is_end=done == total)

    def _advance(self, key: str, state: Any, share: float | None, text: str, *, is_end: bool) -> None:
        """Show a step, in the same line where that can be drawn again."""
        if self._is_terminal():
            self._draw(text, is_end=is_end)
            return
        part = int((share or 0.0) * _PLAIN_LINES + _ROUNDING)
        last_state, last_part = self._shown.get(key, (None, -1))
        if state != last_state or part > last_part:
            self._shown[key] = (state, part)
            self._print(text)

    def _out(self) -> TextIO:
        return self._stream if self._stream is not None else sys.stderr

    def _is_terminal(self) -> bool:
        return self._out().isatty()

    def _draw(self, text: str, *, is_end: bool) -> None:
        # A line that wraps could not be drawn over.
        fitting = text[: max(1, shutil.get_terminal_size().columns - 1)]
        self._out().write(_START_OF_LINE + fitting + ("\n" if is_end else ""))
        self._out().flush()
        self._is_line_open = not is_end

    def _print(self, text: str) -> None:
        self._out().write(("\n" if self._is_line_open else "") + text + "\n")
        self._out().flush()
        self._is_line_open = False


_COUNTS: Final = {"langchain_finetune_load": "load", "langchain_finetune_convert": "convert"}


def job_line(data: Mapping[str, Any]) -> str:
    """Return one line on a job, from the data of its event."""
    # What changes stands first: a narrow terminal cuts the id off, not the time left.
    parts = ["train"]
    if (share := _share(data.get("step"), data.get("total_steps"))) is not None:
        parts.append(f"{_bar(share)} {data.get('step')}/{data.get('total_steps')}")
    if isinstance(loss := data.get("train_loss"), int | float):
        parts.append(f"loss {loss:.3f}")
    if isinstance(left := data.get("seconds_left"), int | float) and left > 0:
        parts.append(f"{_duration(left)} left")
    parts.append(f"{data.get('status')}{' (found again)' if data.get('reused') else ''}")
    parts.append(str(data.get("job_id")))
    if data.get("step") is None and data.get("message"):
        parts.append(str(data["message"]))
    return "  ".join(parts)


def _counts(data: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{value} {name.removeprefix('num_')}" for name, value in data.items() if value is not None
    )


def _share(done: Any, total: Any) -> float | None:
    if not (isinstance(done, int | float) and isinstance(total, int | float)) or total <= 0:
        return None
    return min(1.0, max(0.0, done / total))


def _bar(share: float | None) -> str:
    filled = round((share or 0.0) * _BAR_WIDTH)
    return "[" + "#" * filled + "." * (_BAR_WIDTH - filled) + "]"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest:02d}"
    return f"{minutes}:{rest:02d}"
