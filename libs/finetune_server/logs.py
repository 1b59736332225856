"""The server's log: one line an entry, an event and its fields, as text or as JSON; no prompts, no rows.

```python
_log.info("job ended", extra=fields(job="ftjob-1", attempt=2))
```

```text
2026-11-22T09:30:00.123Z INFO finetune_server.jobs.job_run job ended job=ftjob-1 attempt=2
{"time": "2026-11-22T09:30:00.123Z", "level": "INFO", "logger": …, "message": "job ended", "job": …}
```

An error is told by its type and its frames, never by its words: they may quote a row or a prompt.
"""

import json
import logging
import sys
import time
import traceback
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Literal

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

MAX_LOG_BYTES = 10 * 1024 * 1024
NUM_OLD_LOGS = 3
_QUOTED = frozenset(' "=\\')


def fields(**values: Any) -> dict[str, dict[str, Any]]:
    """The `extra` of a log call."""
    return {"fields": values}


class TextFormatter(logging.Formatter):
    """`time LEVEL logger message key=value …`, values quoted where they would be misread."""

    def format(self, record: logging.LogRecord) -> str:
        """The entry on one line."""
        told = [_moment(record), record.levelname, record.name, _one_line(record.getMessage())]
        return " ".join([*told, *(f"{name}={_shown(value)}" for name, value in _fields_of(record).items())])


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, and the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The entry on one line."""
        entry = {
            "time": _moment(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        return json.dumps({**entry, **_fields_of(record), **entry}, default=str)


def set_up_logging(
    level: LogLevel = "info", log_format: LogFormat = "text", log_file: Path | None = None
) -> None:
    """Sends the log of this process to standard error, or to a file that is not let grow.

    Raises:
        OSError: When the file cannot be written.
    """
    handler = (
        RotatingFileHandler(log_file, maxBytes=MAX_LOG_BYTES, backupCount=NUM_OLD_LOGS, encoding="utf-8")
        if log_file
        else logging.StreamHandler(sys.stderr)
    )
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Its own start and stop messages say what ours say.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    # It tells of every request to an engine.
    logging.getLogger("httpx2").setLevel(logging.WARNING)


def set_aside_if_large(log_file: Path) -> None:
    """Renames a log that has grown large, before a process is started that appends to it."""
    if log_file.exists() and log_file.stat().st_size > MAX_LOG_BYTES:
        log_file.replace(log_file.with_name(log_file.name + ".1"))


def _moment(record: logging.LogRecord) -> str:
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{moment}.{int(record.msecs):03d}Z"


def _fields_of(record: logging.LogRecord) -> dict[str, Any]:
    told: dict[str, Any] = dict(getattr(record, "fields", {}))
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        frames = traceback.extract_tb(error.__traceback__)
        told["error"] = type(error).__name__
        told["traceback"] = "; ".join(f"{each.filename}:{each.lineno} {each.name}" for each in frames)
    return told


def _shown(value: Any) -> str:
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    text = str(value)
    is_plain = bool(text) and text.isprintable() and not _QUOTED.intersection(text)
    return text if is_plain else json.dumps(text)


def _one_line(text: str) -> str:
    return text if text.isprintable() else json.dumps(text)[1:-1]
