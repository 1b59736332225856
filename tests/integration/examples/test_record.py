"""Recording anew: the real chain, ChatOpenAI and RunRecorder give the runs on file again."""

import json
from typing import Any

import pytest
from questions import all_questions
from record import RUNS, exported, record
from run import CONVERTER, WELL_RATED, shipped_runs

from langchain_finetune import LangSmithRunChatLoader, RunStore

Run = dict[str, Any]


def essence(run: Run) -> Run:
    """Return what is the same in each recording: all but ids, times and versions."""
    kept = {
        key: run[key] for key in ("name", "run_type", "inputs", "error", "status", "tags", "feedback_stats")
    }
    if run["run_type"] == "chain":
        return kept | {"outputs": run["outputs"]}
    message = run["outputs"]["generations"][0][0]["message"]["kwargs"]
    return kept | {"calls": message["tool_calls"], "tools": run["extra"]["invocation_params"]["tools"]}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    return record(all_questions(), tmp_path_factory.mktemp("recording") / "runs.sqlite")


def test_a_new_recording_equals_the_one_on_file(store: RunStore) -> None:
    on_file = [json.loads(line) for line in RUNS.read_bytes().splitlines()]
    recorded = exported(store)
    assert [essence(run) for run in recorded] == [essence(run) for run in on_file]
    assert [list(run) for run in recorded] == [list(run) for run in on_file]
    assert [sorted(run["extra"]) for run in recorded] == [sorted(run["extra"]) for run in on_file]


def test_the_rows_that_come_from_the_store_are_those_of_the_file(store: RunStore) -> None:
    stages = (LangSmithRunChatLoader(client=store, feedback=WELL_RATED), shipped_runs())
    recorded, shipped = ((loader | CONVERTER).invoke({}) for loader in stages)
    for split in ("train", "validation", "test"):
        rows = [sorted(getattr(data, split).read_bytes().splitlines()) for data in (recorded, shipped)]
        assert rows[0] == rows[1]
    assert shipped.num_train == 140
