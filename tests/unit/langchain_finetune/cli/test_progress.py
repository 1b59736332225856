import io
from uuid import uuid4

import pytest
from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.runnables import RunnableLambda

from langchain_finetune.cli.progress import ProgressPrinter, job_line


class Terminal(io.StringIO):
    def isatty(self):
        return True


def job(status="running", step=None, total=None, **more):
    data = {"job_id": "ftjob-1", "status": status, "step": step, "total_steps": total, "train_loss": None}
    return {**data, "seconds_left": None, "message": None, "reused": False, **more}


def show(stream, *events):
    printer = ProgressPrinter(stream)
    for name, data in events:
        printer.on_custom_event(f"langchain_finetune_{name}", data, run_id=uuid4())
    return stream.getvalue()


def test_counts_of_the_stages_are_a_line_each():
    shown = show(
        io.StringIO(),
        ("load", {"num_runs": 260, "num_sessions": 230, "num_rejected": 30}),
        ("convert", {"num_train": 160, "num_validation": 20, "num_test": 50, "num_rejected": None}),
    )
    assert shown == "load: 260 runs, 230 sessions, 30 rejected\nconvert: 160 train, 20 validation, 50 test\n"


def test_elsewhere_there_is_a_line_at_each_change_of_state_and_each_tenth():
    steps = [("job", job("running", step, 100, train_loss=0.5)) for step in range(1, 101)]
    lines = show(io.StringIO(), ("job", job("queued")), ("job", job("running")), *steps).splitlines()
    assert [line.split()[1] for line in lines[:2]] == ["queued", "running"]
    assert [line.split()[2] for line in lines[2:]] == [f"{step}/100" for step in range(10, 101, 10)]


def test_the_end_is_always_shown():
    lines = show(
        io.StringIO(), ("job", job("running", 99, 100)), ("job", job("succeeded", 100, 100))
    ).splitlines()
    assert "succeeded" in lines[-1]


def test_a_terminal_has_one_line_that_is_drawn_again():
    shown = show(
        Terminal(),
        ("job", job("running", 1, 4)),
        ("job", job("running", 2, 4)),
        ("job", job("succeeded", 4, 4)),
        ("convert", {"num_train": 3}),
    )
    assert shown.count("\n") == 2
    assert shown.count("\r\x1b[2K") == 3
    assert shown.endswith("\nconvert: 3 train\n")


def test_a_line_that_interrupts_a_bar_starts_on_its_own():
    shown = show(Terminal(), ("job", job("running", 1, 4)), ("convert", {"num_train": 3}))
    assert "\nconvert: 3 train\n" in shown


def test_a_line_of_a_terminal_is_never_longer_than_it(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    shown = show(Terminal(), ("job", job("running", 1, 4)))
    assert len(shown.removeprefix("\r\x1b[2K")) == 19


def test_a_narrow_terminal_still_shows_loss_and_time_left(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    running = job("running", 8, 32, train_loss=0.4123, seconds_left=125.0) | {"job_id": f"ftjob-{24 * 'a'}"}
    assert "8/32  loss 0.412  2:05 left" in show(Terminal(), ("job", running))


def test_a_job_line_has_bar_step_loss_and_time_left():
    line = job_line(job("running", 8, 32, train_loss=0.4123, seconds_left=125.0))
    assert line == "train  [######..................] 8/32  loss 0.412  2:05 left  running  ftjob-1"


@pytest.mark.parametrize(("seconds", "text"), [(5.0, "0:05"), (59.6, "1:00"), (3725.0, "1:02:05")])
def test_the_time_left_is_in_minutes_and_seconds(seconds, text):
    assert f"{text} left" in job_line(job(seconds_left=seconds))


def test_a_job_that_was_there_before_says_so():
    assert job_line(job("succeeded", 4, 4, reused=True)).endswith("succeeded (found again)  ftjob-1")


def test_a_comparison_has_a_bar_for_each_model():
    events = [
        ("compare", {"done": done, "total": 40, "model": model})
        for model in ("a", "b")
        for done in range(1, 41)
    ]
    lines = show(io.StringIO(), *events).splitlines()
    assert lines[0].startswith("compare  [")
    assert lines[0].endswith("/40  a")
    assert lines[-1].endswith("40/40  b")
    assert 20 <= len(lines) <= 24


@pytest.mark.parametrize(
    "data",
    [
        None,
        "text",
        {},
        {"step": "x", "total_steps": None},
        {"step": 3, "total_steps": 0},
        {"step": -1, "total_steps": 2},
        {"train_loss": "low", "seconds_left": "soon"},
    ],
)
@pytest.mark.parametrize("name", ["job", "compare", "load", "convert", "else"])
@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_odd_data_does_no_harm(name, data, stream):
    show(stream(), (name, data))


def test_a_closed_stream_does_no_harm():
    stream = io.StringIO()
    stream.close()
    printer = ProgressPrinter(stream)
    printer.on_custom_event("langchain_finetune_job", job(), run_id=uuid4())


def test_without_a_stream_it_prints_to_standard_error(capsys):
    ProgressPrinter().on_custom_event("langchain_finetune_convert", {"num_train": 3}, run_id=uuid4())
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "convert: 3 train\n")


def test_it_hears_the_events_of_a_sync_pipe():
    stream = io.StringIO()
    stage = RunnableLambda(lambda _: dispatch_custom_event("langchain_finetune_convert", {"num_train": 3}))
    stage.invoke("x", {"callbacks": [ProgressPrinter(stream)]})
    assert stream.getvalue() == "convert: 3 train\n"


async def test_it_hears_the_events_of_an_async_pipe_in_order():
    stream = io.StringIO()

    async def work(_):
        for number in range(20):
            await adispatch_custom_event("langchain_finetune_convert", {"num_train": number})

    await RunnableLambda(work).ainvoke("x", {"callbacks": [ProgressPrinter(stream)]})
    assert stream.getvalue().splitlines() == [f"convert: {number} train" for number in range(20)]
