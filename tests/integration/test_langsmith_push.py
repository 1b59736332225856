"""Training rows pushed into LangSmith datasets, with the real langsmith client over real HTTP."""

import socket
import traceback
from collections import Counter
from itertools import pairwise

import langsmith
import orjson
import pytest
import urllib3

from langchain_finetune import (
    LangSmithDatasetChatLoader,
    ProgressPrinter,
    RunExportLoader,
    TrainingData,
    TrainingDataConverter,
)
from langchain_finetune._spool import SPLITS, read_jsonl, training_data_from
from langchain_finetune.errors import (
    AuthenticationFailedError,
    HostError,
    HostUnavailableError,
    HostUnreachableError,
    SettingError,
    SourceError,
    TrainingDataError,
)
from langchain_finetune.loaders import dataset_push
from langchain_finetune.loaders._pacing import Budget
from tests.fakes.dataset_store import Dataset, dataset_store
from tests.fakes.langsmith_host import CUT, KEY
from tests.fakes.recorded_runs import calculator_run, write_runs
from tests.fakes.training_rows import call, preference_row, text_row, tool_row, training_data

NAME = "calculator"
NO_RETRY = urllib3.Retry(total=0, respect_retry_after_header=False)


@pytest.fixture
def store():
    with dataset_store() as store:
        yield store


def client_of(store, key=KEY):
    return langsmith.Client(api_url=store.url, api_key=key, retry_config=NO_RETRY, auto_batch_tracing=False)


@pytest.fixture
def client(store):
    client = client_of(store)
    yield client
    client.close()


@pytest.fixture
def pauses(monkeypatch):
    """Pauses between attempts, in seconds, which nobody waits for."""
    pauses = []

    class Timeless(Budget):
        def pause(self, seconds, is_wanted):
            pauses.append(seconds)

    field = dataset_push.DatasetPush.__private_attributes__["_budget"]
    monkeypatch.setattr(field, "default_factory", Timeless)
    return pauses


@pytest.fixture
def converted(tmp_path):
    runs = [calculator_run(number, number, 7) for number in range(1, 41)]
    loader = RunExportLoader(write_runs(tmp_path / "runs.jsonl", runs))
    return (loader | TrainingDataConverter(validation_fraction=0.2, test_fraction=0.2)).invoke({})


def rows_of(data, split):
    """The rows of a split, whatever their order and that of their keys."""
    rows = read_jsonl(path) if (path := getattr(data, split)) else ()
    return Counter(orjson.dumps(row, option=orjson.OPT_SORT_KEYS) for row in rows)


def read_back(client, split, **settings):
    """What the loader and a converter that changes nothing make of a split."""
    sessions = LangSmithDatasetChatLoader(NAME, client, splits=[split]).invoke({})
    untouched = {"collapse": "none", "redact": "none", "deduplicate": "none", **settings}
    data = TrainingDataConverter(validation_fraction=0, test_fraction=0, min_examples=1, **untouched).invoke(
        sessions
    )
    assert data.num_rejected == 0
    return rows_of(data, "train")


@pytest.mark.parametrize("is_multipart", [True, False])
def test_what_is_pushed_is_read_back_as_the_same_rows(converted, is_multipart):
    with dataset_store(is_multipart=is_multipart) as store:
        client = client_of(store)
        pushed = converted.push_to_langsmith(NAME, client=client)
        dataset = store.datasets[NAME]
        assert (pushed.dataset_id, pushed.name, pushed.num_created) == (dataset.id, NAME, 40)
        assert (pushed.num_moved, pushed.num_unchanged, pushed.num_others) == (0, 0, 0)
        assert pushed.url.endswith(f"/datasets/{dataset.id}")
        assert pushed.version == dataset.versions[-1][0]
        assert (
            pushed.fingerprint
            == converted.fingerprint
            == dataset.metadata["langchain_finetune"]["fingerprint"]
        )
        for split in SPLITS:
            assert read_back(client, split) == rows_of(converted, split)
        client.close()


def test_weights_legacy_functions_and_repeated_rows_come_back(store, client):
    legacy = {
        "messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        ],
        "functions": [{"name": "f", "parameters": {"type": "object", "properties": {}}}],
    }
    weighted = {
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": "q", "name": "ann"},
            {"role": "assistant", "content": None, "tool_calls": [call()], "weight": 0},
            {"role": "tool", "content": "5", "tool_call_id": "call_1"},
            {"role": "assistant", "content": "five", "weight": 1},
        ],
        "tools": tool_row(1)["tools"],
        "parallel_tool_calls": False,
    }
    data = training_data_from([legacy, weighted, text_row(1), text_row(1), tool_row(2)])
    assert data.push_to_langsmith(NAME, client=client).num_created == 5
    assert read_back(client, "train") == rows_of(data, "train")


def test_rows_of_preferences_come_back_as_answers_and_corrections(store, client):
    data = training_data(3, 0, 0, method="dpo")
    assert data.push_to_langsmith(NAME, client=client).num_created == 3
    sessions = LangSmithDatasetChatLoader(NAME, client).invoke({})
    (first, *_) = read_jsonl(sessions.path)
    row = preference_row(0)
    assert first["messages"] == row["input"]["messages"]
    assert first["tools"] == row["input"]["tools"]
    assert read_back(client, "train", method="dpo") == rows_of(data, "train")
    assert [first["correction"]] == row["preferred_output"]
    assert [first["answer"]] == row["non_preferred_output"]


def test_rows_for_reinforcement_are_written_with_what_their_grader_reads(store, client):
    training_data(2, 0, 0, method="reinforcement").push_to_langsmith(NAME, client=client)
    example = next(iter(store.datasets[NAME].examples.values()))
    assert set(example["inputs"]) == {"messages"}
    assert example["outputs"] == {"answer": {"is": 0}}


def test_an_example_names_its_run_and_its_split(store, client, converted):
    pushed = converted.push_to_langsmith(NAME, client=client)
    lines = [line for line in read_jsonl(converted.report) if line["status"] == "kept"]
    expected = {(line["run_id"], line["split"]) for line in lines}
    examples = store.datasets[NAME].examples.values()
    assert {(it["source_run_id"], it["metadata"]["dataset_split"][0]) for it in examples} == expected
    assert all(it["metadata"]["run_id"] == it["source_run_id"] for it in examples)
    assert pushed.num_with_source == 40
    row = rows_of(converted, "test").popitem()[0]
    (example,) = (it for it in examples if orjson.loads(row)["messages"][:-1] == it["inputs"]["messages"])
    assert example["metadata"]["dataset_split"] == ["test"]


def test_runs_that_langsmith_does_not_know_are_left_out_and_the_rows_are_not(converted):
    with dataset_store(known_runs=frozenset()) as store:
        client = client_of(store)
        pushed = converted.push_to_langsmith(NAME, client=client)
        assert (pushed.num_created, pushed.num_with_source) == (40, 0)
        assert all(it["metadata"]["run_id"] for it in store.datasets[NAME].examples.values())
        client.close()


def test_a_second_push_writes_nothing(store, client, converted):
    first = converted.push_to_langsmith(NAME, client=client)
    num_writes = len(store.writes())
    second = converted.push_to_langsmith(NAME, client=client)
    assert (second.num_created, second.num_moved, second.num_unchanged) == (0, 0, 40)
    assert (second.dataset_id, second.version) == (first.dataset_id, first.version)
    assert len(store.writes()) == num_writes


async def test_the_async_twin_does_the_same(store, client, converted):
    first = await converted.apush_to_langsmith(NAME, client=client)
    again = await converted.apush_to_langsmith(NAME, client=client)
    assert (first.num_created, again.num_unchanged) == (40, 40)


def test_data_that_grew_add_their_rows_and_a_row_moves_to_its_new_split(store, client):
    assert training_data(10, 2, 3).push_to_langsmith(NAME, client=client).num_created == 15
    ids = set(store.datasets[NAME].examples)
    # The same numbered rows, other splits: 10 and 11 come to training, 14 to 19 are new.
    grown = training_data(12, 2, 6).push_to_langsmith(NAME, client=client)
    dataset = store.datasets[NAME]
    assert (grown.num_created, grown.num_moved, grown.num_unchanged) == (5, 4, 11)
    assert ids < set(dataset.examples)
    assert [len(dataset.of_split(split)) for split in SPLITS] == [12, 2, 6]
    assert grown.num_others == 0


def test_what_others_wrote_and_their_splits_stay(store, client):
    data = training_data(3, 0, 1)
    first = data.push_to_langsmith(NAME, client=client)
    client.create_example({"messages": []}, dataset_id=first.dataset_id, reference_outputs={}, split="mine")
    dataset = store.datasets[NAME]
    hard = dataset.of_split("test")[0]
    client.update_examples(
        dataset_id=first.dataset_id, updates=[{"id": hard["id"], "split": ["hard", "train"]}]
    )
    second = data.push_to_langsmith(NAME, client=client)
    assert (second.num_moved, second.num_others) == (1, 1)
    assert dataset.examples[hard["id"]]["metadata"]["dataset_split"] == ["test", "hard"]
    assert dataset.examples[hard["id"]]["metadata"]["method"] == "supervised"
    assert len(dataset.of_split("mine")) == 1


def test_many_rows_go_in_batches_and_say_how_far_they_are(store, client, tmp_path):
    data = training_data(230, 0, 20)
    told = tmp_path / "progress.txt"
    with told.open("w") as stream:
        data.push_to_langsmith(NAME, client=client, config={"callbacks": [ProgressPrinter(stream)]})
    assert told.read_text().splitlines() == [
        "push: 100 created, 0 moved, 0 unchanged, 250 rows",
        "push: 200 created, 0 moved, 0 unchanged, 250 rows",
        "push: 250 created, 0 moved, 0 unchanged, 250 rows",
    ]
    assert len(store.looks()) == 0, "nothing is looked up in a dataset that was just made"
    assert len(store.writes()) == 1 + 3


def test_large_rows_go_in_smaller_batches(store, client):
    rows = [text_row(number) for number in range(4)]
    for row in rows:
        row["messages"][0]["content"] *= 150_000
    training_data_from(rows).push_to_langsmith(NAME, client=client)
    sizes = [len(it.content) for it in store.writes()[1:]]
    assert len(sizes) > 1
    assert max(sizes) < 5_000_000


@pytest.mark.parametrize("failure", [503, 429, 409, 500, CUT])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_push_rides_out_what_passes_and_makes_no_doubles(store, client, pauses, failure, at):
    store.failures = [*["fine"] * at, failure, failure]
    pushed = training_data(150, 0, 0).push_to_langsmith(NAME, client=client)
    assert pushed.num_created == 150
    assert len(store.datasets[NAME].examples) == 150
    # A name that is taken by then, and an example that is there, are no failures at the second attempt.
    assert len(pauses) in (1, 2)
    assert all(later > 0 for later in pauses)


def test_a_push_that_broke_off_goes_on_with_what_is_missing(store, client, pauses):
    data = training_data(250, 0, 0)
    store.failures = ["fine", "fine", *[503] * 6]
    with pytest.raises(HostUnavailableError, match=f"dataset '{NAME}'"):
        data.push_to_langsmith(NAME, client=client)
    assert len(pauses) == 5
    assert all(sooner < later * 2 for sooner, later in pairwise(pauses))
    pushed = data.push_to_langsmith(NAME, client=client)
    assert (pushed.num_created, pushed.num_unchanged) == (150, 100)


def test_refusals_name_the_field_and_never_the_row(store, client):
    secret = {
        **text_row(1),
        "messages": [*text_row(1)["messages"][:1], {"role": "assistant", "content": "SECRET"}],
    }
    data = training_data_from([text_row(2), secret])
    store.refused_text = "SECRET"
    with pytest.raises(
        HostError, match=r"refuses an example for dataset .*: body\.0\.inputs: schema_error"
    ) as caught:
        data.push_to_langsmith(NAME, client=client)
    assert caught.value.status_code == 422
    assert "SECRET" not in "".join(traceback.format_exception(caught.value))
    assert not store.datasets[NAME].examples


def test_a_dataset_of_another_type_is_refused(store, client):
    store.datasets[NAME] = Dataset(NAME, data_type="chat")
    with pytest.raises(SettingError, match=f"dataset '{NAME}' is of type chat.*key-value dataset"):
        training_data().push_to_langsmith(NAME, client=client)


def test_keys_addresses_and_inputs_that_are_wrong_are_named(store, pauses):
    data = training_data()
    stranger = client_of(store, key="lsv2_other")
    with pytest.raises(AuthenticationFailedError, match="set LANGSMITH_API_KEY"):
        data.push_to_langsmith(NAME, client=stranger)
    stranger.close()
    with pytest.raises(SourceError, match="got a list: expected the TrainingData"):
        dataset_push.DatasetPush(dataset_name=NAME).invoke([])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    nobody = langsmith.Client(api_url=url, api_key=KEY, retry_config=NO_RETRY, auto_batch_tracing=False)
    with pytest.raises(HostUnreachableError, match="cannot be reached"):
        data.push_to_langsmith(NAME, client=nobody)
    assert len(pauses) == 5
    nobody.close()


def test_what_is_no_row_and_no_name_is_said_before_it_is_sent(store, client):
    data = training_data_from([text_row(1), {"messages": "none"}])
    with pytest.raises(TrainingDataError, match="train row 2 is none for 'supervised'"):
        data.push_to_langsmith(NAME, client=client)
    with pytest.raises(SettingError, match="no dataset is named"):
        data.push_to_langsmith("", client=client)


def test_the_environment_says_where_to(store, monkeypatch):
    monkeypatch.setenv("LANGSMITH_ENDPOINT", store.url)
    monkeypatch.setenv("LANGSMITH_API_KEY", KEY)
    assert training_data().push_to_langsmith(NAME).num_created == 17
    assert isinstance(TrainingData.model_validate_json(training_data().model_dump_json()), TrainingData)
