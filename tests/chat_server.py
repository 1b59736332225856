"""The chat routes over real HTTP in this process, with real engines and a store that a test fills by hand."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import httpx
import openai
import psutil
import uvicorn
from fastapi import FastAPI
from langchain_openai import ChatOpenAI

from finetune_server.app import _add_error_handlers
from finetune_server.inference.pool import EnginePool
from finetune_server.routes import chat_completions
from finetune_server.storage.records import ModelRecord

KEY = "sk-local-test"


class MemoryStore:
    """The two methods of the server's store that the chat routes use."""

    def __init__(self) -> None:
        self.models: dict[str, ModelRecord] = {}

    def add_base(self, name: str) -> str:
        """Makes a base known under its own name."""
        return self._add(name, name)

    def add_tuned(
        self, model_id: str, base: str, *, gguf: Path | None = None, peft: Path | None = None
    ) -> str:
        """Makes a tuned model known."""
        return self._add(model_id, base, adapter_gguf=gguf, adapter_dir=peft, job_id="ftjob-1")

    def find_model(self, model_id: str) -> ModelRecord | None:
        """The store's own."""
        return self.models.get(model_id)

    def list_models(self) -> list[ModelRecord]:
        """The store's own."""
        return [model for model in self.models.values() if model.job_id]

    def _add(self, model_id: str, base: str, **more) -> str:
        fields = {"adapter_gguf": None, "adapter_dir": None, "job_id": None, "created_at": 0, **more}
        self.models[model_id] = ModelRecord(id=model_id, base=base, **fields)
        return model_id


class ChatServer:
    """Started by `with`; nothing of it is left behind.

    Args:
        directory: For the engines' log.
    """

    def __init__(self, directory: Path) -> None:
        self.store = MemoryStore()
        self.engine_log = directory / "inference.log"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        self._server = uvicorn.Server(uvicorn.Config(self._app(), log_level="warning", lifespan="on"))
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started:
            threading.Event().wait(0.01)
        return self

    def __exit__(self, *_) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=30)
        self._listener.close()

    def client(self) -> openai.OpenAI:
        """The stock client; errors are not retried, so that a test sees them."""
        return openai.OpenAI(base_url=self.base_url, api_key=KEY, max_retries=0, timeout=120)

    def async_client(self) -> openai.AsyncOpenAI:
        """The stock asynchronous client."""
        return openai.AsyncOpenAI(base_url=self.base_url, api_key=KEY, max_retries=0, timeout=120)

    def http(self) -> httpx.Client:
        """For what the stock client would not send."""
        return httpx.Client(base_url=self.base_url, timeout=120)

    def chat_model(self, model: str, **more) -> ChatOpenAI:
        """LangChain's client."""
        return ChatOpenAI(
            model=model, base_url=self.base_url, api_key=KEY, max_retries=0, temperature=0, **more
        )

    def engines(self) -> list[psutil.Process]:
        """The living inference children of this process."""
        return [
            child
            for child in psutil.Process().children()
            if "finetune_server.inference" in child.cmdline() and child.status() != psutil.STATUS_ZOMBIE
        ]

    def _app(self) -> FastAPI:
        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[None]:
            app.state.engines = EnginePool(self.engine_log)
            yield
            await app.state.engines.aclose()

        app = FastAPI(lifespan=lifespan)
        app.state.store = self.store
        app.include_router(chat_completions.router, prefix="/v1")
        _add_error_handlers(app)
        return app

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._listener]))
