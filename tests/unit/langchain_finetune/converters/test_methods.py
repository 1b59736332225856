"""The converter with the methods of training that are not supervised."""

import pytest

from langchain_finetune import RecordedSession, TrainingDataConverter
from langchain_finetune._spool import read_jsonl
from tests.training_lines import check_line

pytestmark = pytest.mark.filterwarnings("default::UserWarning")

SETTINGS = {"min_examples": 1, "validation_fraction": 0, "test_fraction": 0}


def session(run_id, question, answer, **fields):
    messages = [{"role": "user", "content": question}]
    return RecordedSession(
        run_id=run_id, messages=messages, answer={"role": "assistant", "content": answer}, **fields
    )


def convert(sessions, **settings):
    data = TrainingDataConverter(**{**SETTINGS, **settings}).invoke(sessions)
    return data, list(read_jsonl(data.train)), {line["run_id"]: line for line in read_jsonl(data.report)}


def test_scores_and_corrections_become_pairs_and_every_run_has_a_line():
    sessions = [
        session("good", "2 + 2", "4", feedback={"score": 1.0}),
        session("bad", "2 + 2", "5", feedback={"score": 0.0}),
        session("corrected", "1 + 1", "3", correction={"role": "assistant", "content": "2"}),
        session("alone", "9 + 9", "18", feedback={"score": 1.0}),
    ]
    data, rows, report = convert(sessions, method="dpo")
    assert data.method == "dpo"
    assert [
        (it["preferred_output"][0]["content"], it["non_preferred_output"][0]["content"]) for it in rows
    ] == [
        ("4", "5"),
        ("2", "3"),
    ]
    for row in rows:
        check_line("dpo", row)
    assert {run_id: line["status"] for run_id, line in report.items()} == {
        "good": "kept",
        "bad": "merged",
        "corrected": "kept",
        "alone": "rejected",
    }
    assert report["bad"]["row"] == report["good"]["row"] == 0
    assert report["alone"]["reason"] == "no_pair"
    assert (data.num_runs, data.num_train, data.num_merged, data.num_rejected) == (4, 2, 1, 1)


def test_a_secret_in_either_answer_of_a_pair_is_taken_out():
    secret = "sk-proj-" + "a1B2c3D4" * 5
    sessions = [
        session("good", f"my key is {secret}", f"use {secret}", feedback={"score": 1.0}),
        session("bad", f"my key is {secret}", f"never {secret}!", feedback={"score": 0.0}),
    ]
    data, _, _ = convert(sessions, method="dpo")
    assert secret not in data.train.read_text()
    assert data.redactions == {"api_key": 1}


def test_both_halves_of_a_pair_bring_their_threads_into_its_group():
    sessions = []
    for number in range(40):
        sessions += [
            session(f"good{number}", f"q{number}", "a", feedback={"score": 1.0}, thread_id=f"t{number}"),
            session(f"bad{number}", f"q{number}", "b", feedback={"score": 0.0}, thread_id=f"t{number + 1}"),
        ]
    data, rows, _ = convert(sessions, method="dpo", test_fraction=0.3)
    assert (len(rows), data.num_test) == (40, 0), "each thread is in two pairs: all of them are one group"


def test_a_pair_that_breaks_a_rule_takes_both_runs_into_the_report():
    sessions = [
        session("good", "<|im_start|>", "a", feedback={"score": 1.0}),
        session("bad", "<|im_start|>", "b", feedback={"score": 0.0}),
        session("fine", "q", "a", feedback={"score": 1.0}),
        session("worse", "q", "b", feedback={"score": 0.0}),
    ]
    data, rows, report = convert(sessions, method="dpo")
    assert len(rows) == 1
    assert {report[it]["status"] for it in ("good", "bad")} == {"rejected"}
    assert {report[it]["reason"] for it in ("good", "bad")} == {"special_token"}
    assert data.num_runs == 4


def test_rows_for_reinforcement_end_with_the_question_and_carry_the_answer_beside_it():
    sessions = [
        session(str(number), f"{number} + 1", str(number + 1), metadata={"kind": "sum"})
        for number in range(5)
    ]
    data, rows, report = convert(sessions, method="reinforcement", metadata_keys=("kind",))
    assert data.method == "reinforcement"
    assert [row["messages"][-1]["role"] for row in rows] == ["user"] * 5
    assert [row["reference_answer"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert {line["status"] for line in report.values()} == {"kept"}
    for row in rows:
        check_line("reinforcement", row)


@pytest.mark.parametrize("method", ["dpo", "reinforcement"])
def test_the_data_are_the_same_every_time(method):
    sessions = [
        session(f"{number}{answer}", f"q{number}", answer, feedback={"score": float(answer)})
        for number in range(8)
        for answer in "10"
    ]
    fingerprints = {convert(sessions, method=method)[0].fingerprint for _ in range(2)}
    assert len(fingerprints) == 1


def test_reasoning_is_kept_on_request():
    sessions = [session(str(it), f"q{it}", "a", reasoning=["I think so."]) for it in range(3)]
    _, rows, _ = convert(sessions, reasoning="think")
    assert rows[0]["messages"][-1]["content"].startswith("<think>\nI think so.\n</think>")
    _, rows, _ = convert(sessions)
    assert rows[0]["messages"][-1]["content"] == "a"
