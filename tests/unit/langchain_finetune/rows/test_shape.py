import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_finetune.rows import Problem, find_misshapes, find_problems
from langchain_finetune.runs import Reason
from tests.fakes.training_rows import call, text_row, tool_row

HI = {"role": "user", "content": "hi"}
OK = {"role": "assistant", "content": "ok"}


def chat(*messages, **fields):
    return {"messages": list(messages), **fields}


@pytest.mark.parametrize(
    "good",
    [
        text_row(1),
        tool_row(1),
        chat(HI, {"role": "assistant", "tool_calls": [call()]}),
        chat(HI, {**OK, "weight": 1, "refusal": None, "tool_calls": None, "function_call": None}),
        chat(HI, OK, tools=None, functions=None, parallel_tool_calls=None),
        chat(HI, OK, parallel_tool_calls=False),
        chat({"role": "user", "content": [{"type": "text", "text": "t"}], "name": "ann"}, OK),
    ],
)
def test_good_rows_have_no_misshape_and_can_be_held_to_the_rules(good):
    assert list(find_misshapes(good)) == []
    assert list(find_problems(good)) == []


@pytest.mark.parametrize(
    ("bad", "reason", "field"),
    [
        ({}, Reason.NO_MESSAGES, "messages"),
        (chat(), Reason.NO_MESSAGES, "messages"),
        ({"messages": "hi"}, Reason.NO_MESSAGES, "messages"),
        (chat(HI, OK, weight=1), Reason.UNKNOWN_KEY, "weight"),
        (chat(HI, {**OK, "id": 1}), Reason.UNKNOWN_KEY, "messages[1].id"),
        (chat("hi", OK), Reason.UNKNOWN_MESSAGE, "messages[0]"),
        (chat({"content": "hi"}, OK), Reason.UNKNOWN_ROLE, "messages[0].role"),
        (chat({"role": "user"}, OK), Reason.UNSUPPORTED_CONTENT, "messages[0].content"),
        (chat({"role": "user", "content": 5}, OK), Reason.UNSUPPORTED_CONTENT, "messages[0].content"),
        (chat({"role": "user", "content": ["t"]}, OK), Reason.UNSUPPORTED_CONTENT, "messages[0].content"),
        (
            chat({"role": "user", "content": [{"type": "image_url"}]}, OK),
            Reason.UNSUPPORTED_CONTENT,
            "messages[0].content",
        ),
        (chat(HI, {**OK, "weight": 2}), Reason.INVALID_WEIGHT, "messages[1].weight"),
        (chat(HI, {**OK, "weight": True}), Reason.INVALID_WEIGHT, "messages[1].weight"),
        (chat(HI, {**OK, "weight": 0}), Reason.NOTHING_TO_LEARN, "messages"),
        (chat(HI, {**OK, "name": 5}), Reason.UNKNOWN_MESSAGE, "messages[1].name"),
        (chat(HI, {**OK, "refusal": 5}), Reason.UNKNOWN_MESSAGE, "messages[1].refusal"),
        (chat(HI, {**OK, "tool_calls": []}), Reason.INVALID_TOOL_CALL, "messages[1].tool_calls"),
        (
            chat(HI, {**OK, "tool_calls": [{"type": "function"}]}),
            Reason.INVALID_TOOL_CALL,
            "messages[1].tool_calls",
        ),
        (
            chat(HI, {**OK, "function_call": {"name": "f", "arguments": {}}}),
            Reason.INVALID_TOOL_CALL,
            "messages[1].function_call",
        ),
        (
            chat(HI, {"role": "tool", "content": "5", "tool_call_id": 5}, OK),
            Reason.ORPHAN_TOOL_MESSAGE,
            "messages[1].tool_call_id",
        ),
        (chat(HI, {**OK, "content": []}), Reason.UNSUPPORTED_CONTENT, "messages[1].content"),
        (chat(HI, {**OK, "audio": {"id": "a"}}), Reason.UNSUPPORTED_CONTENT, "messages[1].audio"),
        (chat(HI, {"role": "function", "content": "5"}, OK), Reason.UNKNOWN_MESSAGE, "messages[1].name"),
        (
            chat(HI, {"role": "function", "name": "f"}, OK),
            Reason.UNSUPPORTED_CONTENT,
            "messages[1].content",
        ),
        (
            chat(HI, {**OK, "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]}),
            Reason.INVALID_TOOL_CALL,
            "messages[1].tool_calls",
        ),
        (chat(HI, OK, functions=[]), Reason.INVALID_TOOL, "functions"),
        (chat(HI, OK, functions=[{"name": "f", "description": 5}]), Reason.INVALID_TOOL, "functions[0]"),
        (chat(HI, OK, functions=[{"name": "f", "strict": "yes"}]), Reason.INVALID_TOOL, "functions[0]"),
        (chat(HI, OK, tools={}), Reason.INVALID_TOOL, "tools"),
        (chat(HI, OK, tools=[{"type": "web_search"}]), Reason.INVALID_TOOL, "tools[0]"),
        (chat(HI, OK, functions=["f"]), Reason.INVALID_TOOL, "functions[0]"),
        (chat(HI, OK, parallel_tool_calls="yes"), Reason.INVALID_TOOL, "parallel_tool_calls"),
    ],
)
def test_each_misshape_names_its_reason_and_place(bad, reason, field):
    assert list(find_misshapes(bad)) == [Problem(reason, field)]


def test_a_key_that_is_a_sentence_is_not_repeated():
    [problem] = find_misshapes(chat(HI, OK, **{"my secret sentence": 1}))
    assert problem == Problem(Reason.UNKNOWN_KEY, "(a key)")


_keys = st.sampled_from(
    ["role", "content", "type", "text", "tool_calls", "function", "name", "arguments", "id", "parameters"]
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=4),
    max_leaves=12,
)
_messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "tool"])},
        optional={
            "content": anything,
            "tool_calls": anything,
            "function_call": anything,
            "tool_call_id": anything,
        },
    ),
    max_size=3,
)


@given(
    st.fixed_dictionaries(
        {"messages": _messages | anything}, optional={"tools": anything, "functions": anything}
    )
)
def test_what_has_no_misshape_can_be_held_to_the_rules(row):
    if not list(find_misshapes(row)):
        list(find_problems(row))
