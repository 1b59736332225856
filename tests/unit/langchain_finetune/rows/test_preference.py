import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_finetune.rows import FORMATS, Problem, count_tokens
from langchain_finetune.runs import Reason
from tests.fakes.training_rows import call, graded_row, preference_row, text_row

DPO = FORMATS["dpo"]
OK = {"role": "assistant", "content": "ok"}
WORSE = {"role": "assistant", "content": "worse"}
HI = {"role": "user", "content": "hi"}
IMAGE = {"type": "image_url", "image_url": {"url": "https://x/a.png"}}


def pair(*messages, preferred=OK, other=WORSE, **asked):
    return {
        "input": {"messages": list(messages or [HI]), **asked},
        "preferred_output": [preferred],
        "non_preferred_output": [other],
    }


def problems_of(row):
    misshapes = list(DPO.find_misshapes(row))
    return misshapes or list(DPO.find_problems(row))


@pytest.mark.parametrize(
    "good",
    [
        preference_row(1),
        pair(),
        pair(HI, OK, HI),
        pair(other={"role": "assistant", "tool_calls": [call()]}),
        pair(tools=None, parallel_tool_calls=False),
    ],
)
def test_good_rows_have_no_problem(good):
    assert problems_of(good) == []


@pytest.mark.parametrize(
    ("bad", "reason", "field"),
    [
        ({}, Reason.NO_MESSAGES, "input"),
        (pair() | {"input": {"messages": []}}, Reason.NO_MESSAGES, "input.messages"),
        (pair() | {"preferred_completion": []}, Reason.UNKNOWN_KEY, "preferred_completion"),
        (pair(functions=[]), Reason.UNKNOWN_KEY, "input.functions"),
        (pair({"content": "x"}), Reason.UNKNOWN_ROLE, "input.messages[0].role"),
        (pair() | {"preferred_output": []}, Reason.INVALID_OUTPUT, "preferred_output"),
        (pair() | {"non_preferred_output": None}, Reason.INVALID_OUTPUT, "non_preferred_output"),
        (pair() | {"preferred_output": [OK, OK]}, Reason.INVALID_OUTPUT, "preferred_output"),
        (pair() | {"preferred_output": OK}, Reason.INVALID_OUTPUT, "preferred_output"),
        (pair(other=HI), Reason.INVALID_OUTPUT, "non_preferred_output"),
        (pair(other=OK | {"content": 5}), Reason.UNSUPPORTED_CONTENT, "non_preferred_output[0].content"),
        (pair(tools=[{"type": "web"}]), Reason.INVALID_TOOL, "input.tools[0]"),
        (pair({"role": "developer", "content": "x"}, HI), Reason.UNKNOWN_ROLE, "input.messages[0].role"),
        (
            pair(HI | {"content": "<|im_end|>"}),
            Reason.SPECIAL_TOKEN,
            "input.messages[0].content",
        ),
        (
            pair(other=OK | {"content": "<|im_end|>"}),
            Reason.SPECIAL_TOKEN,
            "non_preferred_output[0].content",
        ),
        (pair(preferred=OK | {"content": ""}), Reason.EMPTY_ANSWER, "preferred_output[0]"),
        (pair(HI | {"content": [IMAGE]}), Reason.UNSUPPORTED_CONTENT, "input.messages[0].content"),
        (pair(other=OK), Reason.SAME_OUTPUTS, "non_preferred_output"),
    ],
)
def test_each_rule_is_told_with_its_field(bad, reason, field):
    assert Problem(reason, field) in problems_of(bad)


def test_a_rule_is_told_once_and_where_it_is_broken():
    [problem] = problems_of(pair(HI | {"content": [IMAGE] * 11}))
    assert problem == Problem(Reason.UNSUPPORTED_CONTENT, "input.messages[0].content")


def test_a_call_of_the_conversation_is_answered_before_the_outputs():
    asked = preference_row(1)
    del asked["input"]["messages"][-1]
    assert {problem.reason for problem in problems_of(asked)} == {Reason.UNANSWERED_TOOL_CALL}


def test_a_supervised_row_is_not_one_of_preferences_nor_the_other_way_round():
    assert Problem(Reason.NO_MESSAGES, "input") in problems_of(text_row(1))
    assert list(FORMATS["supervised"].find_misshapes(preference_row(1)))
    assert list(DPO.find_misshapes(graded_row(1)))


def test_both_outputs_and_the_tools_are_counted_once():
    row = preference_row(1)

    def counted(changed):
        return count_tokens(DPO.as_chat(changed), lambda text: len(text.split()))

    longer = copy.deepcopy(row)
    longer["non_preferred_output"][0]["content"] += " and more"
    without_tools = {**row, "input": {"messages": row["input"]["messages"]}}
    assert counted(longer) == counted(row) + 2
    assert counted(without_tools) < counted(row)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(OK) | st.just(HI),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["messages", "tools", "role", "content", "x"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(
    st.dictionaries(
        st.sampled_from(["input", "preferred_output", "non_preferred_output", "messages", "tools"]), anything
    ),
    st.sampled_from(sorted(FORMATS)),
)
def test_any_row_of_any_method_can_be_looked_at(row, method):
    row_format = FORMATS[method]
    if not list(row_format.find_misshapes(row)):
        list(row_format.find_problems(row))
        assert count_tokens(row_format.as_chat(row), len) > 0
