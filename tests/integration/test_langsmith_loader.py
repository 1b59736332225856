"""The loader with the real langsmith client against a LangSmith over real HTTP."""

import socket

import langsmith
import pytest
import urllib3

from langchain_finetune import LangSmithRunChatLoader, RunSelection
from langchain_finetune._spool import read_jsonl, state_directory
from langchain_finetune.errors import (
    AuthenticationFailedError,
    HostError,
    HostUnreachableError,
    SelectionError,
)
from tests.fakes.langsmith_host import KEY, langsmith_host
from tests.fakes.recorded_runs import calculator_run, chat_run, run_id

GOOD = {"user_score": {"n": 1, "avg": 1.0}}
BAD = {"user_score": {"n": 1, "avg": 0.0}}


@pytest.fixture
def host():
    with langsmith_host() as host:
        yield host


@pytest.fixture
def client(host):
    client = langsmith.Client(api_url=host.url, api_key=KEY, auto_batch_tracing=False)
    yield client
    client.close()


def root(number, feedback=None):
    return chat_run(number, "root", run_type="chain", feedback_stats=feedback, inputs={}, outputs={})


def child(number, parent, **fields):
    return calculator_run(number, number, 2, trace_id=run_id(parent), parent_run_id=run_id(parent), **fields)


def ids(sessions):
    return [row["run_id"] for row in read_jsonl(sessions.path)]


def test_all_pages_of_a_project_are_read(host, client):
    host.runs = [chat_run(number, f"question {number}") for number in range(250)]
    sessions = LangSmithRunChatLoader(client=client, project_name="my-app").invoke({})
    assert ids(sessions) == [run_id(number) for number in range(250)]
    assert sessions.source == "the LangSmith project 'my-app'"
    assert [query.get("cursor") for query in host.queries] == [None, "100", "200"]


def test_neither_attachments_nor_a_limit_are_asked_for(host, client):
    host.runs = [chat_run(number, "hi") for number in range(30)]
    LangSmithRunChatLoader(client=client, project_name="my-app", limit=25).invoke({})
    (query,) = host.queries
    assert "s3_urls" not in query["select"]
    assert "limit" not in query
    assert query["run_type"] == "llm"


def test_a_limit_ends_the_paging(host, client):
    host.runs = [chat_run(number, "hi") for number in range(350)]
    sessions = LangSmithRunChatLoader(client=client, project_name="my-app", limit=150).invoke({})
    assert sessions.num_sessions == 150
    assert len(host.queries) == 2


def test_feedback_on_the_root_or_on_the_run_selects(host, client):
    host.runs = [
        root(101, GOOD),
        child(1, 101),
        root(102, BAD),
        child(2, 102),
        root(103),
        child(3, 103, feedback_stats=GOOD),
        root(104, GOOD),
        child(4, 104, feedback_stats=BAD),
        chat_run(5, "alone", feedback_stats=GOOD),
    ]
    sessions = LangSmithRunChatLoader(
        client=client, project_name="my-app", feedback={"user_score": 1}
    ).invoke({})
    assert sorted(ids(sessions)) == [run_id(1), run_id(3), run_id(5)]
    assert all(row["feedback"] == {"user_score": 1.0} for row in read_jsonl(sessions.path))


def test_two_keys_of_feedback_may_lie_on_two_runs(host, client):
    host.runs = [
        root(101, GOOD),
        child(1, 101, feedback_stats={"style": {"n": 1, "avg": 1.0}}),
        root(102, GOOD),
    ]
    host.runs += [child(2, 102)]
    wanted = {"user_score": 1, "style": 1}
    sessions = LangSmithRunChatLoader(client=client, project_name="my-app", feedback=wanted).invoke({})
    assert ids(sessions) == [run_id(1)]


def test_named_fields_are_asked_of_the_server(host, client):
    host.runs = [
        chat_run(1, "hi", tags=["prod", 'quo"ted']),
        chat_run(2, "hi", tags=["prod"]),
        chat_run(3, "hi", tags=["prod", 'quo"ted'], name="other"),
        chat_run(4, "hi", tags=["prod", 'quo"ted'], start_time="2026-01-07T00:00:00"),
    ]
    for run in host.runs:
        run["extra"]["metadata"]["env"] = "prod"
    loader = LangSmithRunChatLoader(
        client=client,
        project_name="my-app",
        tags=["prod", 'quo"ted'],
        metadata={"env": "prod"},
        run_name="ChatOpenAI",
        start_time="2026-01-01",
        end_time="2026-01-06",
    )
    sessions = loader.invoke({})
    assert ids(sessions) == [run_id(1)]
    assert sessions.num_runs == 1


def test_filters_of_the_query_language_are_passed_on(host, client):
    host.runs = [root(101), child(1, 101), child(2, 101, name="other")]
    loader = LangSmithRunChatLoader(
        client=client,
        project_name="my-app",
        filter='eq(name, "other")',
        trace_filter='eq(name, "ChatOpenAI")',
        tree_filter='eq(name, "any")',
    )
    assert ids(loader.invoke({})) == [run_id(2)]
    assert host.queries[0]["tree_filter"] == 'eq(name, "any")'


def test_run_ids_are_fetched_in_batches(host, client):
    host.runs = [root(1000, GOOD), *(child(number, 1000) for number in range(250))]
    wanted = [run_id(number) for number in range(250)]
    sessions = LangSmithRunChatLoader(iter(wanted), client).invoke({"feedback": {"user_score": 1}})
    assert ids(sessions) == wanted
    assert len([query for query in host.queries if "inputs" in query["select"]]) == 3


def test_an_unknown_run_id_is_reported(host, client):
    host.runs = [chat_run(1, "hi")]
    sessions = LangSmithRunChatLoader([run_id(1), run_id(2)], client).invoke({})
    assert ids(sessions) == [run_id(1)]
    assert (sessions.num_runs, sessions.rejected_by_reason) == (2, {"not_found": 1})


def test_an_iterator_of_runs_gives_the_same_runs_twice(host, client):
    host.runs = [chat_run(number, "hi") for number in range(120)]
    with pytest.warns(DeprecationWarning, match="list_runs"):
        runs = client.list_runs(project_name="my-app")
    loader = LangSmithRunChatLoader(runs, client)
    first = loader.invoke({})
    num_queries = len(host.queries)
    assert loader.invoke({}) == first
    assert len(list(loader.lazy_load())) == 120
    assert len(host.queries) == num_queries


async def test_ainvoke_gives_the_same(host, client):
    host.runs = [chat_run(number, "hi") for number in range(3)]
    loader = LangSmithRunChatLoader(client=client)
    assert await loader.ainvoke("my-app") == loader.invoke(RunSelection(project_name="my-app"))


def test_the_project_may_come_from_the_environment(host, client, monkeypatch):
    host.runs = [chat_run(1, "hi")]
    monkeypatch.setenv("LANGSMITH_PROJECT", "my-app")
    assert LangSmithRunChatLoader(client=client).invoke({}).num_sessions == 1


def test_a_client_is_made_from_the_environment(host, monkeypatch):
    host.runs = [chat_run(1, "hi")]
    monkeypatch.setenv("LANGSMITH_ENDPOINT", host.url)
    monkeypatch.setenv("LANGSMITH_API_KEY", KEY)
    assert LangSmithRunChatLoader(project_name="my-app").invoke({}).num_sessions == 1


def test_an_unknown_project_is_named(host, client):
    with pytest.raises(SelectionError, match="has no project 'other': check its name"):
        LangSmithRunChatLoader(client=client).invoke("other")


def test_a_wrong_key_says_what_to_set(host):
    client = langsmith.Client(api_url=host.url, api_key="wrong", auto_batch_tracing=False)
    with pytest.raises(AuthenticationFailedError, match="set LANGSMITH_API_KEY") as caught:
        LangSmithRunChatLoader(client=client).invoke("my-app")
    assert "wrong" not in str(caught.value)
    client.close()


def test_an_unreachable_host_is_named():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        client = langsmith.Client(
            api_url=url, api_key=KEY, auto_batch_tracing=False, retry_config=urllib3.Retry(0)
        )
        with pytest.raises(
            HostUnreachableError, match=f"{url} cannot be reached.*LANGSMITH_ENDPOINT"
        ) as caught:
            LangSmithRunChatLoader(client=client).invoke("my-app")
        client.close()
    assert caught.value.is_retryable


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (422, SelectionError, "refuses the query"),
        (403, AuthenticationFailedError, "key"),
        (501, HostError, "501"),
    ],
)
def test_what_the_server_refuses_is_a_clear_error(host, client, status, error, message):
    host.failures = {1: status}
    with pytest.raises(error, match=message):
        LangSmithRunChatLoader(client=client).invoke("my-app")


def test_a_failure_half_way_leaves_no_session_file_and_the_next_load_is_whole(host, client):
    host.runs = [chat_run(number, "hi") for number in range(150)]
    host.failures = {2: 501}
    loader = LangSmithRunChatLoader(client=client, project_name="my-app")
    with pytest.raises(HostError):
        loader.invoke({})
    assert list((state_directory() / "sessions").iterdir()) == []
    assert loader.invoke({}).num_sessions == 150
