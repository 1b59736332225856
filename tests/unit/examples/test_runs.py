"""The recorded runs are what the example says they are."""

import json
import re
from collections import Counter
from typing import Any

import pytest
from chain import Calculator
from questions import all_questions, notebook_questions
from record import RUNS

Run = dict[str, Any]
RIGHT = {"user_score": {"n": 1, "avg": 1.0}}
WRONG = {"user_score": {"n": 1, "avg": 0.0}}


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    return [json.loads(line) for line in RUNS.read_bytes().splitlines()]


@pytest.fixture(scope="module")
def traces(runs: list[Run]) -> list[tuple[Run, Run]]:
    """Return the root and the chat-model run of each trace."""
    children = {run["parent_run_id"]: run for run in runs if run["run_type"] == "llm"}
    return [(run, children[run["id"]]) for run in runs if run["parent_run_id"] is None]


def question_of(root: Run) -> str:
    return root["inputs"]["input"]


def test_every_question_was_recorded_once(runs: list[Run], traces: list[tuple[Run, Run]]) -> None:
    assert len(runs) == 2 * len(traces)
    assert [question_of(root) for root, _ in traces] == [question.text for question in all_questions()]


def test_the_chat_model_run_belongs_to_its_root(traces: list[tuple[Run, Run]]) -> None:
    for root, child in traces:
        assert root["trace_id"] == root["id"] == child["trace_id"] == child["parent_run_id"]
        assert child["parent_run_ids"] == [root["id"]]
        assert child["dotted_order"].startswith(root["dotted_order"])
        assert child["inputs"]["messages"][0][-1]["kwargs"]["content"] == question_of(root)
        assert child["extra"]["invocation_params"]["tools"][0]["function"]["name"] == "Calculator"


def test_a_tenth_failed_and_users_rated_the_rest(traces: list[tuple[Run, Run]]) -> None:
    outcomes = Counter((root["status"], json.dumps(root["feedback_stats"])) for root, _ in traces)
    assert outcomes == {
        ("success", json.dumps(RIGHT)): 194,
        ("error", "{}"): 29,
        ("success", json.dumps(WRONG)): 29,
        ("success", "{}"): 28,
    }
    assert all(root["status"] == child["status"] and not child["feedback_stats"] for root, child in traces)
    assert all(bool(root["error"]) == (root["status"] == "error") for root, _ in traces)


def test_a_good_score_means_the_right_call(traces: list[tuple[Run, Run]]) -> None:
    meant = {question.text: question for question in all_questions()}
    for root, child in traces:
        if root["status"] == "error":
            continue
        (call,) = child["outputs"]["generations"][0][0]["message"]["kwargs"]["tool_calls"]
        is_right = call["args"] == meant[question_of(root)].arguments
        assert call["name"] == "Calculator"
        assert root["outputs"]["output"] == Calculator(**call["args"]).calculate()
        assert root["feedback_stats"] in (({}, RIGHT) if is_right else ({}, WRONG))


def test_the_notebooks_twenty_are_rated_right(traces: list[tuple[Run, Run]]) -> None:
    right = {question_of(root) for root, _ in traces if root["feedback_stats"] == RIGHT}
    assert {question.text for question in notebook_questions()} <= right


def test_the_file_holds_nothing_of_the_machine_that_recorded_it() -> None:
    text = RUNS.read_text()
    assert len(text) < 2_500_000
    assert not re.findall(r'"platform"|127\.0\.0\.1|localhost|LANGSMITH_|Traceback|File \\"', text)
