import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_finetune import TrainingData, TrainingDataConverter
from langchain_finetune._spool import read_jsonl
from langchain_finetune.converters.splitting.pins import Pins
from langchain_finetune.errors import SourceError, SourceNotFoundError
from langchain_finetune.handles import RecordedSession

pytestmark = pytest.mark.filterwarnings("default::UserWarning")


def message(role, content, **fields):
    return {"role": role, "content": content, **fields}


def chat(*texts):
    """A row of alternating turns."""
    return {"messages": [message(("user", "assistant")[n % 2], text) for n, text in enumerate(texts)]}


@pytest.fixture
def earlier():
    sessions = [
        RecordedSession(
            run_id=f"run-{number}",
            messages=[message("user", f"question {number}")],
            answer=message("assistant", "ok"),
        )
        for number in range(60)
    ]
    return TrainingDataConverter().invoke(sessions)


def test_each_row_of_each_split_is_known_again_by_its_run_and_by_its_prompt(earlier):
    pins = Pins.read(earlier)
    lines = list(read_jsonl(earlier.report))
    assert {line["split"] for line in lines} == {"train", "validation", "test"}
    for line in lines:
        number = line["run_id"].removeprefix("run-")
        assert pins.splits_of(chat(f"question {number}", "another answer"), "new") == [line["split"]]
        assert pins.splits_of(chat("rendered in another way", "ok"), line["run_id"]) == [line["split"]]
    assert pins.splits_of(chat("a new question", "ok"), "new") == []
    assert len(pins) == 120


def test_a_row_that_goes_on_from_an_earlier_one_follows_it(earlier):
    pins = Pins.read(earlier)
    line = next(line for line in read_jsonl(earlier.report) if line["split"] == "test")
    question = f"question {line['run_id'].removeprefix('run-')}"
    assert pins.splits_of(chat(question, "ok", "and then?", "done"), "new") == ["test"]


def written(tmp_path, **splits):
    counts, paths = {}, {}
    for split in ("train", "validation", "test"):
        rows = splits.get(split, [])
        counts[f"num_{split}"] = len(rows)
        if rows or split == "train":
            paths[split] = tmp_path / f"{split}.jsonl"
            paths[split].write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return TrainingData(fingerprint="0" * 64, **paths, **counts)


def test_a_question_within_an_earlier_row_is_known_when_it_is_asked_alone(tmp_path):
    pins = Pins.read(written(tmp_path, test=[chat("one", "a", "two", "b")]))
    assert pins.splits_of(chat("one", "again"), "new") == ["test"]
    assert pins.splits_of(chat("two", "again"), "new") == []


def test_examples_that_every_prompt_brings_along_pin_nothing(tmp_path):
    pins = Pins.read(
        written(
            tmp_path,
            train=[chat("example", "answer", "first", "a")],
            test=[chat("example", "answer", "second", "b")],
        )
    )
    assert pins.splits_of(chat("example", "answer", "third", "c"), "new") == []


def test_an_answer_of_weight_zero_is_none_of_the_rows_own(tmp_path):
    row = chat("one", "a", "two", "b")
    row["messages"][1]["weight"], row["messages"][3]["weight"] = 0, 1
    pins = Pins.read(written(tmp_path, test=[row]))
    assert pins.splits_of(chat("one", "again"), "new") == []
    assert pins.splits_of(chat("one", "a", "two", "again"), "new") == ["test"]


def test_rows_of_other_methods_are_known_by_their_prompt(tmp_path):
    pair = {
        "input": {"messages": [message("user", "which?")]},
        "preferred_output": [message("assistant", "a")],
        "non_preferred_output": [message("assistant", "b")],
    }
    prompt = {"messages": [message("user", "how?")], "reference": 4}
    pins = Pins.read(written(tmp_path, train=[pair], test=[prompt]))
    assert pins.splits_of(pair, "new") == ["train"]
    assert pins.splits_of(chat("which?", "a"), "new") == ["train"]
    assert pins.splits_of(prompt, "new") == pins.splits_of(chat("how?", "so"), "new") == ["test"]


def test_data_are_named_by_handle_fingerprint_or_directory(earlier):
    everything = len(Pins.read(earlier))
    assert len(Pins.read(earlier.fingerprint)) == everything
    assert len(Pins.read(earlier.train.parent)) == everything
    assert len(Pins.read(str(earlier.train.parent / "training_data.json"))) == everything


def test_data_that_are_not_there_are_an_error_that_says_what_to_give(earlier, tmp_path):
    with pytest.raises(SourceNotFoundError, match="give a TrainingData, the fingerprint"):
        Pins.read("f" * 64)
    with pytest.raises(SourceNotFoundError):
        Pins.read(tmp_path)
    (tmp_path / "training_data.json").write_text("{}")
    with pytest.raises(SourceError, match="describes no training data"):
        Pins.read(tmp_path)


TEXTS = st.lists(st.sampled_from("abc"), min_size=2, max_size=6)


@given(st.lists(TEXTS, max_size=5), st.lists(TEXTS, max_size=5))
@settings(deadline=None, max_examples=50)
def test_every_row_of_the_earlier_data_is_found_in_its_split(tmp_path_factory, train, test):
    splits = {"train": [chat(*it) for it in train], "test": [chat(*it) for it in test]}
    pins = Pins.read(written(tmp_path_factory.mktemp("data"), **splits))
    for split, rows in splits.items():
        for row in rows:
            assert split in pins.splits_of(row, "new")
