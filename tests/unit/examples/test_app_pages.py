"""docs/apps: the code of each page is carried out as it stands, against the fake host."""

import re
import shutil
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from langchain_finetune import AliasStore, FineTuneRunnable
from langchain_finetune.trainers.hosts.connection import Connection
from tests.fakes.openai_host import FakeHost
from tests.fakes.training_rows import call, rows

ROOT = Path(__file__).parents[3]
BASE = "gpt-4.1-mini-2025-04-14"


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    """Every client of OpenAI reaches this fake."""
    host = FakeHost(bases=(BASE, "gpt-4.1"))
    host.answer = lambda body: {"role": "assistant", "content": f"8, says {body['model']}"}
    http_client = httpx2.Client(transport=host.transport())

    class Client(openai.OpenAI):
        def __init__(self, **options: Any) -> None:
            super().__init__(**{"max_retries": 0, **options, "http_client": http_client})

    monkeypatch.setattr(openai, "OpenAI", Client)
    monkeypatch.setitem(Connection.__init__.__kwdefaults__, "sleep", lambda _: None)
    monkeypatch.setenv("OPENAI_API_KEY", host.key)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://host/v1")
    return host


def carry_out(page: str, **names: Any) -> dict[str, Any]:
    """Execute the Python of a page, block by block, and return its names."""
    text = (ROOT / "docs" / "apps" / page).read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    namespace: dict[str, Any] = {"__name__": "page", **names}
    for block in blocks:
        exec(compile(block, page, "exec"), namespace)
    return namespace


def test_swap_the_model(host: FakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "examples" / "calculator" / "runs.jsonl", tmp_path)
    names = carry_out("swap-the-model.md")
    tuned = names["tuned"].model
    assert names["answer"] == f"8, says {tuned}"
    assert {names[way].model_name for way in ("by_job", "by_name", "by_json", "model")} == {tuned}
    assert names["chain"].invoke({"question": "What's 56/7?"}) == f"8, says {tuned}"


@pytest.fixture
def tuned(host: FakeHost) -> Any:
    model = FineTuneRunnable(f"openai:{BASE}").invoke(rows())
    AliasStore().promote("app@production", model)
    return model


def test_alternatives_and_fallbacks(host: FakeHost, tuned: Any) -> None:
    names = carry_out("alternatives-and-fallbacks.md")
    assert names["by_big"].content == "8, says gpt-4.1"
    assert names["by_tuned"].content == f"8, says {tuned.model_name}"
    assert names["answer"].content == f"8, says {tuned.model_name}"
    chosen = names["with_tools"].with_config(configurable={"model": "tuned"})
    chosen.invoke("What's 56/7?")
    last = host.sent("POST", "/chat/completions")[-1].body
    assert (last["model"], last["tools"][0]["function"]["name"]) == (tuned.model_name, "Calculator")


def test_the_big_model_answers_where_the_tuned_one_is_away_or_calls_nothing(
    host: FakeHost, tuned: Any
) -> None:
    names = carry_out("alternatives-and-fallbacks.md")
    asked = len(host.sent("POST", "/chat/completions"))
    host.fail("POST", "/chat/completions", 404)
    assert names["model"].invoke("What's 56/7?").content == "8, says gpt-4.1"

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        if body["model"] == tuned.model_name:
            return {"role": "assistant", "content": "Let me calculate that for you."}
        calls = [call(arguments='{"num1": 56, "num2": 7}')]
        return {"role": "assistant", "content": None, "tool_calls": calls}

    host.answer = answer
    assert names["chain"].invoke("What's 56/7?").num2 == 7
    models = [request.body["model"] for request in host.sent("POST", "/chat/completions")[asked:]]
    assert models == [tuned.model_name, "gpt-4.1"] * 2


def test_provider_strings(host: FakeHost, tuned: Any) -> None:
    names = carry_out("provider-strings.md", JOB=f"openai:{next(iter(host.jobs))}")
    assert names["model"].model_name == BASE
    assert names["model"].metadata is None
    for way in ("tuned", "same", "elsewhere"):
        assert names[way].invoke("What's 56/7?").content == f"8, says {tuned.model_name}"
    assert names["said"]["messages"][-1].content == f"8, says {tuned.model_name}"
