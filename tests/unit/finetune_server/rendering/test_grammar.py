"""The grammars accept what the template renders, and llguidance reads every one of them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llguidance import LLMatcher, LLTokenizer

from finetune_server.rendering.grammar import answer_grammar, parameters_of, schema_grammar
from finetune_server.rendering.render import END_OF_TURN, render_conversation

BYTES = LLTokenizer("byte")
SUM = {
    "type": "object",
    "properties": {"num1": {"type": "number"}, "operation": {"enum": ["+", "/"]}},
    "required": ["num1", "operation"],
}
CALCULATOR = {"type": "function", "function": {"name": "Calculator", "parameters": SUM}}
BYE = {"type": "function", "function": {"name": "say_bye"}}
CALL = '<tool_call>\n{"name": "Calculator", "arguments": {"num1": 56, "operation": "/"}}\n</tool_call>'
BYE_CALL = '<tool_call>\n{"name": "say_bye", "arguments": {}}\n</tool_call>'

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10)
# llguidance has DEL in a JSON string escaped only; as it cannot be typed, that is no loss.
strings = names.filter(lambda text: "\x7f" not in text)


def accepts(grammar: str, text: str) -> bool:
    matcher = LLMatcher(BYTES, grammar)
    assert not matcher.get_error()
    tokens = list(text.encode())
    return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()


def forced(*tools, is_single_call=True, **more) -> str:
    return answer_grammar(tools=tools, calls="required", is_single_call=is_single_call, **more)


def test_a_forced_call_is_a_call_and_nothing_else():
    grammar = forced(CALCULATOR)
    assert accepts(grammar, CALL)
    for other in (
        "",
        "Let me see.",
        f"Let me see.\n{CALL}",
        f"{CALL}\n{CALL}",
        BYE_CALL,
        CALL.replace("56", '"56"'),
        CALL.replace('"/"', '"%"'),
        CALL.replace(": ", ":"),
        CALL.replace('"/"', '"/", "more": 1'),
    ):
        assert not accepts(grammar, other), other


def test_where_several_calls_may_be_made_each_is_of_any_tool():
    grammar = forced(CALCULATOR, BYE, is_single_call=False)
    for text in (CALL, BYE_CALL, f"{CALL}\n{BYE_CALL}\n{CALL}"):
        assert accepts(grammar, text)
    assert not accepts(grammar, "\n".join([CALL] * 9))
    assert not accepts(grammar, CALL + CALL)


def test_an_answer_by_schema_may_be_spaced_as_the_model_has_learned():
    grammar = answer_grammar(tools=[], calls="none", is_single_call=False, schema=SUM)
    assert accepts(grammar, '{"num1":56,"operation":"/"}')
    assert accepts(grammar, '{"num1": 56, "operation": "/"}')
    for spaces in ("\n", "  ", " ?"):
        assert not accepts(grammar, f'{{"num1": 56,{spaces}"operation": "/"}}')
    assert not accepts(grammar, '{"num1": 56}')


def test_an_answer_by_schema_may_be_a_call_where_tools_are_offered():
    grammar = answer_grammar(tools=[CALCULATOR], calls="allowed", is_single_call=False, schema=SUM)
    assert accepts(grammar, CALL)
    assert accepts(grammar, '{"num1": 56, "operation": "/"}')
    assert not accepts(grammar, "Hello")


def test_a_strict_tool_that_may_be_called_is_called_by_its_schema_or_not_at_all():
    strict = {"function": CALCULATOR["function"] | {"strict": True}}
    grammar = answer_grammar(tools=[strict], calls="allowed", is_single_call=False)
    for text in ("Hello <b>", CALL, f"Let me see.\n{CALL}", f"{CALL}\n{CALL}"):
        assert accepts(grammar, text), text
    assert not accepts(grammar, CALL.replace("56", '"56"'))
    assert not accepts(grammar, "<tool_call>\nHello")


def test_without_a_wish_there_is_no_grammar():
    assert answer_grammar(tools=[], calls="none", is_single_call=False) is None
    assert answer_grammar(tools=[CALCULATOR], calls="allowed", is_single_call=False) is None


@given(names, st.dictionaries(strings, st.integers(-(2**53), 2**53) | strings, max_size=3))
def test_what_is_rendered_for_training_is_what_a_forced_call_writes(name, arguments):
    """Train and serve cannot drift apart: the grammar accepts the rendered text to the letter."""
    types = {
        key: {"type": "string" if isinstance(value, str) else "integer"} for key, value in arguments.items()
    }
    parameters = {"type": "object", "properties": types, "required": list(types)}
    call = {"name": name, "arguments": json.dumps(arguments)}
    rendered = "".join(
        segment.text
        for segment in render_conversation([{"role": "assistant", "function_call": call}])
        if segment.is_trained
    )
    grammar = forced({"function": {"name": name, "parameters": parameters}})
    assert accepts(grammar, rendered.removesuffix(END_OF_TURN))


def test_references_are_followed_and_inner_objects_closed():
    schema = {
        "type": "object",
        "properties": {
            "left": {"$ref": "#/$defs/Side"},
            "all": {"type": "array", "items": {"$ref": "#/$defs/Side"}},
        },
        "required": ["left"],
        "$defs": {"Side": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}},
    }
    grammar = schema_grammar(schema, is_strict=True)
    assert accepts(grammar, '{"left": {"x": 1}, "all": [{"x": 2}]}')
    assert not accepts(grammar, '{"left": {"x": 1, "y": 2}}')


def test_what_a_schema_leaves_open_on_purpose_stays_open():
    assert accepts(schema_grammar({"type": "object"}, is_strict=False), '{"any": ["thing"]}')
    opened = {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": True}
    assert accepts(schema_grammar(opened, is_strict=False), '{"a": 1, "b": 2}')
    joined = {"allOf": [{"type": "object", "properties": {key: {"type": "integer"}}} for key in "ab"]}
    assert accepts(schema_grammar(joined, is_strict=False), '{"a": 1, "b": 2}')


@pytest.mark.parametrize("is_strict", [True, False])
def test_only_a_strict_schema_must_be_kept_in_every_word(is_strict):
    schema = {"type": "string", "not": {"const": "x"}}
    fault = LLMatcher.validate_grammar(schema_grammar(schema, is_strict=is_strict))
    assert bool(fault) is is_strict


def test_a_function_without_parameters_has_none_and_others_take_an_object():
    assert not accepts(schema_grammar(parameters_of({"name": "f"}), is_strict=False), '{"a": 1}')
    assert parameters_of({"name": "f", "parameters": {"properties": {}}})["type"] == "object"
