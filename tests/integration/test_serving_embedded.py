"""The example, served: a real training by the embedded server, ordered over HTTP, asked by its alias."""

import importlib.util
import os
from pathlib import Path

import httpx
import pytest

from langchain_finetune import AliasStore
from langchain_finetune.cli.main import main as langchain_finetune
from tests.app_process import AppProcess
from tests.tiny_base import write_tiny_base

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "langserve_app"
KEY = "app-key-0123456789abcdef"

# The example names a port; a test takes one that is free.
PROGRAM = """
import asyncio, os, socket, sys
sys.path.insert(0, {example!r})
import app, uvicorn
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
config = uvicorn.Config(app.make_app(os.environ["TARGET"], [os.environ["APP_KEY"]]), log_level="warning")
asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))
"""


@pytest.fixture
def client():
    spec = importlib.util.spec_from_file_location("example_client", EXAMPLE / "client.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def app(tmp_path, monkeypatch):
    monkeypatch.setenv("LANGCHAIN_FINETUNE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "libs"), os.environ.get("PYTHONPATH", "")]))
    base = write_tiny_base(tmp_path / "tiny.gguf")
    process = AppProcess("-c", PROGRAM.format(example=str(EXAMPLE)), TARGET=f"local:{base}", APP_KEY=KEY)
    yield process
    written = process.stop()
    langchain_finetune(["stop"])
    assert KEY not in written


def test_the_example_trains_promotes_and_answers(app, client, capsys):
    assert httpx.post(f"{app.url}/finetune/invoke", json={"input": {}}).status_code == 401
    tuned = client.trained(app.url, KEY, {"limit": 30}, pause_seconds=0.2)
    assert tuned.provider == "local"
    assert tuned.metrics["train_loss"] > 0
    assert AliasStore().resolve("calculator@production").model == tuned.model
    # A model of random weights says anything: that it answers by both ways is the point.
    behind = client.model_behind_the_alias(app.url, KEY).bind(max_tokens=4)
    assert isinstance(behind.invoke("What's 56/7?").content, str)
    through = tuned.to_chat_model(api_key=KEY).bind(max_tokens=4)
    assert through.invoke("What's 56/7?").response_metadata["model_name"] == tuned.model
    pages = (httpx.get(f"{app.url}/finetune/{page}") for page in ("playground", "docs"))
    assert [page.status_code for page in pages] == [200, 200]
    assert "preparing" in capsys.readouterr().err
