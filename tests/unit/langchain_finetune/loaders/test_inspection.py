"""What is in a source of runs, whoever wrote it: nothing is lost, nothing of what was said is told."""

from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from langchain_finetune import RunExportLoader, RunStore
from langchain_finetune.errors import SourceError
from langchain_finetune.loaders.inspection import inspect_export, inspect_sessions, inspect_source

RUNS = Path(__file__).parents[4] / "examples" / "calculator" / "runs.jsonl"
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
FIELDS = ("id", "run_type", "inputs", "outputs", "extra", "tags", "error", "start_time", "trace_id", "status")
SESSION = (
    "run_id",
    "messages",
    "answer",
    "tools",
    "tags",
    "usage",
    "feedback",
    "metadata",
    "model",
    "trace_id",
)


def test_an_export_is_told_in_figures():
    found = inspect_export(RUNS)
    assert (found.num_runs, found.num_readable) == (280, 251)
    assert found.rejected_by_reason == {"errored": 29}
    assert found.models == {"gpt-4.1-mini": 280}
    assert found.tools == {"Calculator": 251}
    assert found.feedback["user_score"].num_rated == 223
    assert found.feedback["user_score"].num_positive == 194
    assert found.first <= found.last
    assert found.num_with_tools == found.num_traces == 251


def test_sessions_are_told_in_the_same_figures():
    sessions = RunExportLoader(RUNS).invoke({"include_errors": False, "feedback": {"user_score": 1}})
    found = inspect_sessions(sessions.path)
    assert (found.num_runs, found.num_readable) == (194, 194)
    assert found.feedback["user_score"].mean == 1


def test_a_store_is_a_source_like_any_other(tmp_path):
    with pytest.raises(SourceError):
        inspect_source(RunStore(tmp_path / "none.sqlite"))


def test_a_line_that_is_no_session_is_counted(tmp_path):
    path = tmp_path / "sessions.jsonl"
    path.write_text('{"answer": {}, "run_id": "a"}\n{"run_id": 1}\n')
    assert inspect_sessions(path).rejected_by_reason == {"unknown_shape": 2}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), JSON, min_size=1), min_size=1, max_size=3))
def test_whatever_stands_in_a_run_each_is_accounted_for(tmp_path, runs):
    path = tmp_path / "runs.jsonl"
    path.write_bytes(b"".join(orjson.dumps({"run_type": "llm", **run}) + b"\n" for run in runs))
    found = inspect_export(path)
    assert found.num_runs == found.num_readable + sum(found.rejected_by_reason.values())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(SESSION),
            JSON,
        ),
        max_size=3,
    )
)
def test_whatever_stands_in_a_session_each_is_accounted_for(tmp_path, rows):
    path = tmp_path / "sessions.jsonl"
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    found = inspect_sessions(path)
    assert found.num_runs == len(rows)
    assert found.num_runs == found.num_readable + sum(found.rejected_by_reason.values())
