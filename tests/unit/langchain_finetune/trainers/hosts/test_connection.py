import httpx2
import openai
import pytest

from langchain_finetune.errors import AuthenticationFailedError
from langchain_finetune.hosts import OPENAI
from langchain_finetune.trainers.exchange import Call, Sleep, Tell
from langchain_finetune.trainers.hosts.connection import Connection

GIVEN = {
    "api_key": "sk-1",
    "base_url": "http://host/v1",
    "organization": "org-1",
    "project": "p-1",
    "timeout": 7.0,
}


def settings(client):
    return (str(client.base_url), client.api_key, client.organization, client.project, client.timeout)


def test_the_async_client_is_made_after_the_sync_one():
    client = openai.OpenAI(**GIVEN)
    assert settings(Connection(OPENAI, client).async_client) == settings(client)


def test_the_sync_client_is_made_after_the_async_one():
    client = openai.AsyncOpenAI(**GIVEN)
    assert settings(Connection(OPENAI, async_client=client).client) == settings(client)


def test_given_clients_are_used_as_they_are():
    client, async_client = openai.OpenAI(**GIVEN), openai.AsyncOpenAI(**GIVEN)
    connection = Connection(OPENAI, client, async_client)
    assert connection.client is client
    assert connection.async_client is async_client


def test_openais_own_client_reads_the_environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere/v1")
    connection = Connection(OPENAI)
    assert settings(connection.client)[:2] == ("http://elsewhere/v1/", "sk-env")
    assert settings(connection.async_client)[:2] == ("http://elsewhere/v1/", "sk-env")


def test_a_missing_key_says_where_it_comes_from():
    with pytest.raises(AuthenticationFailedError, match="OPENAI_API_KEY"):
        _ = Connection(OPENAI).client


def test_a_client_without_a_key_is_refused():
    client = openai.OpenAI(api_key="sk-1", base_url="http://host/v1")
    client.api_key = ""
    with pytest.raises(AuthenticationFailedError, match="no key of its own"):
        Connection(OPENAI, client)


def pauses_and_reports():
    yield Sleep(3.0)
    yield Tell("progress")
    return "done"


def test_pauses_and_reports_go_to_their_seams():
    slept, told = [], []
    connection = Connection(OPENAI, openai.OpenAI(**GIVEN), sleep=slept.append)
    assert connection.run(pauses_and_reports(), told.append) == "done"
    assert (slept, told) == ([3.0], ["progress"])


@pytest.mark.parametrize("is_awaited", [False, True])
async def test_pauses_and_reports_go_to_their_seams_in_async_code(is_awaited):
    slept, told = [], []

    async def sleep(seconds):
        slept.append(seconds)

    async def tell(progress):
        told.append(progress)

    connection = Connection(OPENAI, openai.OpenAI(**GIVEN), asleep=sleep)
    assert await connection.arun(pauses_and_reports(), tell if is_awaited else told.append) == "done"
    assert (slept, told) == ([3.0], ["progress"])


def test_a_call_sets_its_own_retries_and_time(monkeypatch):
    def answer(request):
        return httpx2.Response(200, json={"object": "list", "data": []})

    client = openai.OpenAI(**GIVEN, http_client=httpx2.Client(transport=httpx2.MockTransport(answer)))
    used = []

    def call():
        yield Call(lambda c: used.append((c.max_retries, c.timeout)) or c.models.list(), 0, 2.0)
        yield Call(lambda c: used.append((c.max_retries, c.timeout)) or c.models.list())

    Connection(OPENAI, client).run(call())
    assert used == [(0, 2.0), (2, 7.0)]


def test_a_mistake_of_ours_is_not_taken_for_an_answer_that_cannot_be_read():
    def call():
        yield Call(lambda client: client.no_such_method())

    with pytest.raises(AttributeError):
        Connection(OPENAI, openai.OpenAI(**GIVEN)).run(call())
