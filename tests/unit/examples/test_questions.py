"""The questions are distinct, the same each time, and mean what they say."""

from collections import Counter

import pytest
from questions import all_questions, notebook_questions, plain_question


def test_the_same_questions_each_time() -> None:
    assert all_questions() == all_questions()
    assert all_questions(seed=8) != all_questions()


def test_questions_are_distinct_and_hold_the_notebooks_twenty() -> None:
    questions = all_questions()
    texts = {question.text for question in questions}
    assert len(questions) == len(texts) == 280
    assert len(notebook_questions()) == 20
    assert {question.text for question in notebook_questions()} <= texts


def test_each_operation_is_asked_about_equally_often() -> None:
    notebook = set(notebook_questions())
    operations = Counter(question.operation for question in all_questions() if question not in notebook)
    assert operations == {"+": 65, "-": 65, "*": 65, "/": 65}


def test_the_numbers_stand_in_the_text_in_their_order_and_the_result_is_whole() -> None:
    for question in all_questions():
        first = question.text.index(str(question.num1))
        assert str(question.num2) in question.text[first + len(str(question.num1)) :]
        assert question.answer > 0
        assert question.answer.is_integer()


def test_a_plain_question_is_read() -> None:
    question = plain_question("What's 56/7?")
    assert question.arguments == {"num1": 56, "num2": 7, "operation": "/"}
    assert question.answer == 8.0


def test_another_form_is_refused() -> None:
    with pytest.raises(ValueError, match="not of the form"):
        plain_question("How much is 56/7?")
