"""The server's log: one line an entry, on standard error, without prompts and rows."""

import logging
import sys
import time


class OneLineFormatter(logging.Formatter):
    """`2026-11-22T09:30:00.123Z INFO finetune_server.gate request id=… status=200`."""

    def format(self, record: logging.LogRecord) -> str:
        """The entry with its traceback, if it has one, on one line."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        text = record.getMessage()
        if record.exc_info:
            text += " " + self.formatException(record.exc_info)
        text = text.replace("\\", "\\\\").replace("\r", "\\r").replace("\n", "\\n")
        return f"{moment}.{int(record.msecs):03d}Z {record.levelname} {record.name} {text}"


def set_up_logging(level: str) -> None:
    """Sends the log of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLineFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Its own start and stop messages say what ours say.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    # It tells of every request to an engine.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
