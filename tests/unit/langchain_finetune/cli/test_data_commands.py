"""select, convert, inspect: from recorded runs to rows, without a network."""

import io
import json
import sys
from pathlib import Path

import pytest

from langchain_finetune import RunRecorder
from langchain_finetune._spool import state_directory
from tests.fakes.recorded_app import tool_chain
from tests.fakes.training_rows import file_of, graded_row, preference_row, rows, text_row

RUNS = Path(__file__).parents[4] / "examples" / "calculator" / "runs.jsonl"
SECRET = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"


@pytest.fixture
def stdin(monkeypatch):
    def give(text):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    return give


def test_runs_become_rows_through_two_pipes_of_the_shell(cli, stdin):
    selected = cli("select", RUNS, "--feedback", "user_score=1", "--limit", 30, "--json")
    assert (selected.code, selected.json["num_sessions"]) == (0, 30)
    assert "load: 280 runs, 30 sessions" in selected.err
    stdin(selected.out)
    converted = cli("convert", "-", "--test", 0.2, "--validation", 0, "--json")
    assert converted.code == 0
    data = converted.json
    assert data["num_train"] + data["num_test"] == 30
    assert (data["num_test"] > 0, data["num_validation"]) == (True, 0)
    assert data["num_runs"] == 30


def test_a_person_reads_where_the_files_are(cli):
    selected = cli("select", RUNS, "--feedback", "user_score=1", "--limit", 30)
    path = selected.out.split()[-1]
    assert Path(path).name == "sessions.jsonl"
    assert "30 of 280 runs" in selected.out
    converted = cli("convert", path, "-q")
    assert converted.err == ""
    assert "train" in converted.out


def test_convert_takes_an_export_as_it_is_and_copies_its_files(cli, tmp_path):
    called = cli("convert", RUNS, "--out", tmp_path / "rows", "--json")
    assert Path(called.json["train"]) == tmp_path / "rows" / "train.jsonl"
    written = json.loads((tmp_path / "rows" / "training_data.json").read_text())
    assert written == called.json
    assert {path.name for path in (tmp_path / "rows").iterdir()} >= {"train.jsonl", "report.jsonl"}
    assert cli("inspect", tmp_path / "rows").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("select", RUNS, "--feedback", "user_score=9"), 6, "feedback removed"),
        (("select", RUNS, "-s", "colour=1"), 2, "colour"),
        (("select", RUNS, "--filter", "eq(1, 2)"), 6, "cannot evaluate filter"),
        (("convert", RUNS, "--validation", "0.6", "--test", "0.6"), 2, "leave no row"),
        (("convert", RUNS, "--min-examples", "999"), 6, "999 are needed"),
        (("convert", RUNS, "-s", "no_such=1"), 2, "no_such"),
        (("convert", "no.jsonl"), 6, "no file no.jsonl"),
    ],
)
def test_what_cannot_be_done_is_said(cli, arguments, code, said):
    called = cli(*arguments)
    assert (called.code, called.out) == (code, "")
    assert said in called.err


def test_what_is_no_handle_is_refused(cli, stdin):
    stdin('{"fingerprint": 1}')
    called = cli("convert", "-")
    assert called.code == 6
    assert "select --json" in called.err


def test_a_recording_is_a_source_by_its_name_and_by_its_content(cli, tmp_path):
    recorder = RunRecorder(tmp_path / "runs.sqlite")
    for _ in range(3):
        tool_chain().invoke("hello", {"callbacks": [recorder]})
    recorder.close()
    for source in (f"recorded:{tmp_path / 'runs.sqlite'}", tmp_path / "runs.sqlite"):
        assert cli("select", source, "--json").json["num_sessions"] == 3
    called = cli("inspect", tmp_path / "runs.sqlite", "--json")
    assert called.json["kind"] == "recorded runs"
    assert called.json["tools"] == {"Calculator": 3}


def test_every_kind_of_file_is_told_from_the_others(cli, tmp_path):
    cli("select", RUNS, "--limit", 20)
    cli("convert", RUNS, "--out", tmp_path / "rows")
    sessions = next((state_directory() / "sessions").glob("*/sessions.jsonl"))
    looked = {
        "runs": RUNS,
        "sessions": sessions,
        "training data": tmp_path / "rows",
        "rows": tmp_path / "rows" / "train.jsonl",
        "report": tmp_path / "rows" / "report.jsonl",
    }
    for kind, path in looked.items():
        called = cli("inspect", path, "--json")
        assert (called.code, called.json["kind"], called.json["usable"]) == (0, kind, True)
        assert cli("inspect", path).out.startswith(f"{kind}: {path}\n")
    handle = cli("inspect", tmp_path / "rows" / "training_data.json", "--json").json
    assert (handle["kind"], handle["splits"].keys()) == (
        "training data",
        {"train", "validation", "test"},
    )


@pytest.mark.parametrize(("make", "method"), [(preference_row, "dpo"), (graded_row, "reinforcement")])
def test_rows_tell_their_method_by_themselves(cli, tmp_path, make, method):
    path = file_of(tmp_path, [make(number) for number in range(12)])
    assert cli("inspect", path, "--json").json["method"] == method


def test_what_is_wrong_with_rows_is_told_without_what_stands_in_them(cli, tmp_path):
    bad = {"messages": [{"role": "user", "content": SECRET}, {"role": "assistant", "content": ""}]}
    path = file_of(tmp_path, [*rows(), bad, {"messages": []}])
    called = cli("inspect", path)
    assert called.code == 6
    assert "train row 13" in called.out
    assert "train row 14" in called.out
    assert "errors" in called.out
    assert SECRET not in called.out + called.err


def test_few_rows_are_enough_for_one_host_and_not_for_another(cli, tmp_path):
    path = file_of(tmp_path, [text_row(number) for number in range(4)])
    assert cli("inspect", path).code == 6
    assert cli("inspect", path, "--provider", "together").code == 0
    assert cli("inspect", path, "--provider", "nobody").code == 2


def test_nothing_to_look_at_is_said(cli, tmp_path):
    (tmp_path / "words.txt").write_text("some words\n")
    assert cli("inspect", tmp_path / "words.txt").code == 6
    assert cli("inspect", "nothing.jsonl").code == 6
