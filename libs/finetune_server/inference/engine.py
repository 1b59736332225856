"""One running inference child, seen from the server: what it is, and the requests it answers."""

import asyncio
import logging
import secrets
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Self

import httpx2
import orjson

from finetune_server.bases import Base
from finetune_server.cpus import num_cpus
from finetune_server.inference.budget import ContextBudget
from finetune_server.inference.child import end_child, start_child
from finetune_server.inference.completion import (
    CompletionChunk,
    CompletionRequest,
    EngineDiedError,
    EngineError,
    EngineFacts,
)
from finetune_server.inference.engine_config import EngineConfig, EngineName
from finetune_server.inference.engine_wire import completion_body, completion_chunk, error_of, read_events
from finetune_server.logs import fields
from finetune_server.rendering.render import Segment

MAX_CONTEXT_LENGTH = 8192
"""Of prompt and answer, in tokens; a longer context costs its memory at the start, used or not."""

_SILENCE_SECONDS = 600.0
"""Until an engine that says nothing is given up: a long prompt on a slow machine takes minutes."""
_NUM_SLOTS: dict[EngineName, int] = {"llama.cpp": 4, "transformers": 1}
_UNSUPPORTED: dict[EngineName, frozenset[str]] = {
    "llama.cpp": frozenset(),
    "transformers": frozenset({"presence_penalty", "frequency_penalty", "logit_bias"}),
}
"""The capability rows: the parameters that an engine has no way to honor."""

_log = logging.getLogger(__name__)


def engine_name(base: Base) -> EngineName:
    """Which engine serves a base."""
    return "llama.cpp" if base.gguf_path else "transformers"


class Engine:
    """A child that has loaded one base and its adapters; made by `start`."""

    def __init__(self, base: Base, config: EngineConfig, process: Process, url: str) -> None:
        self.adapters = config.adapters
        self.facts = EngineFacts(
            name=config.engine,
            context_length=config.context_length,
            base_sha256=base.sha256,
            unsupported=_UNSUPPORTED[config.engine],
        )
        self._name = f"{config.engine} engine of the base model `{base.name}`"
        self._process = process
        self._budget = ContextBudget(config.context_length)
        self._control_ids: dict[str, list[int]] = {}
        self._num_uses = 0
        self._is_unused = asyncio.Event()
        self._is_unused.set()
        self._client = httpx2.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {config.key}"},
            timeout=httpx2.Timeout(_SILENCE_SECONDS, connect=10.0, pool=None),
            limits=httpx2.Limits(max_connections=None),
            trust_env=False,
        )

    @classmethod
    async def start(cls, base: Base, adapters: Sequence[Path], log_path: Path) -> Self:
        """Start a child and wait until it listens.

        Raises:
            EngineError: It did not come up; the log says why.
        """
        config = _config(base, adapters)
        try:
            process, url = await start_child(config, log_path)
        except EngineError as error:
            msg = (
                f"The {config.engine} engine did not start for the base model `{base.name}` with "
                f"{len(config.adapters)} adapters: {error}. {log_path} says why."
            )
            raise EngineError(msg) from error
        engine = cls(base, config, process, url)
        told = fields(engine=config.engine, base=base.name, num_adapters=len(adapters), pid=process.pid)
        _log.info("engine started", extra=told)
        return engine

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the child still runs, as far as is known."""
        return self._process.returncode is None

    @contextmanager
    def in_use(self) -> Iterator[Self]:
        """Keep the engine from being retired for the block."""
        self._num_uses += 1
        self._is_unused.clear()
        try:
            yield self
        finally:
            self._num_uses -= 1
            if not self._num_uses:
                self._is_unused.set()

    async def encode(self, segments: Sequence[Segment]) -> list[int]:
        """Return the token ids of a rendered conversation; only control segments become control tokens."""
        for text in {segment.text for segment in segments if segment.is_control} - self._control_ids.keys():
            self._control_ids[text] = await self._tokenize([text], is_control=True)
        pieces: list[int | str] = []
        for segment in segments:
            pieces.extend(self._control_ids[segment.text] if segment.is_control else [segment.text])
        return await self._tokenize(pieces, is_control=False)

    async def _tokenize(self, pieces: Sequence[int | str], *, is_control: bool) -> list[int]:
        body = {"content": pieces, "add_special": False, "parse_special": is_control}
        async with self._told_errors():
            response = await self._client.post("/tokenize", content=orjson.dumps(body))
            if response.status_code != httpx2.codes.OK:
                raise EngineError(error_of(response.content))
            tokens: list[int] = orjson.loads(response.content)["tokens"]
            return tokens

    async def stream(
        self, request: CompletionRequest, adapter: Path | None
    ) -> AsyncGenerator[CompletionChunk]:
        """Write an answer, piece by piece; the last piece says how it ended.

        Raises:
            EngineDiedError: The child ended; what was not written yet is lost.
            EngineError: The child answered with an error.
        """
        body = orjson.dumps(completion_body(request, [path == adapter for path in self.adapters]))
        async with (
            self._budget.reserve(len(request.prompt) + request.max_tokens),
            self._told_errors(),
            self._client.stream("POST", "/completion", content=body) as response,
        ):
            if response.status_code != httpx2.codes.OK:
                raise EngineError(error_of(await response.aread()))
            async for event in read_events(response.aiter_raw()):
                chunk = completion_chunk(event)
                yield chunk
                if chunk.completed:
                    return
            msg = f"The {self._name} broke an answer off."
            raise EngineError(msg)

    @asynccontextmanager
    async def _told_errors(self) -> AsyncIterator[None]:
        """Tell an engine that is gone from one that is in trouble."""
        try:
            yield
        except httpx2.TransportError as error:
            # The connection breaks a moment before the end of the process is known.
            with suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), timeout=1.0)
            if self.is_alive:
                msg = f"The {self._name} does not answer ({type(error).__name__})."
                raise EngineError(msg) from error
            msg = f"The {self._name} ended with code {self._process.returncode}."
            raise EngineDiedError(msg) from error

    async def retire(self) -> None:
        """Close the engine as soon as nothing uses it."""
        await self._is_unused.wait()
        await self.close()

    async def close(self) -> None:
        """End the child, whatever it is doing."""
        await self._client.aclose()
        await end_child(self._process)


def _config(base: Base, adapters: Sequence[Path]) -> EngineConfig:
    name = engine_name(base)
    model_path = base.gguf_path or base.hf_dir
    if model_path is None:
        msg = f"the base model `{base.name}` has neither a GGUF file nor a directory"
        raise EngineError(msg)
    return EngineConfig(
        engine=name,
        model_path=model_path,
        adapters=tuple(adapters),
        context_length=min(base.context_length, MAX_CONTEXT_LENGTH),
        num_slots=_NUM_SLOTS[name],
        num_threads=num_cpus(),
        key=secrets.token_urlsafe(32),
    )
