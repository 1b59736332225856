"""Sync and async by the same test: `await color(trainer, "invoke", rows)` calls `invoke` or `ainvoke`."""

from typing import Any


class Color:
    """Calls a method, or its async twin.

    Args:
        is_async: Which of the two.
    """

    def __init__(self, *, is_async: bool) -> None:
        self.is_async = is_async

    async def __call__(self, owner: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        if self.is_async:
            return await getattr(owner, f"a{name}")(*args, **kwargs)
        return getattr(owner, name)(*args, **kwargs)


COLORS = {"sync": Color(is_async=False), "async": Color(is_async=True)}
