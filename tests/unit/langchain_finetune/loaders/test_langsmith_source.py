from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_finetune.errors import FineTuneError, SelectionError
from langchain_finetune.handles import RunSelection
from langchain_finetune.loaders._langsmith_source import EARLIEST, LangSmithSource, window_of
from langchain_finetune.loaders._run_source import has_corrections, is_source

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "runs", "items", "name", "cursors", "next", "version"]), inner
        )
    ),
    max_leaves=10,
)
OLD = {"version": "0.15.0"}
NEW = {"version": "0.16.0", "instance_flags": {"sdb_query_enabled": True}}
PROJECT = [{"id": "p", "name": "my-app", "start_time": "2026-01-01T00:00:00"}]


class Api:
    """Answers by path."""

    url = "https://host"

    def __init__(self, info=OLD, projects=PROJECT, answer=None, feedback=()):
        self._answers = {"/info": info, "/sessions": projects, "/feedback": list(feedback)}
        self._answer = {"runs": [], "items": []} if answer is None else answer
        self.bodies = []

    def get(self, path, query, subject):
        return self._answers[path]

    def post(self, path, body, subject):
        self.bodies.append(body)
        return self._answer

    post_v2 = post


@given(JSON, JSON, JSON, JSON)
def test_whatever_answers_there_is_a_page_or_a_clear_error(info, projects, answer, feedback):
    for known in (OLD, info):
        for listed in (PROJECT, projects):
            source = LangSmithSource(Api(known, listed, answer, [feedback]), "my-app")
            with suppress(FineTuneError):
                page = next(source.query(RunSelection(project_name="my-app")))
                assert all(run["id"] for run in page)
                source.corrections(["a"])


def test_it_is_a_source_that_keeps_corrections():
    source = LangSmithSource(Api(), "my-app")
    assert is_source(source)
    assert has_corrections(source)
    assert not is_source(object())


@pytest.mark.parametrize("info", [OLD, NEW])
def test_a_selection_is_asked_as_two_questions_only_where_a_score_narrows_it(info):
    for fields, num_questions in (
        ({}, 1),
        ({"feedback": {"a": 1, "b": 2}}, 2),
        ({"feedback": {"a": 1}, "unrated": "keep"}, 1),
        ({"feedback": lambda _: True}, 1),
    ):
        api = Api(info)
        assert list(LangSmithSource(api, "my-app").query(RunSelection(**fields))) == [[]] * num_questions
        assert len(api.bodies) == num_questions


def test_a_project_is_found_by_its_whole_name():
    source = LangSmithSource(Api(projects=[{**PROJECT[0], "name": "my-app-2"}]), "my-app")
    with pytest.raises(SelectionError, match="no project 'my-app'"):
        _ = source.project


def test_the_newest_correction_counts():
    feedback = [
        {"id": "1", "run_id": "a", "correction": "old", "modified_at": "2026-01-01"},
        {"id": "2", "run_id": "a", "correction": "new", "modified_at": "2026-01-03"},
        {"id": "3", "run_id": "a", "correction": None, "modified_at": "2026-01-04"},
        {"id": "4", "run_id": "a", "correction": "between", "modified_at": "2026-01-02"},
    ]
    assert LangSmithSource(Api(feedback=feedback), "my-app").corrections(["a"]) == {"a": "new"}


def test_an_open_window_ends_now_and_begins_before_the_first_run():
    now = datetime(2026, 2, 1, tzinfo=UTC)
    window = window_of(RunSelection(), now)
    assert (window.start, window.end) == (EARLIEST, now)
    assert window_of(RunSelection(start_time="2026-01-01"), now).start == datetime(2026, 1, 1, tzinfo=UTC)
