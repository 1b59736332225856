"""The Runnable that every stage is: strict settings, direct input spooled first, nothing lost in a stream.

A stage is a thin shell. `_accept` turns what a person hands over into a small handle before the traced
run opens, so that tracers and callbacks only ever see handles; `_run` and `_arun` do the work.
"""

import asyncio
import contextvars
from abc import abstractmethod
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from typing import Any, Generic, NamedTuple, TypeVar, cast

from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.runnables import RunnableConfig, RunnableSerializable, ensure_config
from langchain_core.runnables.utils import Input, Output
from pydantic import ConfigDict
from typing_extensions import override

from langchain_finetune._served import chosen_fields, refuse_settings, refuse_untrusted, served_projects

Result = TypeVar("Result")


class Event(NamedTuple):
    """A custom event of LangChain's callbacks: JSON values under a fixed name."""

    name: str
    data: Mapping[str, Any]


Steps = Generator[Event, None, Result]
"""Work in steps: an event after each, the result as the generator's return value."""


class Stage(RunnableSerializable[Input, Output]):
    """A stage of the pipe."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", populate_by_name=True)

    @classmethod
    @override
    def is_lc_serializable(cls) -> bool:
        return True

    @classmethod
    @override
    def get_lc_namespace(cls) -> list[str]:
        return ["langchain_finetune"]  # where every stage is public: moving a module breaks no saved chain

    @abstractmethod
    def _accept(self, given: Any) -> Any:
        """Turn what was handed over into a handle; runs before the traced run opens."""

    async def _aaccept(self, given: Any) -> Any:
        return await asyncio.to_thread(self._accept, given)

    @abstractmethod
    def _run(self, accepted: Any, config: RunnableConfig) -> Output:
        """Do the work, inside the traced run."""

    @abstractmethod
    async def _arun(self, accepted: Any, config: RunnableConfig) -> Output:
        """Do the work, inside the traced run; a cancellation ends it."""

    @override
    def invoke(
        self,
        input: Input,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Output:
        self._refuse(kwargs)
        accepted = self._accept(self._allowed(input, config))
        # Core hands `config` over by name; its types only know it as a third argument.
        return self._call_with_config(cast("Any", self._run), accepted, config)

    @override
    async def ainvoke(
        self,
        input: Input,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Output:
        self._refuse(kwargs)
        accepted = await self._aaccept(self._allowed(input, config))
        return await self._acall_with_config(cast("Any", self._arun), accepted, config)

    @override
    def transform(
        self,
        input: Iterator[Input],
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[Output]:
        chunks = list(input)
        if chunks:
            yield self.invoke(_join(chunks, self.get_name()), config, **kwargs)

    @override
    async def atransform(
        self,
        input: AsyncIterator[Input],
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Output]:
        chunks = [chunk async for chunk in input]
        if chunks:
            yield await self.ainvoke(_join(chunks, self.get_name()), config, **kwargs)

    def _refuse(self, kwargs: Mapping[str, Any]) -> None:
        if kwargs:
            msg = (
                f"{self.get_name()} takes no arguments besides its input, got {', '.join(sorted(kwargs))}: "
                "give settings to its constructor."
            )
            raise TypeError(msg)

    def _allowed(self, given: Any, config: RunnableConfig | None) -> Any:
        """Take from requests over HTTP only what a stranger may choose."""
        config = ensure_config(config)
        projects = served_projects(config)
        if projects is None:
            return given
        refuse_settings(config.get("configurable") or {})
        refuse_untrusted(self, given, projects)
        return chosen_fields(self, given)


def _join(chunks: list[Any], name: str) -> Any:
    # The default of LCEL keeps only the last of several chunks that cannot be added: it would train on
    # the last row and say nothing.
    if len(chunks) == 1:
        return chunks[0]
    rows: list[Any] = []
    for chunk in chunks:
        if not isinstance(chunk, list):
            msg = (
                f"{name} got its input in {len(chunks)} chunks of {type(chunk).__name__}: "
                "yield lists of rows instead, or the whole input at once."
            )
            raise TypeError(msg)
        rows += chunk
    return rows


def result_of(steps: Steps[Result]) -> Result:
    """Run steps to their end outside of any traced run: their events have no listener."""
    while isinstance(event := _advance(steps), Event):
        continue
    return event.value


def drive(steps: Steps[Result], config: RunnableConfig) -> Result:
    """Run steps to their end, sending the event of each."""
    try:
        while True:
            event = _advance(steps)
            if not isinstance(event, Event):
                return event.value
            dispatch_custom_event(event.name, dict(event.data), config=config)
    finally:
        steps.close()


async def adrive(steps: Steps[Result], config: RunnableConfig) -> Result:
    """Run steps to their end, each in a thread; a cancellation ends the work after the step under way."""
    loop = asyncio.get_running_loop()
    while True:
        step = loop.run_in_executor(None, contextvars.copy_context().run, _advance, steps)
        try:
            event = await asyncio.shield(step)
        except BaseException:
            _close_after(step, steps)
            raise
        if not isinstance(event, Event):
            return event.value
        await adispatch_custom_event(event.name, dict(event.data), config=config)


def _close_after(step: asyncio.Future[Any], steps: Steps[Any]) -> None:
    # A generator cannot be closed while a thread runs it.
    def close(done: asyncio.Future[Any]) -> None:
        if not done.cancelled():
            done.exception()  # marks it as seen: the awaiting task has its own end already
        steps.close()

    step.add_done_callback(close)


class _End(NamedTuple, Generic[Result]):
    value: Result


def _advance(steps: Steps[Result]) -> Event | _End[Result]:
    # StopIteration cannot cross a future, so the end is a value.
    try:
        return next(steps)
    except StopIteration as end:
        return _End(end.value)
