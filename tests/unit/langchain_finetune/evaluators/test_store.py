import sqlite3
import stat

import pytest

from langchain_finetune.errors import StorageError
from langchain_finetune.evaluators._store import AnswerStore, Sheet
from langchain_finetune.evaluators.tool_calls import Answer, ToolCall

SHEET = Sheet("local base", "{}")
KEY = "a" * 64
ANSWER = Answer(
    "text \ud800",
    (ToolCall("f", {"n": 2**70, "x": [1.5, None, True]}), ToolCall("g", "{no json")),
    refusal="no",
    input_tokens=3,
    output_tokens=4,
    seconds=0.5,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "comparisons.sqlite"


def test_an_answer_is_there_for_the_next_one(path):
    with AnswerStore(path) as store:
        store.add(SHEET, KEY, ANSWER)
    with AnswerStore(path) as store:
        assert store.answers(SHEET) == {KEY: ANSWER}


@pytest.mark.parametrize("change", [{"model": "local tuned"}, {"settings": "{1}"}])
def test_answers_of_anything_else_are_not(path, change):
    with AnswerStore(path) as store:
        store.add(SHEET, KEY, ANSWER)
        assert store.answers(SHEET._replace(**change)) == {}


def test_two_comparisons_can_write_at_the_same_time(path):
    with AnswerStore(path) as first, AnswerStore(path) as second:
        first.add(SHEET, KEY, ANSWER)
        second.add(SHEET, "b", ANSWER)
        assert set(first.answers(SHEET)) == {KEY, "b"}


def test_only_its_owner_may_read_it(path):
    with AnswerStore(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_answers_of_the_first_layout_are_forgotten_as_nobody_knows_whose_they_are(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE answers (model TEXT, test_sha256 TEXT, settings TEXT, row INTEGER)")
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    with AnswerStore(path) as store:
        assert store.answers(SHEET) == {}
        store.add(SHEET, KEY, ANSWER)
    with AnswerStore(path) as store:
        assert store.answers(SHEET) == {KEY: ANSWER}


def test_a_file_of_a_later_version_is_left_alone(path):
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StorageError, match="layout 99"):
        AnswerStore(path)


def test_a_file_that_is_no_database_is_named(path):
    path.write_bytes(b"x" * 5000)
    with pytest.raises(StorageError, match=r"comparisons\.sqlite"):
        AnswerStore(path)
