import asyncio
import threading
from typing import Any

import pytest
from langchain_core.runnables import RunnableGenerator, RunnableLambda
from langchain_core.tracers.base import BaseTracer
from pydantic import ValidationError

from langchain_finetune._stage import Event, Stage, adrive, drive, result_of
from langchain_finetune.handles import Handle


class Rows(Handle):
    rows: tuple[Any, ...]


class Counting(Stage[Any, int]):
    """Counts rows; each row is a step."""

    fail_at: int | None = None

    def _accept(self, given):
        return Rows(rows=tuple(given))

    def _run(self, accepted, config):
        return drive(self._steps(accepted), config)

    async def _arun(self, accepted, config):
        return await adrive(self._steps(accepted), config)

    def _steps(self, accepted):
        for number, _ in enumerate(accepted.rows):
            if number == self.fail_at:
                msg = "broken row"
                raise ValueError(msg)
            yield Event("counted", {"number": number})
        return len(accepted.rows)


class Recorder(BaseTracer):
    """Keeps the runs that were traced."""

    def __init__(self):
        super().__init__()
        self.traced = []

    def _persist_run(self, run):
        self.traced.append(run)


def test_invoke_runs_the_steps():
    assert Counting().invoke(["a", "b"]) == 2


async def test_ainvoke_runs_the_steps():
    assert await Counting().ainvoke(["a", "b"]) == 2


def test_result_of_runs_steps_outside_of_any_run():
    assert result_of(Counting()._steps(Rows(rows=(1, 2, 3)))) == 3


def test_unknown_settings_are_refused():
    with pytest.raises(ValidationError, match="fial_at"):
        Counting(fial_at=1)


def test_keyword_arguments_of_invoke_are_refused():
    with pytest.raises(TypeError, match="Counting takes no arguments besides its input, got stop"):
        Counting().invoke([], stop=["x"])


async def test_keyword_arguments_of_ainvoke_are_refused():
    with pytest.raises(TypeError, match="got stop"):
        await Counting().ainvoke([], stop=["x"])


def chunks(*values):
    def generate(_):
        yield from values

    return RunnableGenerator(generate)


def test_lists_that_are_streamed_in_are_all_counted():
    assert list((chunks([1, 2], [3], [4, 5]) | Counting()).stream(None)) == [5]


async def test_lists_that_are_streamed_in_are_all_counted_async():
    async def generate(_):
        yield [1, 2]
        yield [3]

    pipe = RunnableGenerator(generate) | Counting()
    assert [result async for result in pipe.astream(None)] == [3]


def test_a_stream_of_single_rows_is_an_error_and_not_the_last_row():
    with pytest.raises(TypeError, match="got its input in 2 chunks of dict: yield lists of rows instead"):
        list((chunks({"row": 1}, {"row": 2}) | Counting()).stream(None))


async def test_a_stream_of_single_rows_is_an_error_async():
    async def generate(_):
        yield {"row": 1}
        yield {"row": 2}

    with pytest.raises(TypeError, match="yield lists of rows instead"):
        [result async for result in (RunnableGenerator(generate) | Counting()).astream(None)]


def test_an_upstream_that_yields_nothing_runs_nothing():
    assert list(Counting().transform(iter([]))) == []


async def test_an_upstream_that_yields_nothing_runs_nothing_async():
    async def generate():
        return
        yield

    assert [result async for result in Counting().atransform(generate())] == []


def test_closing_a_stream_early_is_quiet():
    stream = (chunks([1], [2]) | Counting()).stream(None)
    assert next(stream) == 2
    stream.close()


def test_a_generator_is_read_before_the_traced_run_opens():
    recorder = Recorder()
    Counting().invoke((row for row in ["secret row"]), config={"callbacks": [recorder]})
    (run,) = recorder.traced
    assert run.inputs == {"input": Rows(rows=("secret row",))}


def test_settings_of_the_run_reach_the_trace():
    recorder = Recorder()
    config = {"callbacks": [recorder], "run_name": "mine", "tags": ["t"], "metadata": {"m": 1}}
    Counting().with_config(tags=["u"]).invoke([1], config=config)
    (run,) = recorder.traced
    assert run.name == "mine"
    assert sorted(run.tags) == ["t", "u"]
    assert run.extra["metadata"]["m"] == 1


async def test_events_reach_astream_events():
    events = [event async for event in Counting().astream_events([1, 2], version="v2")]
    custom = [event for event in events if event["event"] == "on_custom_event"]
    assert [(event["name"], event["data"]) for event in custom] == [
        ("counted", {"number": 0}),
        ("counted", {"number": 1}),
    ]


def test_an_error_inside_the_work_is_traced_as_one():
    recorder = Recorder()
    with pytest.raises(ValueError, match="broken row"):
        Counting(fail_at=1).invoke([1, 2], config={"callbacks": [recorder]})
    assert "broken row" in recorder.traced[0].error


async def test_an_error_inside_the_work_comes_through_async():
    with pytest.raises(ValueError, match="broken row"):
        await Counting(fail_at=1).ainvoke([1, 2])


async def test_a_cancelled_ainvoke_stops_after_the_step_under_way_and_cleans_up():
    entered, leave, closed = threading.Event(), threading.Event(), threading.Event()
    steps_run = []

    def steps():
        try:
            for number in range(5):
                steps_run.append(number)
                entered.set()
                leave.wait(5)
                yield Event("step", {})
        finally:
            closed.set()

    generator = steps()  # held here, so that only `adrive` can close it
    task = asyncio.create_task(adrive(generator, {}))
    await asyncio.to_thread(entered.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    leave.set()
    assert await asyncio.to_thread(closed.wait, 5)
    assert steps_run == [0]


def test_steps_are_closed_when_a_listener_fails():
    closed = []

    def steps():
        try:
            yield Event("step", {})
        finally:
            closed.append(True)

    # No run is open: LangChain has nobody to send the event to.
    with pytest.raises(RuntimeError, match="parent run id"):
        drive(steps(), {})
    assert closed == [True]


async def test_steps_are_closed_when_a_listener_fails_async():
    closed = []

    def steps():
        try:
            yield Event("step", {})
        finally:
            closed.append(True)

    with pytest.raises(RuntimeError, match="parent run id"):
        await adrive(steps(), {})
    assert closed == [True]


def test_a_stage_is_serializable_under_its_public_home():
    assert Counting.is_lc_serializable()
    assert Counting().to_json()["id"] == ["langchain_finetune", "Counting"]


def test_a_function_before_a_stage_may_return_the_whole_input():
    assert (RunnableLambda(lambda count: list(range(count))) | Counting()).invoke(4) == 4
