import io
import re
import sys
from types import SimpleNamespace
from uuid import uuid4

import pytest
from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.runnables import RunnableLambda

from langchain_finetune.cli.live import NotebookLines, outlet_for
from langchain_finetune.cli.progress import ProgressPrinter, job_line


class Terminal(io.StringIO):
    def isatty(self):
        return True


def job(status="running", step=None, total=None, **more):
    data = {"job_id": "ftjob-1", "status": status, "step": step, "total_steps": total, "train_loss": None}
    return {**data, "seconds_left": None, "message": None, "reused": False, **more}


def line_of(data):
    return job_line(data).text()


@pytest.fixture
def no_rich(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)


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


def test_the_decision_of_a_gate_is_a_line():
    shown = show(io.StringIO(), ("gate", {"promoted": False, "model": "base", "reason": "no gain"}))
    assert shown == "gate: hands on base: no gain\n"


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


def test_a_terminal_has_one_line_that_is_drawn_again(no_rich):
    shown = show(
        Terminal(),
        ("job", job("running", 1, 4)),
        ("job", job("running", 2, 4)),
        ("job", job("succeeded", 4, 4)),
        ("convert", {"num_train": 3}),
    )
    assert shown.count("\n") == 2
    assert shown.count("\r\x1b[J") == 4
    assert shown.endswith("\n\r\x1b[Jconvert: 3 train\n")


def test_a_line_that_interrupts_a_bar_stands_above_it(no_rich):
    shown = show(Terminal(), ("job", job("running", 1, 4)), ("convert", {"num_train": 3}))
    assert "\r\x1b[Jconvert: 3 train\ntrain  [" in shown


def test_a_line_of_a_terminal_is_never_longer_than_it(monkeypatch, no_rich):
    monkeypatch.setenv("COLUMNS", "20")
    shown = show(Terminal(), ("job", job("running", 1, 4)))
    assert len(shown.removeprefix("\r\x1b[J")) == 19


def test_a_narrow_terminal_still_shows_loss_and_time_left(monkeypatch, no_rich):
    monkeypatch.setenv("COLUMNS", "80")
    running = job("running", 8, 32, train_loss=0.4123, seconds_left=125.0) | {"job_id": f"ftjob-{24 * 'a'}"}
    assert "8/32  loss 0.412  2:05 left" in show(Terminal(), ("job", running))


def test_a_job_line_has_bar_step_loss_and_time_left():
    line = line_of(job("running", 8, 32, train_loss=0.4123, seconds_left=125.0))
    assert line == "train  [######..................] 8/32  loss 0.412  2:05 left  running  ftjob-1"


@pytest.mark.parametrize(("seconds", "text"), [(5.0, "0:05"), (59.6, "1:00"), (3725.0, "1:02:05")])
def test_the_time_left_is_in_minutes_and_seconds(seconds, text):
    assert f"{text} left" in line_of(job(seconds_left=seconds))


def test_a_job_that_was_there_before_says_so():
    assert line_of(job("succeeded", 4, 4, reused=True)).endswith("succeeded (found again)  ftjob-1")


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


def test_a_host_that_does_not_answer_is_shown_with_the_time_to_the_next_look():
    data = job("running", 8, 32, retry_in_seconds=16.0, message="OpenAI cannot be reached")
    assert line_of(data).startswith(
        "train  [######..................] 8/32  no answer, again in 0:16  running"
    )
    assert line_of(data).endswith("OpenAI cannot be reached")


def test_a_job_that_succeeded_and_is_waited_for_is_no_end():
    waiting = job("succeeded", 4, 4, waiting_for="the name of its model", message="the job has succeeded")
    assert "waiting for the name of its model" in line_of(waiting)
    assert not job_line(waiting).is_end
    assert job_line(job("succeeded", 4, 4)).is_end


def test_losses_and_the_last_checkpoint_are_shown():
    data = job("running", 8, 32, train_loss=0.4, valid_loss=0.5, checkpoint_step=6)
    assert "loss 0.400  held out 0.500  running  checkpoint 6" in line_of(data)


def test_elsewhere_a_streak_of_failures_is_one_line_and_its_end_another():
    failures = [("job", job("running", retry_in_seconds=float(pause))) for pause in (2, 4, 8)]
    lines = show(io.StringIO(), ("job", job()), *failures, ("job", job())).splitlines()
    assert ["again in" in line for line in lines] == [False, True, False]


def test_several_jobs_have_a_line_each_and_one_that_ends_moves_up_for_good(no_rich):
    other = {"job_id": "ftjob-2"}
    shown = show(
        Terminal(),
        ("job", job("running", 1, 4)),
        ("job", job("running", 1, 4) | other),
        ("job", job("succeeded", 4, 4)),
        ("job", job("succeeded", 4, 4) | other),
    )
    lines = [line.split()[-2:] for line in shown.split("\x1b[1A")[-1].splitlines() if line.strip()]
    # Line 1 is left for good, line 2 is drawn over once more by its end.
    assert lines == [["succeeded", "ftjob-1"], ["running", "ftjob-2"], ["succeeded", "ftjob-2"]]
    assert shown.endswith("ftjob-2\n")


def test_an_interrupt_leaves_the_line_and_what_follows_stands_below(no_rich):
    stream = Terminal()
    printer = ProgressPrinter(stream)
    printer.on_custom_event("langchain_finetune_job", job("running", 1, 4), run_id=uuid4())
    printer.on_chain_error(KeyboardInterrupt(), run_id=uuid4())
    assert stream.getvalue().endswith("ftjob-1\n")
    printer.on_chain_error(KeyboardInterrupt(), run_id=uuid4())
    assert stream.getvalue().count("\n") == 1


def test_rich_colors_the_bar_and_keeps_to_the_width(monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown = show(Terminal(), ("job", job("running", 8, 32, train_loss=0.4123) | {"job_id": "f" * 80}))
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", shown).strip("\r\n")
    assert text.startswith("train  ")
    assert "8/32  loss 0.412" in text
    assert len(text) == 59
    assert "\x1b[1m" in shown
    assert "\x1b[?25l" not in shown


def test_a_dumb_terminal_gets_plain_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert show(Terminal(), ("job", job())) == "train  running  ftjob-1\n"


class Display:
    """IPython's `display` and the handles that it gives."""

    def __init__(self):
        self.outputs = []

    def __call__(self, data, *, raw, display_id):
        assert raw
        assert display_id is True
        self.outputs.append(data["text/plain"])
        return self

    def update(self, data, *, raw):
        assert raw
        self.outputs[-1] = data["text/plain"]


def test_a_notebook_has_one_output_that_is_updated_in_place():
    display = Display()
    lines = NotebookLines(display)
    lines.say("convert: 3 train")
    for data in (job("queued"), job("running", 1, 4), job("succeeded", 4, 4)):
        lines.show("job", job_line(data))
    assert len(display.outputs) == 1
    assert display.outputs[0].splitlines()[0] == "convert: 3 train"
    assert "succeeded" in display.outputs[0].splitlines()[1]
    lines.show("job 2", job_line(job("queued")))
    assert len(display.outputs) == 2


def test_a_notebook_is_known_by_its_kernel_alone(monkeypatch):
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=Display()))
    assert isinstance(outlet_for(None), NotebookLines)
    assert not isinstance(outlet_for(io.StringIO()), NotebookLines)
    shell.kernel = None
    assert not isinstance(outlet_for(None), NotebookLines)


def test_a_job_that_is_left_ends_its_line_and_says_so(no_rich):
    shown = show(Terminal(), ("job", job("running", 1, 4)), ("job", job("running", 1, 4, left=True)))
    assert shown.endswith("running  not waited for any more  ftjob-1\n")
