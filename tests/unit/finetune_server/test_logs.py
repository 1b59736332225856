import json
import logging
import sys
from pathlib import Path

import pytest

from finetune_server import logs
from finetune_server.logs import JsonFormatter, TextFormatter, fields, set_aside_if_large, set_up_logging


def record(message: str, /, *, exc_info=None, **told) -> logging.LogRecord:
    made = logging.LogRecord("finetune_server.x", logging.WARNING, "f", 1, message, (), exc_info)
    made.created, made.msecs = 1_000_000_000.25, 250
    for name, value in fields(**told).items():
        setattr(made, name, value)
    return made


def failed(words: str):
    try:
        raise ValueError(words)  # noqa: TRY301 - a traceback is wanted
    except ValueError:
        return record("request failed", exc_info=sys.exc_info(), id="req-1")


HEAD = "2001-09-09T01:46:40.250Z WARNING finetune_server.x"


def test_text_is_the_event_and_its_fields_on_one_line():
    shown = TextFormatter().format(record("request", id="req-1", ms=1.5, status=200, caller=None, ok=True))
    assert shown == f"{HEAD} request id=req-1 ms=1.5 status=200 caller=null ok=true"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("/v1/files", "/v1/files"),
        ("", '""'),
        ("a b", '"a b"'),
        ("a=b", '"a=b"'),
        ('a"b', '"a\\"b"'),
        ("a\\b", '"a\\\\b"'),
        ("/a\nFAKE\r", '"/a\\nFAKE\\r"'),
        ("\x1b[2J", '"\\u001b[2J"'),
        ("\u2028", '"\\u2028"'),
        ("über", "über"),
        (Path("/x y"), '"/x y"'),
    ],
)
def test_a_value_that_would_be_misread_is_quoted(value, shown):
    assert TextFormatter().format(record("e", path=value)) == f"{HEAD} e path={shown}"


def test_a_message_is_one_line_whatever_is_in_it():
    assert TextFormatter().format(record("a\nFAKE\x1b")) == f"{HEAD} a\\nFAKE\\u001b"


def test_json_is_one_object_a_line_with_the_fields_as_keys():
    line = JsonFormatter().format(record("request", path="/a\nb", ms=1.5, where=Path("/x")))
    assert "\n" not in line
    assert list(json.loads(line).items()) == [
        ("time", "2001-09-09T01:46:40.250Z"),
        ("level", "WARNING"),
        ("logger", "finetune_server.x"),
        ("message", "request"),
        ("path", "/a\nb"),
        ("ms", 1.5),
        ("where", "/x"),
    ]


def test_a_field_cannot_pose_as_the_entrys_own():
    told = json.loads(JsonFormatter().format(record("request", message="forged", level="INFO")))
    assert (told["message"], told["level"]) == ("request", "WARNING")


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_an_error_is_told_by_type_and_place_and_not_by_its_words(formatter):
    shown = formatter.format(failed("the row says xyzzy"))
    assert "xyzzy" not in shown
    assert "\n" not in shown
    assert "ValueError" in shown
    assert "test_logs.py:" in shown


def test_json_has_the_error_and_its_frames_in_fields():
    told = json.loads(JsonFormatter().format(failed("x")))
    assert told["error"] == "ValueError"
    assert told["traceback"].endswith(" failed")


@pytest.fixture
def root_logger():
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield root
    for handler in root.handlers:
        if handler not in before[0]:
            handler.close()
    root.handlers[:], root.level = before


def test_a_log_file_is_kept_from_growing(tmp_path, monkeypatch, root_logger):
    monkeypatch.setattr(logs, "MAX_LOG_BYTES", 200)
    path = tmp_path / "server.log"
    set_up_logging("info", "json", path)
    for number in range(50):
        logging.getLogger("finetune_server.x").info("event", extra=fields(number=number))
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        path.name,
        *(f"{path.name}.{n}" for n in "123"),
    ]
    assert all(each.stat().st_size <= 200 for each in tmp_path.iterdir())
    assert json.loads(path.read_text().splitlines()[-1])["number"] == 49


def test_without_a_file_the_log_goes_to_standard_error(capsys, root_logger):
    set_up_logging("warning", "text")
    logging.getLogger("finetune_server.x").info("quiet")
    logging.getLogger("finetune_server.x").warning("loud")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith(" WARNING finetune_server.x loud\n")
    assert "quiet" not in captured.err


def test_a_log_that_has_grown_large_is_set_aside(tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "MAX_LOG_BYTES", 3)
    path = tmp_path / "inference.log"
    set_aside_if_large(path)
    path.write_text("abc")
    set_aside_if_large(path)
    assert path.exists()
    path.write_text("abcd")
    set_aside_if_large(path)
    assert [each.name for each in tmp_path.iterdir()] == ["inference.log.1"]
