"""The job's events and the result file that is made of them."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finetune_server.jobs.trainer_events import parse_event, read_new_lines
from finetune_server.training.events import EventLog, write_step_metrics


def events(path) -> list[dict]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def metrics(step: int, loss: float, **rest: float) -> dict:
    return {"step": step, "total_steps": 3, "train_loss": loss, "train_mean_token_accuracy": 0.5, **rest}


def test_events_are_lines_that_the_server_reads_at_once(tmp_path):
    path = tmp_path / "events.jsonl"
    with EventLog(path, 1) as log:
        log.message("hello", {"phase": "started"}, level="warn")
        log.metrics(metrics(1, 0.414))
        lines = read_new_lines(path, 0).lines

    first, second = (parse_event(line) for line in lines)
    assert first is not None
    assert (first.message, first.level, first.type) == ("hello", "warn", "message")
    assert first.data == {"phase": "started"}
    assert second is not None
    assert (second.message, second.type) == ("Step 1/3: training loss=0.41", "metrics")
    assert second.data == metrics(1, 0.414)


def test_the_validation_loss_is_in_the_message(tmp_path):
    with EventLog(tmp_path / "events.jsonl", 1) as log:
        log.metrics(metrics(3, 0.2, full_valid_loss=0.31))

    assert events(tmp_path / "events.jsonl")[0]["message"].endswith(
        "training loss=0.20, validation loss=0.31"
    )


def test_events_are_numbered_anew_in_each_attempt(tmp_path):
    path = tmp_path / "events.jsonl"
    for attempt in (1, 2):
        with EventLog(path, attempt) as log:
            log.message("a")
            log.message("b")

    assert [(e["v"], e["attempt"], e["seq"]) for e in events(path)] == [
        (1, 1, 1),
        (1, 1, 2),
        (1, 2, 1),
        (1, 2, 2),
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(length=st.integers(0, 9000), torn=st.integers(0, 9000))
def test_a_torn_last_line_is_cut_off(tmp_path, length, torn):
    path = tmp_path / "events.jsonl"
    whole = b'{"x": "' + b"y" * length + b'"}\n'
    path.write_bytes(whole + b"z" * torn)

    EventLog(path, 2).__exit__()

    assert path.read_bytes() == whole


def test_a_file_that_is_one_torn_line_becomes_empty(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"x" * 5000)

    EventLog(path, 2).__exit__()

    assert path.read_bytes() == b""


def test_the_result_file_has_openais_columns_and_the_last_word_on_each_step(tmp_path):
    path = tmp_path / "events.jsonl"
    with EventLog(path, 1) as log:
        log.message("started")
        log.metrics(metrics(1, 3.0))
        log.metrics(metrics(2, 2.5))
    with EventLog(path, 2) as log:
        log.metrics(metrics(2, 2.0))
        log.metrics(metrics(3, 1.0, full_valid_loss=1.5, full_valid_mean_token_accuracy=0.25))

    write_step_metrics(path, tmp_path / "step_metrics.csv")

    assert (tmp_path / "step_metrics.csv").read_text() == (
        "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n"
        "1,3.0,0.5,,\n"
        "2,2.0,0.5,,\n"
        "3,1.0,0.5,1.5,0.25\n"
    )
