"""Room is given first come, first served, and always given back."""

import asyncio

import pytest

from finetune_server.inference.budget import ContextBudget


class Holder:
    """Takes room, and holds it until told to let go."""

    def __init__(self, budget: ContextBudget, num_tokens: int) -> None:
        self.has_room = False
        self._let_go = asyncio.Event()
        self.task = asyncio.create_task(self._hold(budget, num_tokens))

    async def let_go(self) -> None:
        self._let_go.set()
        await self.task

    async def _hold(self, budget: ContextBudget, num_tokens: int) -> None:
        async with budget.reserve(num_tokens):
            self.has_room = True
            await self._let_go.wait()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_fits_starts_at_once_and_who_does_not_waits():
    budget = ContextBudget(10)
    first, second, third = Holder(budget, 6), Holder(budget, 4), Holder(budget, 1)
    await settle()
    assert (first.has_room, second.has_room, third.has_room) == (True, True, False)
    await second.let_go()
    await settle()
    assert third.has_room
    await asyncio.gather(first.let_go(), third.let_go())


async def test_a_small_one_does_not_overtake_a_large_one():
    budget = ContextBudget(10)
    first, large, small = Holder(budget, 6), Holder(budget, 10), Holder(budget, 1)
    await settle()
    assert (large.has_room, small.has_room) == (False, False)
    await first.let_go()
    await settle()
    assert (large.has_room, small.has_room) == (True, False)
    await large.let_go()
    await small.let_go()


async def test_who_gives_up_waiting_makes_way():
    budget = ContextBudget(10)
    first, large, small = Holder(budget, 6), Holder(budget, 10), Holder(budget, 4)
    await settle()
    large.task.cancel()
    await settle()
    assert small.has_room
    await asyncio.gather(first.let_go(), small.let_go())
    await Holder(budget, 10).let_go()


async def test_who_gives_up_in_the_moment_of_getting_room_gives_it_back():
    budget = ContextBudget(10)
    first, second = Holder(budget, 10), Holder(budget, 10)
    await settle()
    first._let_go.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    second.task.cancel()
    await asyncio.wait([first.task, second.task])
    third = Holder(budget, 10)
    await settle()
    assert third.has_room
    await third.let_go()


async def test_an_error_gives_the_room_back():
    budget = ContextBudget(10)
    with pytest.raises(RuntimeError):
        async with budget.reserve(10):
            raise RuntimeError
    await Holder(budget, 10).let_go()
