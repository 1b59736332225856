import json

import httpx2
import pytest
from langchain_core.load import dumps, load
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool

from langchain_finetune._spool import state_directory
from langchain_finetune.trainers.local.chat_model import LocalChatOpenAI
from langchain_finetune.trainers.local.server import LocalServer
from langchain_finetune.trainers.local.transport import Endpoint
from tests.fakes.training_rows import TOOL

TUNED = "ft:smollm2-135m-instruct:local::a"


@pytest.fixture
def requests():
    return []


@pytest.fixture
def model(requests):
    def answer(request):
        requests.append((request.url.path, json.loads(request.content)))
        return httpx2.Response(200, json={"count": 21, "max_model_len": 2048, "tokens": [1, 2, 3]})

    return LocalChatOpenAI(
        model=TUNED,
        base_url="http://127.0.0.1:1/v1",
        api_key="sk-local-x",
        http_client=httpx2.Client(transport=httpx2.MockTransport(answer)),
    )


def test_tokens_of_a_text_are_the_servers(model, requests):
    assert model.get_token_ids("What's 56/7?") == [1, 2, 3]
    assert model.get_num_tokens("What's 56/7?") == 3
    assert requests[0] == ("/v1/tokenize", {"model": TUNED, "prompt": "What's 56/7?"})


@tool
def ping(host: str) -> str:
    """Ping a host."""
    return host


def test_tokens_of_messages_are_counted_as_they_would_be_sent(model, requests):
    call = {"name": "ping", "args": {"host": "a"}, "id": "c1"}
    messages = [
        HumanMessage("Ping a"),
        AIMessage("", tool_calls=[call]),
        ToolMessage("pong", tool_call_id="c1"),
    ]
    assert model.get_num_tokens_from_messages(messages, tools=[ping, TOOL]) == 21
    [(path, body)] = requests
    assert path == "/v1/tokenize"
    assert body["model"] == TUNED
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "tool"]
    assert body["messages"][1]["tool_calls"][0]["function"]["name"] == "ping"
    assert [tool["function"]["name"] for tool in body["tools"]] == ["ping", "Calculator"]


def test_without_url_and_key_the_server_of_the_state_directory_is_asked_for(monkeypatch):
    asked = []

    def endpoint(self):
        asked.append(self.directory)
        return Endpoint("http://127.0.0.1:7/v1", "sk-local-y")

    monkeypatch.setattr(LocalServer, "endpoint", endpoint)
    model = LocalChatOpenAI(model=TUNED)
    assert asked == [state_directory() / "server"]
    assert (model.openai_api_base, model.openai_api_key.get_secret_value()) == (
        "http://127.0.0.1:7/v1",
        "sk-local-y",
    )


@pytest.mark.filterwarnings("ignore:The function `load` is in beta")
def test_a_dump_holds_no_key_and_loads_again_with_the_key_of_the_state_directory(model, monkeypatch):
    monkeypatch.setattr(LocalServer, "endpoint", lambda _: Endpoint("http://127.0.0.1:7/v1", "sk-local-y"))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-for-openai-alone")
    text = dumps(model)
    assert "sk-local-x" not in text + repr(model)
    again = load(
        json.loads(text),
        allowed_objects=[LocalChatOpenAI],
        valid_namespaces=["langchain_finetune"],
        secrets_from_env=True,
    )
    assert again.model_name == TUNED
    assert again.openai_api_key.get_secret_value() == "sk-local-y"


def test_a_proxy_of_the_environment_is_not_for_the_loopback(monkeypatch):
    monkeypatch.setenv("OPENAI_PROXY", "http://proxy:3128")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    model = LocalChatOpenAI(model=TUNED, base_url="http://127.0.0.1:1/v1", api_key="k")
    assert model.openai_proxy is None
    assert model.http_client.trust_env is False


def test_models_of_one_server_share_their_connections():
    given = {"base_url": "http://127.0.0.1:1/v1", "api_key": "k"}
    one, other = (LocalChatOpenAI(model=name, **given) for name in ("a", "b"))
    assert one.http_client is other.http_client
    assert one.http_async_client is other.http_async_client
