"""Questions to models, many at a time: rounds of them, written once and run sync and async.

A comparison is a generator of rounds. Each is a Runnable with prompts, and what to do with each outcome as
soon as it is there; what `take` returns is sent as the custom event. Core's own `batch_as_completed` tells
no times, and its async twin asks on after a cancellation.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from concurrent.futures import as_completed
from contextlib import aclosing, closing
from typing import Any, Final, NamedTuple, TypeVar

from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import get_executor_for_config

COMPARE_EVENT: Final = "langchain_finetune_compare"
"""Name of the custom event after each answer; its data is `{"done", "total", "model"}`."""

Result = TypeVar("Result")


class Outcome(NamedTuple):
    """What came of one prompt."""

    answer: AIMessage | Exception
    seconds: float


class Round(NamedTuple):
    """Prompts for one model."""

    asked: Runnable[Any, AIMessage]
    prompts: Sequence[Any]
    take: Callable[[int, Outcome], Mapping[str, Any] | None]
    """Takes in what came of a prompt, by its index; returns the data of the event, None for no event."""
    marks: Callable[[RunnableConfig], RunnableConfig]
    """Makes the config of the calls: they are marked as this package's own."""


Rounds = Generator[Round, None, Result]


class _End(NamedTuple):
    value: Any


def ask(rounds: Rounds[Result], config: RunnableConfig) -> Result:
    """Ask round after round and return what the generator returns."""
    with closing(rounds):
        while isinstance(step := _advance(rounds), Round):
            with closing(_outcomes(step, step.marks(config))) as outcomes:
                for index, outcome in outcomes:
                    if data := step.take(index, outcome):
                        dispatch_custom_event(COMPARE_EVENT, dict(data), config=config)
        return step.value  # type: ignore[no-any-return]


async def aask(rounds: Rounds[Result], config: RunnableConfig) -> Result:
    """Ask round after round and return what the generator returns; a cancellation asks no further."""
    while isinstance(step := await asyncio.to_thread(_advance, rounds), Round):
        async with aclosing(_aoutcomes(step, step.marks(config))) as outcomes:
            async for index, outcome in outcomes:
                if data := step.take(index, outcome):
                    await adispatch_custom_event(COMPARE_EVENT, dict(data), config=config)
    return step.value  # type: ignore[no-any-return]


def _advance(rounds: Rounds[Any]) -> Round | _End:
    # StopIteration cannot cross a future, so the end is a value.
    try:
        return next(rounds)
    except StopIteration as end:
        return _End(end.value)


def _outcomes(step: Round, config: RunnableConfig) -> Generator[tuple[int, Outcome], None, None]:
    def one(prompt: Any) -> Outcome:
        started = time.perf_counter()
        try:
            answer: AIMessage | Exception = step.asked.invoke(prompt, config)
        except Exception as e:  # noqa: BLE001  one question that fails is in the report
            answer = e
        return Outcome(answer, time.perf_counter() - started)

    with get_executor_for_config(config) as executor:
        futures = {executor.submit(one, prompt): index for index, prompt in enumerate(step.prompts)}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            for future in futures:
                future.cancel()


async def _aoutcomes(step: Round, config: RunnableConfig) -> AsyncGenerator[tuple[int, Outcome], None]:
    gate = asyncio.Semaphore(config.get("max_concurrency") or 1)

    async def one(index: int, prompt: Any) -> tuple[int, Outcome]:
        async with gate:
            started = time.perf_counter()
            try:
                answer: AIMessage | Exception = await step.asked.ainvoke(prompt, config)
            except Exception as e:  # noqa: BLE001  one question that fails is in the report
                answer = e
            return index, Outcome(answer, time.perf_counter() - started)

    tasks = [asyncio.create_task(one(index, prompt)) for index, prompt in enumerate(step.prompts)]
    try:
        for task in asyncio.as_completed(tasks):
            yield await task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
