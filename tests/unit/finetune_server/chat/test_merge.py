"""Several streams read as one: all items, no stream left open."""

import asyncio
from contextlib import aclosing

import pytest

from finetune_server.chat.merge import merged


class Stream:
    """Yields some letters, then fails or hangs if told to; remembers that it was closed."""

    def __init__(self, letters: str, *, fails: bool = False, hangs: bool = False) -> None:
        self.letters, self.fails, self.hangs, self.is_closed = letters, fails, hangs, False

    async def items(self):
        try:
            for letter in self.letters:
                await asyncio.sleep(0)
                yield letter
            if self.fails:
                message = "broken"
                raise RuntimeError(message)
            if self.hangs:
                await asyncio.Event().wait()
        finally:
            self.is_closed = True


async def test_all_items_come_in_the_order_of_their_stream():
    found = [item async for item in merged([Stream("abc").items(), Stream("x").items(), Stream("").items()])]
    assert [letter for index, letter in found if index == 0] == ["a", "b", "c"]
    assert [letter for index, letter in found if index == 1] == ["x"]
    assert len(found) == 4


async def test_the_first_failure_ends_all():
    failing, hanging = Stream("a", fails=True), Stream("b", hangs=True)
    with pytest.raises(RuntimeError, match="broken"):
        async for _ in merged([failing.items(), hanging.items()]):
            pass
    assert failing.is_closed
    assert hanging.is_closed


async def test_closing_closes_all():
    streams = [Stream("a", hangs=True), Stream("b", hangs=True)]
    async with aclosing(merged([stream.items() for stream in streams])) as items:
        await anext(items)
        await anext(items)
    assert all(stream.is_closed for stream in streams)
