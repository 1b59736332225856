"""The dataset loader with the real langsmith client against a LangSmith over real HTTP."""

import socket

import langsmith
import pytest
import urllib3

from langchain_finetune import LangSmithDatasetChatLoader, TrainingDataConverter
from langchain_finetune._spool import read_jsonl
from langchain_finetune.errors import (
    AuthenticationFailedError,
    HostUnavailableError,
    HostUnreachableError,
    RateLimitedError,
    SelectionError,
)
from tests.fakes.dataset_host import KEY, NAME, dataset_host, example
from tests.fakes.recorded_runs import CALCULATOR

CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "Calculator", "arguments": '{"num1": 1,"num2":2}'},
}


def kv(number, **fields):
    inputs = {"messages": [{"role": "user", "content": f"question {number}"}], "tools": [CALCULATOR]}
    answer = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    return example(number, inputs, {"messages": [answer]}, **fields)


@pytest.fixture
def host():
    with dataset_host() as host:
        yield host


@pytest.fixture
def client(host):
    client = langsmith.Client(api_url=host.url, api_key=KEY, auto_batch_tracing=False)
    yield client
    client.close()


def rows(sessions):
    return list(read_jsonl(sessions.path))


def test_all_examples_come_with_their_tools(host, client):
    host.versions["latest"] = [kv(number) for number in range(1, 251)]
    sessions = LangSmithDatasetChatLoader(dataset_name=NAME, client=client).invoke({})
    assert sessions.num_sessions == sessions.num_runs == 250
    assert sessions.source == f"the LangSmith dataset '{NAME}'"
    row = rows(sessions)[0]
    assert row["messages"] == [{"role": "user", "content": "question 1"}]
    assert row["answer"]["tool_calls"] == [CALL]
    assert row["tools"] == [CALCULATOR]
    assert len(host.queries) == 3


async def test_ainvoke_gives_the_same_and_rows_come_out_of_the_pipe(host, client):
    host.versions["latest"] = [kv(number) for number in range(1, 31)]
    loader = LangSmithDatasetChatLoader(NAME, client)
    assert (
        await loader.ainvoke({})
        == loader.invoke({})
        == LangSmithDatasetChatLoader(client=client).invoke(NAME)
    )
    data = (loader | TrainingDataConverter()).invoke({})
    assert next(read_jsonl(data.train))["tools"] == [CALCULATOR]


def test_splits_versions_and_metadata_narrow_it(host, client):
    ours, held = {"dataset_split": ["train"], "team": "a"}, {"dataset_split": ["test"], "team": "b"}
    host.versions["latest"] = [kv(1, metadata=ours), kv(2, metadata=held), kv(3, metadata=ours)]
    host.versions["prod"] = [kv(1, metadata=ours)]

    def ids(**settings):
        sessions = LangSmithDatasetChatLoader(NAME, client, **settings).invoke({})
        return [int(row["run_id"][-2:]) for row in rows(sessions)]

    assert ids() == [1, 2, 3]
    assert ids(splits=["test"]) == [2]
    assert ids(as_of="prod") == [1]
    assert ids(metadata={"team": "a"}) == [1, 3]
    assert ids(limit=2) == [1, 2]
    loader = LangSmithDatasetChatLoader(NAME, client, splits=["test"])
    assert loader.invoke({"splits": []}).num_sessions == 3
    assert ids(filter='exists(metadata, "team")') == [1, 2, 3]
    assert host.queries[-1]["filter"] == ['exists(metadata, "team")']


def test_what_cannot_be_read_is_a_rejection_with_the_examples_id(host, client):
    host.versions["latest"] = [kv(1), example(2, {"a": 1}, {"b": 2}), example(3, {}, None)]
    sessions = LangSmithDatasetChatLoader(NAME, client).invoke({})
    assert (sessions.num_sessions, sessions.num_rejected) == (1, 2)
    assert [line["run_id"][-1] for line in read_jsonl(sessions.rejections)] == ["2", "3"]


def test_lazy_load_gives_messages(host, client):
    host.versions["latest"] = [kv(1)]
    (session,) = LangSmithDatasetChatLoader(dataset_name=NAME, client=client).load()
    assert session["messages"][-1].tool_calls[0]["args"] == {"num1": 1, "num2": 2}


@pytest.mark.parametrize(
    ("status", "error", "text"),
    [
        (401, AuthenticationFailedError, "LANGSMITH_API_KEY"),
        (403, AuthenticationFailedError, "LANGSMITH_API_KEY"),
        (422, SelectionError, "check splits, as_of, metadata, filter"),
    ],
)
def test_refusals_are_clear(host, client, status, error, text):
    host.status = status
    with pytest.raises(error, match=text):
        LangSmithDatasetChatLoader(NAME, client).invoke({})


@pytest.mark.parametrize(("status", "error"), [(429, RateLimitedError), (500, HostUnavailableError)])
def test_faults_are_retryable_errors(host, status, error):
    host.status = status
    once = urllib3.Retry(total=0, respect_retry_after_header=False)
    client = langsmith.Client(api_url=host.url, api_key=KEY, retry_config=once, auto_batch_tracing=False)
    with pytest.raises(error, match=f"dataset '{NAME}'") as caught:
        LangSmithDatasetChatLoader(NAME, client).invoke({})
    assert caught.value.is_retryable
    client.close()


def test_a_dataset_that_is_not_there_is_named(client):
    with pytest.raises(SelectionError, match="has no dataset 'other'"):
        LangSmithDatasetChatLoader("other", client).invoke({})
    with pytest.raises(SelectionError, match="holds no session"):
        LangSmithDatasetChatLoader(NAME, client).invoke({})
    with pytest.raises(SelectionError, match="no dataset is named"):
        LangSmithDatasetChatLoader(client=client).invoke({})
    with pytest.raises(SelectionError, match=r"split: Extra inputs.*Its fields are dataset_name, splits"):
        LangSmithDatasetChatLoader(NAME, client).invoke({"split": ["train"]})


def test_a_server_that_is_not_there_is_named():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    once = urllib3.Retry(total=0)
    client = langsmith.Client(api_url=url, api_key=KEY, retry_config=once, auto_batch_tracing=False)
    with pytest.raises(HostUnreachableError, match="cannot be reached for dataset"):
        LangSmithDatasetChatLoader(NAME, client).invoke({})
    client.close()
