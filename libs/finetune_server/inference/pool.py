"""The engines of a server: started by the first request that needs one, replaced without a pause, closed."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from finetune_server.bases import Base, resolve_base
from finetune_server.errors import model_not_found
from finetune_server.inference.completion import (
    CompletionChunk,
    CompletionRequest,
    EngineError,
    EngineFacts,
)
from finetune_server.inference.engine import Engine, engine_name
from finetune_server.inference.engine_config import EngineName
from finetune_server.logs import fields
from finetune_server.rendering.render import Segment
from finetune_server.storage.records import ModelRecord

_MAX_BASES = 2
"""Loaded at a time: each costs its weights and its context in memory."""

_MAX_CHECKPOINTS = 6
"""Loaded at a time: there may be three a job, and most are never asked."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """The model that a request is for, and how to learn of all tuned ones, which are loaded with it."""

    model: ModelRecord
    list_tuned: Callable[[], Iterable[ModelRecord]]


class EnginePool:
    """One engine per base model, with the adapters of all models tuned from it, and of the checkpoints asked.

    A model whose adapter the running engine does not have starts a second engine with the whole list; from
    then on requests go there, and the first one ends with its last answer. An engine whose process has died
    is started again by the next request.

    All that is asked of the pool may end with an `EngineError` (the engine did not start, died, or answered
    with an error), an `UnknownBase` (the base is gone) or an `ApiError` (the adapter is gone).

    Args:
        log_path: Where the engines' processes write what goes wrong.
    """

    def __init__(self, log_path: Path) -> None:
        self._log_path = log_path
        self._engines: dict[str, Engine] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._retiring: dict[asyncio.Task[None], Engine] = {}

    async def facts(self, target: Target) -> EngineFacts:
        """Say what serves a model and what that cannot do."""
        return (await self._engine(target)).facts

    async def encode(self, target: Target, segments: Sequence[Segment]) -> tuple[int, ...]:
        """Return the token ids of a rendered conversation."""
        engine = await self._engine(target)
        with engine.in_use():
            return tuple(await engine.encode(segments))

    async def stream(self, target: Target, request: CompletionRequest) -> AsyncGenerator[CompletionChunk]:
        """Write an answer, piece by piece."""
        engine = await self._engine(target)
        adapter = _adapter(target.model, engine.facts.name)
        # Closed at once when the client goes, so that the engine stops there and then.
        with engine.in_use():
            async with aclosing(engine.stream(request, adapter)) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def aclose(self) -> None:
        """End all engines, whatever they are doing."""
        engines = [*self._engines.values(), *self._retiring.values()]
        self._engines.clear()
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*(engine.close() for engine in engines))

    async def _engine(self, target: Target) -> Engine:
        """Return an engine that has the model, the running one or a new one."""
        name = target.model.base
        if engine := self._running(target):
            return engine
        async with self._locks.setdefault(name, asyncio.Lock()):
            if engine := self._running(target):
                return engine
            engine = await self._start(target, self._engines.get(name))
            for replaced in (self._engines.pop(name, None), self._least_used()):
                if replaced:
                    self._retire(replaced)
            self._engines[name] = engine
            return engine

    def _running(self, target: Target) -> Engine | None:
        engine = self._engines.get(target.model.base)
        if engine is None or not engine.is_alive:
            return None
        if target.model.job_id and _adapter(target.model, engine.facts.name) not in engine.adapters:
            return None
        self._engines[target.model.base] = self._engines.pop(target.model.base)
        return engine

    def _least_used(self) -> Engine | None:
        """Take out the engine whose last request is longest ago, when there is no room for another."""
        if len(self._engines) < _MAX_BASES:
            return None
        return self._engines.pop(next(iter(self._engines)))

    async def _start(self, target: Target, replaced: Engine | None) -> Engine:
        base = await asyncio.to_thread(resolve_base, target.model.base)
        wanted, all_tuned = _adapters(target, base, replaced.adapters if replaced else ())
        try:
            return await Engine.start(base, all_tuned, self._log_path)
        except EngineError:
            if set(all_tuned) <= {wanted}:
                raise
            # One damaged adapter must not take the other models down with it.
            _log.warning(
                "starting an engine without the other models' adapters", extra=fields(base=base.name)
            )
            return await Engine.start(base, [wanted] if wanted else [], self._log_path)

    def _retire(self, engine: Engine) -> None:
        task = asyncio.create_task(engine.retire())
        self._retiring[task] = engine
        task.add_done_callback(self._retiring.pop)


def _adapters(target: Target, base: Base, loaded: Sequence[Path]) -> tuple[Path | None, list[Path]]:
    """Return the model's own adapter, and all to load: those of all models of its base that are there.

    Args:
        target: The model.
        base: Its base.
        loaded: What the engine has loaded that is to be replaced.

    Raises:
        ApiError: The model's own adapter is gone.
    """
    name = engine_name(base)
    wanted = _adapter(target.model, name)
    tuned = {
        path: model
        for model in target.list_tuned()
        if model.base == base.name and (path := _adapter(model, name)) and path.exists()
    }
    if target.model.job_id and wanted not in tuned:
        raise model_not_found(target.model.id)
    finished = [path for path, model in tuned.items() if model.step is None]
    return wanted, finished + _checkpoints(target.model, tuned, loaded)


def _checkpoints(
    wanted: ModelRecord, tuned: Mapping[Path, ModelRecord], loaded: Sequence[Path]
) -> list[Path]:
    """Return the checkpoints to load: those of the wanted one's job, then those that were asked before."""
    paths = [path for path, model in tuned.items() if model.step is not None]
    is_asked = wanted.step is not None
    # They are asked to be compared with each other.
    of_job = [path for path in paths if is_asked and tuned[path].job_id == wanted.job_id]
    asked_before = [path for path in loaded if path in paths]
    return list(dict.fromkeys(of_job + asked_before))[:_MAX_CHECKPOINTS]


def _adapter(model: ModelRecord, engine: EngineName) -> Path | None:
    return model.adapter_gguf if engine == "llama.cpp" else model.adapter_dir
