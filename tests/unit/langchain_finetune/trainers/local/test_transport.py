import json

import httpx2
import openai
import pytest

from langchain_finetune.errors import ServerStartError
from langchain_finetune.trainers.local import transport as local_transport
from langchain_finetune.trainers.local.transport import AsyncRevivingTransport, Endpoint, RevivingTransport

OLD, NEW = "http://127.0.0.1:1111/v1", "http://127.0.0.1:2222/v1"


REFUSED = httpx2.ConnectError("refused")


class Network:
    """Nobody listens at the old port any more; somebody does at the new one."""

    def __init__(self):
        self.requests = []
        self.num_revivals = 0

    def answer(self, request):
        self.requests.append((request.url.port, request.headers["authorization"], request.headers["host"]))
        if request.url.port == 1111:
            raise REFUSED
        return httpx2.Response(200, json={"body": json.loads(request.content or b"null")})

    def revive(self):
        self.num_revivals += 1
        return Endpoint(NEW, "sk-new")


@pytest.fixture
def network(monkeypatch):
    network = Network()
    monkeypatch.setattr(
        local_transport.httpx2, "HTTPTransport", lambda **_: httpx2.MockTransport(network.answer)
    )
    monkeypatch.setattr(
        local_transport.httpx2, "AsyncHTTPTransport", lambda **_: httpx2.MockTransport(network.answer)
    )
    return network


@pytest.fixture(params=["sync", "async"])
def post(request):
    async def send(revive, url, content):
        headers = {"Authorization": "Bearer sk-old"}
        if request.param == "sync":
            with httpx2.Client(transport=RevivingTransport(revive)) as client:
                return client.post(url, json=content, headers=headers)
        async with httpx2.AsyncClient(transport=AsyncRevivingTransport(revive)) as client:
            return await client.post(url, json=content, headers=headers)

    return send


async def test_a_request_that_nobody_took_is_sent_again_to_the_revived_server(network, post):
    response = await post(network.revive, f"{OLD}/chat/completions", {"a": 1})
    assert response.json() == {"body": {"a": 1}}
    assert network.requests == [
        (1111, "Bearer sk-old", "127.0.0.1:1111"),
        (2222, "Bearer sk-new", "127.0.0.1:2222"),
    ]
    assert str(response.request.url) == f"{NEW}/chat/completions"


async def test_a_server_that_answers_is_left_alone(network, post):
    await post(network.revive, f"{NEW}/models", None)
    assert network.num_revivals == 0


async def test_a_request_that_broke_off_is_not_sent_again(network, post, monkeypatch):
    reset = httpx2.ReadError("reset")

    def broken(_):
        raise reset

    monkeypatch.setattr(network, "answer", broken)
    for name in ("HTTPTransport", "AsyncHTTPTransport"):
        monkeypatch.setattr(local_transport.httpx2, name, lambda **_: httpx2.MockTransport(broken))
    with pytest.raises(httpx2.ReadError):
        await post(network.revive, f"{NEW}/chat/completions", {})
    assert network.num_revivals == 0


def test_why_there_is_no_server_reaches_the_caller_through_the_openai_client(network):
    def revive():
        msg = "the embedded server ended with status 1."
        raise ServerStartError(msg)

    http_client = httpx2.Client(transport=RevivingTransport(revive))
    with (
        openai.OpenAI(api_key="k", base_url=OLD, http_client=http_client) as client,
        pytest.raises(ServerStartError, match="status 1"),
    ):
        client.models.list()
