import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_server.jobs.trainer_events import Pace, parse_event, read_new_lines, resolved_hyperparameters
from finetune_server.storage.job_table import NewEvent


def line(**more) -> bytes:
    told = {
        "v": 1,
        "attempt": 1,
        "seq": 1,
        "created_at": 5.9,
        "type": "message",
        "level": "info",
        "message": "m",
    }
    return json.dumps(told | more).encode()


def step(number: int, total: int = 10) -> NewEvent:
    data = {"step": number, "total_steps": total}
    return NewEvent(message="m", created_at=1, type="metrics", data=data)


def test_only_whole_lines_are_taken_and_each_once(tmp_path):
    path = tmp_path / "events.jsonl"
    assert read_new_lines(path, 0).lines == ()
    path.write_bytes(b"one\ntwo\nthr")
    new = read_new_lines(path, 0)
    assert (new.lines, new.offset) == ((b"one", b"two"), 8)
    assert read_new_lines(path, 8).lines == ()
    path.write_bytes(b"one\ntwo\nthree\n")
    new = read_new_lines(path, 8)
    assert (new.lines, new.offset) == ((b"three",), 14)


@given(st.binary(max_size=60), st.integers(0, 60))
def test_however_a_file_grows_its_lines_are_read_once_and_in_order(tmp_path_factory, content, cut):
    path = tmp_path_factory.mktemp("events") / "events.jsonl"
    path.write_bytes(content[:cut])
    first = read_new_lines(path, 0)
    path.write_bytes(content)
    rest = read_new_lines(path, first.offset)
    whole = content[: content.rfind(b"\n") + 1]
    assert first.lines + rest.lines == tuple(whole.split(b"\n")[:-1])
    assert rest.offset == len(whole)


def test_an_event_is_read():
    event = parse_event(line(type="metrics", level="warn", data={"step": 3}))
    assert event == NewEvent(message="m", created_at=5, level="warn", type="metrics", data={"step": 3})
    assert event.step == 3
    assert parse_event(line(data={"step": 3})).step is None


def test_a_loss_that_is_no_number_becomes_null():
    event = parse_event(
        b'{"created_at": 1, "level": "info", "message": "m", "type": "metrics", "data": {"l": NaN}}'
    )
    assert event.data == {"l": None}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        line(message=1),
        line(level="x"),
        line(created_at=None),
        line(created_at=1e30),
        b"[" * 9999,
    ],
)
def test_a_line_that_is_no_event_is_none(text):
    assert parse_event(text) is None


@given(st.binary(max_size=50))
def test_whatever_is_in_a_line_reading_it_does_not_fail(text):
    parse_event(text)


def test_the_started_event_tells_the_hyperparameters():
    data = {
        "phase": "started",
        "n_epochs": 3,
        "batch_size": 4,
        "learning_rate_multiplier": 1.5,
        "total_steps": 9,
    }
    started = NewEvent(message="m", created_at=1, data=data)
    told = {"n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": 1.5}
    assert resolved_hyperparameters([step(1), started]) == told
    assert resolved_hyperparameters([step(1)]) is None


def test_the_end_is_foreseen_from_the_pace_of_this_trainer():
    pace = Pace()
    assert pace.estimated_finish([], now=100) is None
    assert pace.estimated_finish([step(2)], now=100) is None
    assert pace.estimated_finish([step(3), step(4)], now=106) == 106 + 6 * 3
    assert pace.estimated_finish([step(10)], now=130) == 130


def test_a_clock_that_is_set_back_or_steps_that_repeat_foresee_nothing():
    pace = Pace()
    pace.estimated_finish([step(5)], now=100)
    assert pace.estimated_finish([step(6)], now=50) is None
    assert pace.estimated_finish([step(4)], now=101) is None


@pytest.mark.parametrize(
    "more",
    [{"message": "\ud800"}, {"data": {"step": 2**63}}, {"message": "x" * 2**20}, {"message": None}],
)
def test_what_the_store_could_not_hold_is_no_event(more):
    assert parse_event(line(type="metrics", **more)) is None
