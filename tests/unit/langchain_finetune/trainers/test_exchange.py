import asyncio

import pytest

from langchain_finetune.trainers.exchange import Call, Sleep, arun, run, within


def work(log):
    try:
        first = yield Call(lambda _: None)
        log.append(first)
        try:
            yield Sleep(1.0)
        except ValueError as e:
            log.append(str(e))
        return "result"
    finally:
        log.append("closed")


class Performer:
    def __init__(self, outcomes):
        self.outcomes = list(outcomes)

    def __call__(self, act):
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    async def asynchronously(self, act):
        await asyncio.sleep(0)
        return self(act)


@pytest.fixture(params=["sync", "async"])
def perform(request):
    async def do(exchange, outcomes):
        performer = Performer(outcomes)
        if request.param == "sync":
            return run(exchange, performer)
        return await arun(exchange, performer.asynchronously)

    return do


async def test_outcomes_are_sent_in_and_failures_thrown_in(perform):
    log = []
    assert await perform(work(log), ["answer", ValueError("no sleep")]) == "result"
    assert log == ["answer", "no sleep", "closed"]


async def test_a_failure_that_the_exchange_does_not_handle_comes_out(perform):
    log = []
    with pytest.raises(KeyError):
        await perform(work(log), [KeyError("gone")])
    assert log == ["closed"]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, asyncio.CancelledError])
async def test_an_interruption_ends_the_exchange_at_once(perform, interruption):
    log = []
    with pytest.raises(interruption):
        await perform(work(log), [interruption()])
    assert log == ["closed"]


async def test_an_exchange_can_be_held_to_a_time_for_each_call(perform):
    log, acts = [], []

    def watched(exchange):
        act = next(exchange)
        while True:
            acts.append(act)
            try:
                act = exchange.send((yield act))
            except StopIteration as end:
                return end.value

    assert await perform(watched(within(work(log), 5.0)), ["answer", None]) == "result"
    assert (acts[0].timeout, acts[0].max_retries) == (5.0, 0)
    assert acts[1] == Sleep(1.0)
    assert log == ["answer", "closed"]


async def test_what_holds_an_exchange_to_a_time_passes_failures_on(perform):
    log = []
    assert await perform(within(work(log), 5.0), ["answer", ValueError("no sleep")]) == "result"
    with pytest.raises(KeyError):
        await perform(within(work(log), 5.0), [KeyError("gone")])
    assert log == ["answer", "no sleep", "closed", "closed"]
