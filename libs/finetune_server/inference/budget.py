"""Room in the context that all answers of an engine share."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class ContextBudget:
    """Lets an answer start when there is room for its prompt and all it may write, first come, first served.

    llama.cpp ends all running answers with an error when their common context overflows, those that would
    have fit too; so what might overflow has to wait.

    Args:
        total: The room, in tokens.
    """

    def __init__(self, total: int) -> None:
        self._free = total
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def reserve(self, num_tokens: int) -> AsyncIterator[None]:
        """Wait for the room, and hold it for the block."""
        await self._take(num_tokens)
        try:
            yield
        finally:
            self._give_back(num_tokens)

    async def _take(self, num_tokens: int) -> None:
        if not self._waiting and num_tokens <= self._free:
            self._free -= num_tokens
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((num_tokens, turn))
        try:
            await turn
        except asyncio.CancelledError:
            # The turn may have come in the very moment in which nobody wanted it any more.
            self._give_back(0 if turn.cancelled() else num_tokens)
            raise

    def _give_back(self, num_tokens: int) -> None:
        self._free += num_tokens
        while self._waiting:
            wanted, turn = self._waiting[0]
            if wanted > self._free and not turn.cancelled():
                return
            self._waiting.popleft()
            if not turn.cancelled():
                self._free -= wanted
                turn.set_result(None)
