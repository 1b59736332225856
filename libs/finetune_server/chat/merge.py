"""Several answers written at the same time, read as one stream."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TypeVar

_Item = TypeVar("_Item")


async def merged(streams: Sequence[AsyncGenerator[_Item]]) -> AsyncGenerator[tuple[int, _Item]]:
    """Yield the items of all streams as they come, each with the place of its stream.

    The first stream to fail ends them all, and so does closing this one.
    """
    arrived: asyncio.Queue[tuple[int, _Item] | Exception | None] = asyncio.Queue()

    async def read(index: int, stream: AsyncGenerator[_Item]) -> None:
        try:
            async with aclosing(stream) as items:
                async for item in items:
                    arrived.put_nowait((index, item))
        except Exception as error:  # noqa: BLE001 - raised again where the items are read
            arrived.put_nowait(error)
        else:
            arrived.put_nowait(None)

    tasks = [asyncio.create_task(read(index, stream)) for index, stream in enumerate(streams)]
    try:
        num_open = len(tasks)
        while num_open:
            entry = await arrived.get()
            if isinstance(entry, Exception):
                raise entry
            if entry is None:
                num_open -= 1
            else:
                yield entry
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
