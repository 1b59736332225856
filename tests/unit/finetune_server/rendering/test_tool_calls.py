"""An answer is taken apart the same way however it arrives, and nothing of it is lost."""

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_server.rendering.render import END_OF_TURN, render_conversation
from finetune_server.rendering.tool_calls import (
    ParsedAnswer,
    ToolCall,
    ToolCallParser,
    new_call_id,
    parse_answer,
)

CALCULATOR = '<tool_call>\n{"name": "Calculator", "arguments": {"num1": 56, "num2": 7}}\n</tool_call>'
CALL = ToolCall("Calculator", '{"num1": 56, "num2": 7}')

characters = st.characters(exclude_categories=["Cs"])
names = st.text(characters, min_size=1, max_size=12)
numbers = st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(characters, max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(names, json_values, max_size=4)
contents = st.text(characters).filter(lambda text: text.strip() and "<tool_call>" not in text)
# What models really write wrong, and what looks like markup.
fragments = st.sampled_from(
    [
        "<tool_call>",
        "</tool_call>",
        "<tool",
        "<",
        "\n",
        " ",
        '{"name": "f", "arguments": {}}',
        '{"name": "f"',
        '"',
        "\\",
        "}",
        "{",
        "[",
        "a",
        CALCULATOR,
    ]
)
texts = st.lists(fragments, max_size=12).map("".join)


def parse_in_pieces(text: str, cuts: list[int]) -> ParsedAnswer:
    parser = ToolCallParser()
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    parsed = [item for start, end in pairwise(places) for item in parser.feed(text[start:end])]
    parsed += parser.finish()
    content = "".join(item for item in parsed if isinstance(item, str))
    return ParsedAnswer(content or None, tuple(item for item in parsed if isinstance(item, ToolCall)))


def rendered(message: dict) -> str:
    trained = "".join(segment.text for segment in render_conversation([message]) if segment.is_trained)
    return trained.removesuffix(END_OF_TURN)


@pytest.mark.parametrize(
    ("text", "content", "calls"),
    [
        ("Hello", "Hello", ()),
        ("", None, ()),
        (" \n", " \n", ()),
        ("a\n", "a\n", ()),
        (CALCULATOR, None, (CALL,)),
        (f"\n{CALCULATOR}\n", None, (CALL,)),
        (f"Let me see.\n{CALCULATOR}", "Let me see.", (CALL,)),
        (f"Let me see.\n\n{CALCULATOR}", "Let me see.\n", (CALL,)),
        (f"{CALCULATOR}\n{CALCULATOR}", None, (CALL, CALL)),
        (f"{CALCULATOR}\n\n \n{CALCULATOR}", None, (CALL, CALL)),
        (f"{CALCULATOR}\nDone.", "\nDone.", (CALL,)),
        ('<tool_call>{"name":"f","arguments":{"a":1}}</tool_call>', None, (ToolCall("f", '{"a":1}'),)),
    ],
)
def test_text_and_calls_are_told_apart(text, content, calls):
    assert parse_answer(text) == ParsedAnswer(content, calls)


@pytest.mark.parametrize(
    ("body", "arguments"),
    [
        ('{"arguments": {"b" : 1.0}, "name": "f"}', '{"b" : 1.0}'),
        ('{"name": "f"}', "{}"),
        ('{"name": "f", "arguments": [1,2]}', "[1,2]"),
        ('{"name": "f", "arguments": "{\\"a\\": 1}"}', '{"a": 1}'),
        ('{"name": "f", "arguments": {"t": "</tool_call>"}}', '{"t": "</tool_call>"}'),
        ('{"name": "f", "arguments": {"t": "<tool_call>"}}', '{"t": "<tool_call>"}'),
        ('{"id": 7, "name": "f", "arguments": {"a": {"arguments": 1}}}', '{"a": {"arguments": 1}}'),
    ],
)
def test_arguments_are_given_to_the_letter(body, arguments):
    parsed = parse_answer(f"<tool_call>\n{body}\n</tool_call>")
    assert parsed == ParsedAnswer(None, (ToolCall("f", arguments),))


@pytest.mark.parametrize("tail", ["", "\n", "\n</tool", "\n</tool_call"])
def test_a_whole_call_counts_when_its_closing_tag_is_cut_off(tail):
    assert parse_answer(CALCULATOR.removesuffix("\n</tool_call>") + tail) == ParsedAnswer(None, (CALL,))


@pytest.mark.parametrize(
    "broken",
    [
        "<tool_call>",
        "<tool_call>\n",
        "<tool_call>\nI would call the calculator.",
        '<tool_call>\n{"name": "f", "arguments": {"a": 1}\n</tool_call>',
        '<tool_call>\n{"name": "f", "arguments": {"a": "1}}\n</tool_call>',
        '<tool_call>\n{"name": 1, "arguments": {}}\n</tool_call>',
        '<tool_call>\n{"arguments": {}}\n</tool_call>',
        '<tool_call>\n{"name": "f", "arguments": {"a": NaN}}\n</tool_call>',
        '<tool_call>\n{"name": "f", "arguments": {"a": 01}}\n</tool_call>',
        '<tool_call>\n{"name": "\\ud800", "arguments": {}}\n</tool_call>',
        "<tool_call>\n" + '{"a": ' * 3000 + "1" + "}" * 3000 + "\n</tool_call>",
    ],
)
def test_what_is_no_call_stays_text_and_a_call_behind_it_is_found(broken):
    assert parse_answer(broken) == ParsedAnswer(broken, ())
    assert parse_answer(f"{broken}\n{CALCULATOR}") == ParsedAnswer(broken, (CALL,))


def test_text_is_handed_on_as_soon_as_it_cannot_be_a_call():
    parser = ToolCallParser()
    assert list(parser.feed("Sum")) == ["Sum"]
    assert list(parser.feed(" <b")) == [" <b"]
    assert list(parser.feed(" <tool")) == [" "]
    assert list(parser.feed("ing>")) == ["<tooling>"]
    assert list(parser.finish()) == []


def test_a_call_is_handed_on_with_its_last_character():
    parser = ToolCallParser()
    assert list(parser.feed(CALCULATOR[:-1])) == []
    assert list(parser.feed(CALCULATOR[-1])) == [CALL]


@given(texts, st.lists(st.integers(0, 10_000), max_size=12))
@settings(max_examples=300)
def test_any_chunking_gives_what_the_whole_text_gives(text, cuts):
    assert parse_in_pieces(text, cuts) == parse_answer(text)


@given(texts)
def test_text_without_a_call_comes_back_to_the_letter(text):
    parsed = parse_answer(text)
    if not parsed.calls:
        assert (parsed.content or "") == text


@given(st.none() | contents, st.lists(st.tuples(names, objects), max_size=3))
def test_rendered_calls_are_parsed_back(content, calls):
    wire = [
        {"type": "function", "function": {"name": name, "arguments": json.dumps(value)}}
        for name, value in calls
    ]
    parsed = parse_answer(rendered({"role": "assistant", "content": content, "tool_calls": wire}))
    assert [(call.name, json.loads(call.arguments)) for call in parsed.calls] == calls
    assert parsed.content == content


@given(contents)
def test_arguments_that_are_no_json_come_back_to_the_letter(arguments):
    try:
        json.loads(arguments)
    except ValueError:
        call = {"name": "f", "arguments": arguments}
        parsed = parse_answer(rendered({"role": "assistant", "function_call": call}))
        assert parsed.calls == (ToolCall("f", arguments),)


def test_call_ids_are_fresh_and_look_like_openais():
    first, second = new_call_id(), new_call_id()
    assert first != second
    assert re.fullmatch(r"call_[0-9A-Za-z]{24}", first)
