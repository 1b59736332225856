import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_finetune.runs import read_correction
from tests.fakes.recorded_runs import lc_message

HEY = {"role": "assistant", "content": "hey"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        "role",
        "content",
        "tool_calls",
        "messages",
        "type",
        "function",
        "name",
        "arguments",
        "args",
        "id",
        "output",
    ]
)


@pytest.mark.parametrize(
    "correction",
    [
        "better",
        {"content": "better"},
        {"output": "better"},
        {"answer": "better"},
        {"role": "assistant", "content": "better"},
        {"type": "ai", "content": "better"},
        {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "better"}]},
    ],
)
def test_every_form_of_a_text_is_the_assistant_s_message(correction):
    assert read_correction(correction) == {"role": "assistant", "content": "better"}


@pytest.mark.parametrize(
    "call",
    [CALL, {"id": "call_1", "name": "add", "args": {"a": 1}, "type": "tool_call"}],
)
def test_tool_calls_are_kept_in_either_form(call):
    message = read_correction({"role": "assistant", "content": None, "tool_calls": [call]})
    assert message == {"role": "assistant", "content": None, "tool_calls": [CALL]}


def test_a_call_without_an_id_gets_the_same_one_every_time():
    correction = {"tool_calls": [{"name": "add", "args": {"a": 1}}, {"name": "add", "args": {"a": 1}}]}
    first = read_correction(correction)
    assert read_correction(correction) == first
    assert len({call["id"] for call in first["tool_calls"]}) == 2


@pytest.mark.parametrize(
    "correction",
    [
        None,
        "",
        "  ",
        3,
        [],
        {},
        {"stars": 3},
        {"content": ""},
        {"content": [{"type": "text"}]},
        {"role": "user", "content": "hi"},
        {"tool_calls": []},
        {"content": "x", "tool_calls": "add"},
        {"tool_calls": [{"name": "add", "args": "{"}]},
        {"tool_calls": [{"name": "add", "args": "[]"}]},
        {"tool_calls": [{"name": "", "args": {}}]},
        {"tool_calls": [3]},
        {"messages": [{"role": "user", "content": "hi"}]},
    ],
)
def test_what_is_no_answer_is_left(correction):
    assert read_correction(correction) is None


@pytest.mark.parametrize(
    "correction",
    [
        "hey",
        HEY,
        {"content": "hey"},
        {"message": HEY},
        {"output": "hey"},
        {"anything": "hey"},
        {"type": "ai", "content": "hey"},
        lc_message("AIMessage", "hey"),
        {"answer": lc_message("AIMessage", "hey")},
        {**HEY, "reasoning_content": "Hm."},
    ],
)
def test_a_correction_is_the_message_that_should_have_been_given(correction):
    assert read_correction(correction) == HEY


def test_a_correction_may_be_a_call():
    assert read_correction({"tool_calls": [CALL]}) == {
        "role": "assistant",
        "content": None,
        "tool_calls": [CALL],
    }


@given(
    JSON
    | st.recursive(
        JSON,
        lambda inner: st.dictionaries(KEYS, inner, max_size=4) | st.lists(inner, max_size=3),
        max_leaves=12,
    )
)
def test_whatever_people_wrote_is_a_message_of_the_assistant_or_nothing(correction):
    message = read_correction(correction)
    if message is not None:
        assert message["role"] == "assistant"
        assert message["content"] or message["tool_calls"]
        assert all(
            isinstance(json.loads(it["function"]["arguments"]), dict) for it in message.get("tool_calls", ())
        )


def test_depth_is_no_crash():
    deep = {"content": "x"}
    for _ in range(5000):
        deep = {"messages": [deep]}
    assert read_correction(deep) is None
