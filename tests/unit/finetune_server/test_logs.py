import logging
import sys

from finetune_server.logs import OneLineFormatter


def record(message: str, *args, exc_info=None) -> logging.LogRecord:
    made = logging.LogRecord("finetune_server.x", logging.WARNING, "f", 1, message, args, exc_info)
    made.created, made.msecs = 1_000_000_000.25, 250
    return made


def test_an_entry_is_one_line_whatever_is_in_it():
    shown = OneLineFormatter().format(record("path=%s", "/a\nFAKE\r\\n"))
    assert shown == "2001-09-09T01:46:40.250Z WARNING finetune_server.x path=/a\\nFAKE\\r\\\\n"


def test_a_traceback_is_on_the_same_line():
    try:
        int("x")
    except ValueError:
        shown = OneLineFormatter().format(record("failed", exc_info=sys.exc_info()))
    assert "\n" not in shown
    assert "ValueError: invalid literal" in shown
