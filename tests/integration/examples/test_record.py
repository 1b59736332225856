"""Recording over loopback: the real tracer, langsmith client and ChatOpenAI give the runs on file again."""

import json
from typing import Any

import httpx
from questions import all_questions
from record import RUNS, record
from run_store import RunStore

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


def test_a_new_recording_equals_the_one_on_file() -> None:
    on_file = [json.loads(line) for line in RUNS.read_bytes().splitlines()]
    recorded = record(all_questions())
    assert [essence(run) for run in recorded] == [essence(run) for run in on_file]


def test_the_run_store_refuses_what_it_does_not_know() -> None:
    with RunStore().client() as client:
        answer = httpx.post(f"{client.api_url}/runs/query", json={})
    assert answer.status_code == 404
    assert "not part of the recording" in answer.json()["detail"]
