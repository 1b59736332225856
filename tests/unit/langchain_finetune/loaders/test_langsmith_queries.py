from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_finetune.loaders._langsmith_queries import RunQuery, among, both, rated, run_of_v1, run_of_v2
from langchain_finetune.loaders._langsmith_source import Window
from tests.fakes.langsmith_filters import holds, parsed

START, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)


def query(**fields):
    return RunQuery(project_id="p", start=START, end=END, **fields)


def test_the_first_api_gets_no_limit_and_a_closed_window():
    body = query(filter='eq(name, "x")').v1("next")
    assert "limit" not in body
    assert (body["session"], body["run_type"], body["cursor"]) == (["p"], "llm", "next")
    assert body["start_time"] == "2026-01-01T00:00:00+00:00"
    assert body["filter"] == 'and(lt(start_time, "2026-02-01T00:00:00+00:00"), eq(name, "x"))'


def test_the_second_api_gets_upper_case_names_of_its_own():
    body = query(columns=("id", "session_id"), is_root=True).v2()
    assert (body["run_type"], body["selects"], body["page_size"]) == ("LLM", ["ID", "PROJECT_ID"], 1000)
    assert body["max_start_time"] == "2026-02-01T00:00:00+00:00"
    assert body["min_start_time"] < "2026-01-01"
    assert "cursor" not in body


def test_ids_are_asked_for_within_their_project_by_the_second_api_only():
    asked = query(run_ids=("a",), columns=("id",))
    assert asked.v1() == {"id": ["a"], "select": ["id"]}
    assert (asked.v2()["ids"], asked.v2()["project_ids"]) == (["a"], ["p"])


def test_a_run_of_the_second_api_is_one_of_the_first():
    run = {
        "id": "a",
        "project_id": "p",
        "run_type": "LLM",
        "status": "SUCCESS",
        "parent_run_ids": ["r", "c"],
        "feedback_stats": None,
    }
    assert run_of_v2(run) == {
        "id": "a",
        "session_id": "p",
        "run_type": "llm",
        "status": "success",
        "parent_run_ids": ["r", "c"],
        "parent_run_id": "c",
        "feedback_stats": None,
    }


@pytest.mark.parametrize(("parents", "parent"), [([], None), (["r"], "r"), (["r", "c"], "c")])
def test_the_parent_is_the_last_of_the_ancestors(parents, parent):
    assert run_of_v1({"id": "a", "parent_run_ids": parents})["parent_run_id"] == parent
    assert run_of_v1({"id": "a", "parent_run_id": "x", "parent_run_ids": parents})["parent_run_id"] == "x"


@given(
    st.dictionaries(
        st.sampled_from(["id", "run_type", "status", "parent_run_ids", "project_id"]),
        st.none() | st.integers() | st.text() | st.lists(st.text()),
    )
)
def test_whatever_stands_in_a_run_is_passed_on(run):
    assert run_of_v2(run).get("session_id") == run.get("project_id")


@given(st.text(), st.lists(st.text(), min_size=1), st.floats(allow_nan=False, allow_infinity=False))
def test_no_text_breaks_out_of_a_condition(key, values, least):
    condition = both([rated(key, least), among("id", values)])
    assert parsed(condition) == [
        "and",
        ["and", ["eq", "feedback_key", key], ["gte", "feedback_score", repr(least)]],
        ["in", "id", ["list", *values]],
    ]
    run = {"id": values[0], "feedback_stats": {key: {"avg": least}}}
    assert holds(parsed(condition), run)


def test_conditions_that_are_missing_are_left_out():
    assert both([None, ""]) is None
    assert both([None, "a"]) == "a"


@given(st.integers(1, 40))
def test_shards_cover_their_window_without_a_gap(num_parts):
    parts = Window(START, END).split(num_parts)
    assert (parts[0].end, parts[-1].start) == (END, START)
    assert all(newer.start == older.end for newer, older in pairwise(parts))
