"""A comparison as LangSmith experiments: the real langsmith client and `evaluate()` over real HTTP."""

import langsmith
import pytest
import urllib3

from langchain_finetune import ModelComparison
from langchain_finetune.errors import AuthenticationFailedError, HostUnavailableError, HostUnreachableError
from tests.fakes.clients import trainer_at
from tests.fakes.experiment_host import KEY, experiment_host
from tests.fakes.openai_host import FakeHost
from tests.fakes.training_rows import call, training_data


@pytest.fixture
def model():
    host = FakeHost()

    def answer(body):
        number = body["messages"][-1]["content"].removeprefix("Reckon ")
        if body["model"].startswith("ft:"):
            return {
                "role": "assistant",
                "content": None,
                "tool_calls": [call(arguments=f'{{"num1": {number}}}')],
            }
        return {"role": "assistant", "content": "Let me calculate that for you."}

    host.answer = answer
    return trainer_at(host).invoke(training_data())


@pytest.fixture
def host():
    with experiment_host() as host:
        yield host


def client_of(host, key=KEY):
    once = urllib3.Retry(total=0)
    return langsmith.Client(api_url=host.url, api_key=key, retry_config=once)


def test_a_comparison_goes_to_an_experiment_for_each_model(host, model, capsys):
    client = client_of(host)
    report = ModelComparison(langsmith=True, langsmith_client=client).invoke(model)
    client.flush()
    client.close()
    assert host.unknown == []
    (dataset,) = host.datasets.values()
    assert report.test_sha256[:16] in dataset["name"]
    assert {each["inputs"]["messages"][0]["content"] for each in host.examples.values()} == {
        "Reckon 14",
        "Reckon 15",
        "Reckon 16",
    }
    base, tuned = host.sessions.values()
    assert (base["extra"]["metadata"]["model"], tuned["extra"]["metadata"]["model"]) == (
        report.base,
        report.tuned,
    )
    assert set(report.experiments) == {report.base, report.tuned}
    runs = host.runs_of(tuned["name"])
    assert len(runs) == 3
    assert {run["reference_example_id"] for run in runs} == set(host.examples)
    assert all(run["extra"]["metadata"]["langchain_finetune"] == "comparison" for run in runs)
    assert runs[0]["outputs"]["messages"][0]["tool_calls"][0]["function"]["name"] == "Calculator"
    exact = {each["run_id"]: each["score"] for each in host.feedback if each["key"] == "exact"}
    assert sorted(exact.values()) == [0, 0, 0, 1, 1, 1]
    assert {exact[run["id"]] for run in runs} == {1}
    assert capsys.readouterr().out == ""


async def test_a_second_comparison_adds_experiments_and_no_examples(host, model):
    client = client_of(host)
    first = await ModelComparison(langsmith=True, langsmith_client=client).ainvoke(model)
    second = await ModelComparison(langsmith=True, langsmith_client=client).ainvoke(model)
    client.close()
    assert (first.num_asked, second.num_asked) == (6, 0)
    assert (len(host.datasets), len(host.examples), len(host.sessions)) == (1, 3, 4)


@pytest.mark.parametrize(
    ("status", "key", "error"), [(200, "wrong", AuthenticationFailedError), (500, KEY, HostUnavailableError)]
)
def test_a_refusal_is_clear_and_the_answers_are_kept(host, model, status, key, error):
    host.status = status
    client = client_of(host, key)
    with pytest.raises(error, match="LangSmith at http"):
        ModelComparison(langsmith=True, langsmith_client=client).invoke(model)
    client.close()
    assert ModelComparison().invoke(model).num_asked == 0


def test_a_server_that_is_not_there_is_named(model):
    once = urllib3.Retry(total=0)
    client = langsmith.Client(
        api_url="http://127.0.0.1:9", api_key=KEY, retry_config=once, auto_batch_tracing=False
    )
    with pytest.raises(HostUnreachableError, match="LANGSMITH_ENDPOINT"):
        ModelComparison(langsmith=True, langsmith_client=client).invoke(model)
    client.close()
