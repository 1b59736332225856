"""Keys, refusals, faults and limits: what is ridden out, and what ends in which error."""

import socket

import langsmith
import pytest
import requests

from langchain_finetune import LangSmithRunChatLoader
from langchain_finetune.errors import (
    AccessDeniedError,
    AuthenticationFailedError,
    HostError,
    HostUnavailableError,
    HostUnreachableError,
    RateLimitedError,
    SelectionError,
)
from tests.fakes.langsmith_host import CUT, KEY, WORKSPACE, Failure
from tests.fakes.langsmith_loads import (
    client_of,
    left_over,
    load,
)
from tests.fakes.recorded_runs import chat_run


def test_the_project_may_come_from_the_environment(host, client, monkeypatch):
    host.runs = [chat_run(1, "hi")]
    monkeypatch.setenv("LANGSMITH_PROJECT", "my-app")
    assert LangSmithRunChatLoader(client=client).invoke({}).num_sessions == 1


def test_a_client_is_made_from_the_environment(host, monkeypatch):
    host.runs = [chat_run(1, "hi")]
    host.needs_workspace = True
    monkeypatch.setenv("LANGSMITH_ENDPOINT", host.url)
    monkeypatch.setenv("LANGSMITH_API_KEY", KEY)
    monkeypatch.setenv("LANGSMITH_WORKSPACE_ID", WORKSPACE)
    assert LangSmithRunChatLoader(project_name="my-app").invoke({}).num_sessions == 1


def test_an_unknown_project_is_named(host, client):
    with pytest.raises(SelectionError, match="has no project 'other': check its name"):
        LangSmithRunChatLoader(client=client).invoke("other")
    assert left_over() == []


def test_a_wrong_key_says_what_to_set(host):
    with pytest.raises(AuthenticationFailedError, match="set LANGSMITH_API_KEY") as caught:
        load(client_of(host, api_key="wrong"))
    assert "wrong" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:API key must be provided")
def test_no_key_at_all_says_what_to_set(host, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(AuthenticationFailedError, match="set LANGSMITH_API_KEY"):
        load(langsmith.Client(api_url=host.url, auto_batch_tracing=False))


def test_a_key_of_an_organization_says_that_a_workspace_is_needed(host, client):
    host.needs_workspace = True
    host.runs = [chat_run(1, "hi")]
    with pytest.raises(AccessDeniedError, match="LANGSMITH_WORKSPACE_ID") as caught:
        load(client)
    assert caught.value.code == "org_scoped_key_requires_workspace"
    assert load(client_of(host, workspace_id=WORKSPACE)).num_sessions == 1


class Login:
    """What the SDK keeps of somebody who is logged in: a token that it renews."""

    oauth_access_token = None

    def get_auth_headers(self):
        return {"x-api-key": KEY}


@pytest.mark.filterwarnings("ignore:API key must be provided")
def test_a_login_takes_the_place_of_a_key(host, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    client = langsmith.Client(api_url=host.url, auto_batch_tracing=False)
    client._profile_auth = Login()
    host.runs = [chat_run(1, "hi")]
    assert [load(client).num_sessions for _ in range(2)] == [1, 1]


@pytest.mark.filterwarnings("ignore:API key must be provided")
@pytest.mark.parametrize("header", ["x-api-key", "X-Proxy"])
def test_headers_of_a_proxy_take_the_place_of_a_key(host, monkeypatch, tmp_path, header):
    monkeypatch.setenv("HOME", str(tmp_path))
    host.key_header = header.lower()
    client = langsmith.Client(api_url=host.url, headers={header: KEY}, auto_batch_tracing=False)
    host.runs = [chat_run(1, "hi")]
    assert load(client).num_sessions == 1


def test_a_session_of_a_person_is_used(host):
    session = requests.Session()
    session.headers["x-proxy"] = "mine"
    host.runs = [chat_run(1, "hi")]
    assert load(client_of(host, session=session)).num_sessions == 1
    assert {request.headers.get("x-proxy") for request in host.requests} == {"mine"}


def test_a_workspace_of_the_environment_is_not_mixed_into_another_client(host, client, monkeypatch):
    monkeypatch.setenv("LANGSMITH_TENANT_ID", WORKSPACE)
    host.runs = [chat_run(1, "hi")]
    load(client)
    assert {request.headers.get("x-tenant-id") for request in host.requests} == {None}


def test_an_unreachable_host_is_named(clock):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        client = langsmith.Client(api_url=url, api_key=KEY, auto_batch_tracing=False)
        with pytest.raises(
            HostUnreachableError, match=f"{url} cannot be reached.*LANGSMITH_ENDPOINT"
        ) as caught:
            load(client)
    assert caught.value.is_retryable
    assert sum(clock.sleeps) > 60


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (422, SelectionError, "refuses the query"),
        (400, SelectionError, "refuses the query"),
        (403, AccessDeniedError, "key"),
        (501, HostUnavailableError, "501"),
        (418, HostError, "418"),
    ],
)
def test_what_the_server_refuses_is_a_clear_error_at_once(host, clock, status, error, message):
    host.fails(1, status)
    with pytest.raises(error, match=message):
        load(client_of(host))
    assert (len(host.queries), clock.sleeps) == (1, [])


def test_an_unknown_column_is_named_without_what_stands_beside_it(host, client):
    body = {"detail": [{"loc": ["body", "select", 3], "input": "my secret", "msg": "my secret"}]}
    host.failures = {1: [Failure(422, body=body)]}
    with pytest.raises(SelectionError, match=r"it names body\.select\.3") as caught:
        load(client)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, CUT])
def test_what_passes_is_ridden_out(host, client, clock, status):
    host.runs = [chat_run(1, "hi")]
    host.fails(1, status, status, status)
    assert load(client).num_sessions == 1
    assert sum(clock.sleeps) == pytest.approx(1 + 2 + 4)


def test_half_an_answer_is_asked_for_again(host, client, clock):
    host.runs = [chat_run(1, "hi")]
    host.failures = {1: [Failure(200, body=b'{"runs": [')]}
    assert load(client).num_sessions == 1


def test_what_does_not_pass_is_given_up_after_minutes(host, client, clock):
    host.fails(1, *[503] * 20)
    with pytest.raises(HostUnavailableError, match="503"):
        load(client)
    assert 60 < sum(clock.sleeps) < 600
    assert len(host.queries) == 8


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({}, 10), ({"retry_after": "37"}, 37), ({"retry_after": "soon"}, 10), ({"retry_after": "-1"}, 10)],
)
def test_a_limit_is_waited_out_as_long_as_the_host_asks(host, client, clock, headers, seconds):
    host.runs = [chat_run(1, "hi")]
    host.fails(1, 429, **headers)
    assert load(client).num_sessions == 1
    assert sum(clock.sleeps) == pytest.approx(seconds)


def test_a_limit_without_an_end_is_an_error(host, client, clock):
    host.fails(1, *[429] * 20)
    with pytest.raises(RateLimitedError, match="try again later"):
        load(client)
