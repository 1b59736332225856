import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_finetune.rows import count_tokens, estimate_tokens
from tests.fakes.training_rows import TOOL, call, text_row


def words(text):
    return len(text.split())


def chat(*messages, **fields):
    return {"messages": list(messages), **fields}


def test_a_chat_counts_three_a_message_and_three_a_row():
    # user (1) + 3 words, assistant (1) + 3 words
    row = chat({"role": "user", "content": "What is it?"}, {"role": "assistant", "content": "It is one."})
    assert count_tokens(row, words) == 3 + (3 + 1 + 3) + (3 + 1 + 3)


def test_a_name_and_a_call_count():
    plain = chat({"role": "user", "content": "hi"})
    named = chat({"role": "user", "content": "hi", "name": "ann"})
    assert count_tokens(named, words) - count_tokens(plain, words) == 2
    calling = chat({"role": "assistant", "content": None, "tool_calls": [call(arguments='{"a": 1}')]})
    assert count_tokens(calling, words) == 3 + 3 + 1 + (3 + 1 + 2)
    legacy = chat({"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}})
    assert count_tokens(legacy, words) == 3 + 3 + 1 + (3 + 1 + 1)


def test_tools_count_as_in_the_cookbook():
    # 12 at the end, 7 for the function and 3 words of "Calculator:A calculator function", 3 for having
    # properties, and for its one property 3 and the word "num1:number:".
    with_tools = chat({"role": "user", "content": "hi"}, tools=[TOOL])
    without = chat({"role": "user", "content": "hi"})
    assert count_tokens(with_tools, words) - count_tokens(without, words) == 12 + 7 + 3 + 3 + 3 + 1


def test_choices_and_what_lies_deeper_count():
    def tokens(schema):
        function = {"name": "f", "parameters": {"type": "object", "properties": {"a": schema}}}
        return count_tokens(chat({"role": "user", "content": "hi"}, functions=[function]), words)

    plain = tokens({"type": "string"})
    assert tokens({"type": "string", "enum": ["x", "y"]}) - plain == -3 + 2 * (3 + 1)
    assert tokens({"type": "object", "properties": {"b": {"type": "string"}}}) - plain == 4
    assert tokens({"type": "array", "items": {"properties": {"b": {"type": "string"}}}}) - plain == 4


@pytest.mark.parametrize(("detail", "tokens"), [("low", 85), ("high", 765), (None, 765)])
def test_an_image_counts_as_tiles_and_not_as_the_text_of_its_url(detail, tokens):
    part = {
        "type": "image_url",
        "image_url": {"url": "data:image/png;base64," + "A" * 9999, "detail": detail},
    }
    assert count_tokens(chat({"role": "user", "content": [part]}), words) == 3 + 3 + 1 + tokens


def test_a_schema_without_an_end_is_counted_to_a_depth():
    schema = {}
    for _ in range(2000):
        schema = {"properties": {"a": schema}}
    assert count_tokens(chat({"role": "user", "content": "hi"}, functions=[{"parameters": schema}]), words)


@given(st.integers(), st.text())
def test_an_estimate_grows_with_the_text(number, text):
    row = text_row(number)
    longer = {"messages": [*row["messages"], {"role": "user", "content": text}]}
    assert estimate_tokens(longer) > estimate_tokens(row) > 0
