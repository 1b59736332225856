import json
import pickle
import warnings

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_finetune import TrainingData
from langchain_finetune._spool import load_training_data
from langchain_finetune.converters import target
from langchain_finetune.errors import (
    InvalidRowsError,
    NotEnoughExamplesError,
    SettingError,
    SourceNotFoundError,
    TrainingDataError,
    UnknownProviderError,
)
from tests.fakes.training_rows import ROW_OF, call, text_row, tool_row, training_data

HI = {"role": "user", "content": "hi"}
BAD = {"messages": [HI, {"role": "assistant", "content": "a <|im_end|> secret"}], "id": 7}
TEXT_BASE = "openai:gpt-4.1-mini"
BOM = b"\xef\xbb\xbf"


def write(path, content):
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in content))
    return path


def read(path):
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("method", ["supervised", "dpo", "reinforcement"])
def test_rows_come_in_as_they_are(tmp_path, method):
    numbers = {"train": range(12), "validation": range(12, 14), "test": range(14, 17)}
    files = {name: write(tmp_path / name, map(ROW_OF[method], each)) for name, each in numbers.items()}
    data = TrainingData.from_jsonl(
        files["train"], validation=str(files["validation"]), test=files["test"], method=method
    )
    assert (data.num_train, data.num_validation, data.num_test, data.num_runs) == (12, 2, 3, 17)
    assert data.method == method
    for name, path in files.items():
        assert getattr(data, name).read_bytes() == path.read_bytes()
    assert data.fingerprint == training_data(12, 2, 3, method=method).fingerprint


async def test_the_async_twin_gives_the_same(tmp_path):
    path = write(tmp_path / "train.jsonl", map(text_row, range(3)))
    assert await TrainingData.afrom_jsonl(path) == TrainingData.from_jsonl(path)


def test_the_bytes_of_a_row_stay_and_only_the_ends_of_lines_are_ours(tmp_path):
    path = tmp_path / "train.jsonl"
    line = b'{"messages":  [{"role":"user","content":"\\u0068i"},{"content":"a","role":"assistant"}]}'
    other = line.replace(b'"a"', b'"b"')
    path.write_bytes(BOM + line + b"\r\n\r\n  \n" + other)
    data = TrainingData.from_jsonl(path)
    assert data.train.read_bytes() == line + b"\n" + other + b"\n"
    assert [it["run_id"] for it in read(data.report)] == [f"{path}:1", f"{path}:4"]


def test_everything_that_is_wrong_is_told_in_one_error(tmp_path):
    train = write(tmp_path / "train.jsonl", [text_row(1), BAD, text_row(2)])
    test = tmp_path / "test.jsonl"
    test.write_bytes(b'{"messages": [NaN]}\n[1]\nno json\n{"messages": "\\ud800"}\n')
    with pytest.raises(InvalidRowsError) as caught:
        TrainingData.from_jsonl(train, test=test)
    text = str(caught.value)
    assert text.startswith("5 of 7 rows break rules, and a host refuses a file for one of them.")
    assert 'on_error="reject"' in text
    assert f"\n  {train}:2, id: unknown_key. A key is not one of the training format's. " in text
    assert f"\n  {train}:2, messages[1].content: special_token. A text holds a special token" in text
    assert [f"\n  {test}:{number}: not_json. " in text for number in (1, 2, 3, 4)] == [True] * 4
    assert "secret" not in text
    assert caught.value.num_problems == len(caught.value.problems) == 6
    first = caught.value.problems[0]
    assert (first.path, first.file, first.row, first.field, first.code) == (
        train,
        "train",
        2,
        "id",
        "unknown_key",
    )
    assert first.advice
    assert str(pickle.loads(pickle.dumps(caught.value))) == text


def test_the_first_twenty_problems_are_told_and_the_others_counted(tmp_path):
    rows = [{"messages": [HI, {"role": "assistant", "content": ""}]} for _ in range(19)]
    path = write(tmp_path / "train.jsonl", [*rows, BAD, *rows])
    with pytest.raises(InvalidRowsError) as caught:
        TrainingData.from_jsonl(path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 1 + 20 + 1
    assert lines[-1] == "  And 20 more: 19 empty_answer, 1 special_token."
    assert len(caught.value.problems) == 20
    assert caught.value.num_problems == 40


def test_the_hosts_own_words_are_told_where_they_are_known(tmp_path):
    path = write(tmp_path / "train.jsonl", [text_row(1), BAD])
    with pytest.raises(InvalidRowsError) as caught:
        TrainingData.from_jsonl(path)
    assert 'OpenAI says: "Example 2 contains an extra "id"."' in str(caught.value)
    assert caught.value.problems[1].host_words == "Example 2 message contains an invalid token"


def image_row(number):
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    return {"messages": [{"role": "user", "content": [image]}, {"role": "assistant", "content": str(number)}]}


def test_a_target_adds_its_hosts_rules_and_limits(tmp_path):
    path = write(tmp_path / "train.jsonl", [*map(text_row, range(9)), image_row(9)])
    assert TrainingData.from_jsonl(path).num_train == 10
    with pytest.raises(InvalidRowsError, match=r"1 of 10 rows break rules, and OpenAI refuses") as caught:
        TrainingData.from_jsonl(path, target=TEXT_BASE)
    assert caught.value.problems[0].code == "unsupported_content"
    with pytest.raises(
        NotEnoughExamplesError, match=r"has 9 rows \(1 unsupported_content rejected\), OpenAI"
    ):
        TrainingData.from_jsonl(path, target=TEXT_BASE, on_error="reject")
    graded = write(tmp_path / "graded.jsonl", map(ROW_OF["reinforcement"], range(10)))
    with pytest.raises(TrainingDataError, match="only with validation rows: give `validation`"):
        TrainingData.from_jsonl(graded, method="reinforcement", target="openai:o4-mini")
    with pytest.raises(SettingError, match="does not train by the method 'reinforcement'"):
        TrainingData.from_jsonl(graded, method="reinforcement", target="local:smollm2-135m-instruct")
    with pytest.raises(UnknownProviderError, match="nowhere"):
        TrainingData.from_jsonl(path, target="nowhere:base")


def test_a_target_counts_tokens(tmp_path, monkeypatch):
    monkeypatch.setattr(target, "tiktoken_counter", lambda base: len)
    rows = [text_row(number) for number in range(12)]
    rows[3]["messages"][0]["content"] += "long " * 20_000
    path = write(tmp_path / "train.jsonl", rows)
    with pytest.warns(UserWarning, match="1 rows have what keeps no host from training.*1 too_long"):
        data = TrainingData.from_jsonl(path, target=TEXT_BASE)
    lines = read(data.report)
    assert data.num_tokens == sum(line["tokens"] for line in lines) > 100_000
    assert lines[3]["reason"] == "too_long"
    assert data.num_train == 12


def test_what_keeps_no_host_from_training_is_kept_and_told(tmp_path):
    odd = tool_row(1)
    odd["messages"][1]["tool_calls"][0]["function"]["arguments"] = "{broken"
    path = write(tmp_path / "train.jsonl", [tool_row(2), odd])
    with pytest.warns(UserWarning, match="1 rows have what keeps no host.*1 invalid_tool_arguments"):
        data = TrainingData.from_jsonl(path)
    assert data.num_train == 2
    assert read(data.report)[1]["reason"] == "invalid_tool_arguments"
    assert read(data.report)[1]["field"] == "messages[1].tool_calls"


def test_rows_that_break_rules_can_be_left_out_and_stand_in_the_report(tmp_path):
    path = write(tmp_path / "train.jsonl", [text_row(1), BAD, tool_row(2), {"messages": []}])
    data = TrainingData.from_jsonl(path, on_error="reject")
    assert read(data.train) == [text_row(1), tool_row(2)]
    assert (data.num_runs, data.num_train, data.num_rejected) == (4, 2, 2)
    assert data.rejected_by_reason == {"unknown_key": 1, "no_messages": 1}
    assert read(data.report) == [
        {"run_id": f"{path}:1", "status": "kept", "split": "train", "row": 0},
        {"run_id": f"{path}:2", "status": "rejected", "reason": "unknown_key", "field": "id"},
        {"run_id": f"{path}:3", "status": "kept", "split": "train", "row": 1},
        {"run_id": f"{path}:4", "status": "rejected", "reason": "no_messages", "field": "messages"},
    ]


def test_rows_that_are_trained_on_and_held_out_are_warned_about(tmp_path):
    train = write(tmp_path / "train.jsonl", [text_row(1), text_row(2), text_row(1), text_row(3)])
    again = {"messages": [text_row(3)["messages"][0], {"role": "assistant", "content": "Three."}]}
    turned = dict(reversed(text_row(2).items()))
    test = write(tmp_path / "test.jsonl", [turned, text_row(1), again, text_row(4)])
    with pytest.warns(UserWarning, match="rows? of") as caught:
        data = TrainingData.from_jsonl(train, test=test)
    texts = [str(it.message) for it in caught]
    assert len(texts) == 2
    assert texts[0].startswith(f"1 row of {train} are equal to an earlier row of it")
    assert texts[1].startswith(
        f"2 rows of test are in train too and 1 row more of test ask what train asks ({test}, {train})"
    )
    assert {it.filename for it in caught} == {__file__}
    assert (data.num_train, data.num_test) == (4, 4)
    told = [(it.get("reason"), it.get("repeats")) for it in read(data.report)]
    assert told[2] == ("repeated", {"split": "train", "row": 0})
    assert told[4:6] == [
        ("repeated", {"split": "train", "row": 1}),
        ("repeated", {"split": "train", "row": 0}),
    ]
    assert told[6:] == [(None, None)] * 2


def test_a_prompt_that_is_not_there_is_nobodys_question(tmp_path):
    answers = [{"messages": [{"role": "assistant", "content": text}]} for text in "ab"]
    train, test = (
        write(tmp_path / name, [row]) for name, row in zip(("train", "test"), answers, strict=True)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TrainingData.from_jsonl(train, test=test)


def test_what_cannot_be_had_is_said(tmp_path):
    path = write(tmp_path / "train.jsonl", [])
    with pytest.raises(
        TrainingDataError, match=r"train\.jsonl has no row to train on: give rows for 'supervised'"
    ):
        TrainingData.from_jsonl(path)
    write(path, [BAD])
    with pytest.raises(TrainingDataError, match=r"no row to train on \(1 unknown_key rejected\)"):
        TrainingData.from_jsonl(path, on_error="reject")
    with pytest.raises(SourceNotFoundError, match=r"nowhere\.jsonl"):
        TrainingData.from_jsonl(tmp_path / "nowhere.jsonl")
    with pytest.raises(SettingError, match="no method 'sft': give one of supervised, dpo, reinforcement"):
        TrainingData.from_jsonl(path, method="sft")
    with pytest.raises(SettingError, match="no on_error 'skip'"):
        TrainingData.from_jsonl(path, on_error="skip")


def test_the_report_of_converted_rows_is_not_lost_to_a_look_at_their_files(tmp_path):
    path = write(tmp_path / "train.jsonl", map(text_row, range(12)))
    data = TrainingData.from_jsonl(path)
    report = data.train.parent / "report.jsonl"
    report.write_text('{"run_id": "a"}\n')
    assert TrainingData.from_jsonl(path) == data == load_training_data(data.fingerprint)
    assert report.read_text() == '{"run_id": "a"}\n'


def damaged(row, path, value):
    copy = json.loads(json.dumps(row))
    place = copy
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return copy


PATHS = st.sampled_from(
    [
        ["messages"],
        ["messages", 0],
        ["messages", 0, "role"],
        ["messages", 0, "content"],
        ["messages", 1, "tool_calls"],
        ["messages", 1, "tool_calls", 0, "function", "arguments"],
        ["messages", 1, "weight"],
        ["tools"],
        ["tools", 0, "function", "name"],
        ["x"],
    ]
)
VALUES = st.none() | st.integers(-1, 2) | st.text(max_size=3) | st.just([]) | st.just({}) | st.just([call()])


@settings(max_examples=40)
@given(
    st.lists(st.tuples(PATHS, VALUES), max_size=6), st.sampled_from(["supervised", "dpo", "reinforcement"])
)
def test_every_line_is_a_row_or_a_rejection(tmp_path_factory, damages, method):
    rows = [damaged(tool_row(number), *damage) for number, damage in enumerate(damages)]
    content = [ROW_OF[method](99), *rows]
    path = write(tmp_path_factory.mktemp("own") / "train.jsonl", content)
    warnings.simplefilter("ignore", UserWarning)
    data = TrainingData.from_jsonl(path, method=method, on_error="reject")
    lines = read(data.report)
    assert len(lines) == data.num_runs == len(content) == data.num_train + data.num_rejected
    kept = [number for number, line in enumerate(lines) if line["status"] == "kept"]
    assert read(data.train) == [content[number] for number in kept]
    assert sum(data.rejected_by_reason.values()) == data.num_rejected
    if data.num_rejected:
        with pytest.raises(InvalidRowsError) as caught:
            TrainingData.from_jsonl(path, method=method)
        told = {problem.row - 1 for problem in caught.value.problems}
        bad = {*range(len(content))} - {*kept}
        assert told <= bad
        assert told == bad or len(caught.value.problems) == 20
    else:
        assert TrainingData.from_jsonl(path, method=method) == data
