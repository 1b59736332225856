import pytest

from langchain_finetune.rows import FORMATS, Problem, count_tokens
from langchain_finetune.runs import Reason
from tests.fakes.training_rows import TOOL, graded_row

FORMAT = FORMATS["reinforcement"]
HI = {"role": "user", "content": "hi"}
OK = {"role": "assistant", "content": "ok"}


def problems_of(row):
    return list(FORMAT.find_misshapes(row)) or list(FORMAT.find_problems(row))


@pytest.mark.parametrize(
    "good",
    [
        graded_row(1),
        {"messages": [HI]},
        {"messages": [HI, OK, HI], "tools": [TOOL], "anything": [1, None]},
        # Every key but two is the grader's, also those that another method has.
        {"messages": [HI], "functions": "mine", "input": 1},
    ],
)
def test_good_rows_have_no_problem(good):
    assert problems_of(good) == []


@pytest.mark.parametrize(
    ("bad", "reason", "field"),
    [
        ({"answer": 1}, Reason.NO_MESSAGES, "messages"),
        ({"messages": [HI, OK]}, Reason.NO_QUESTION, "messages[1]"),
        ({"messages": [{"role": "system", "content": "x"}, HI]}, Reason.UNKNOWN_ROLE, "messages[0].role"),
        ({"messages": [HI], "tools": {}}, Reason.INVALID_TOOL, "tools"),
        ({"messages": [{**HI, "content": None}]}, Reason.UNSUPPORTED_CONTENT, "messages[0].content"),
    ],
)
def test_each_rule_is_told_with_its_field(bad, reason, field):
    assert problems_of(bad) == [Problem(reason, field)]


def test_what_only_the_grader_reads_is_not_counted():
    row = graded_row(1)
    assert count_tokens(FORMAT.as_chat(row), len) == count_tokens({"messages": row["messages"]}, len)
