import json

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_finetune.rows import FORMATS, Problem, arguments, find_misfits
from langchain_finetune.runs import Reason
from tests.fakes.training_rows import call, graded_row, preference_row, tool_row

PLACE = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "unit": {"enum": ["c", "f"]},
        "days": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "near": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    "required": ["city"],
    "additionalProperties": False,
}


def row(given_arguments, schema=None, name="weather"):
    answer = {"role": "assistant", "content": None, "tool_calls": [call(name, given_arguments)]}
    tool = {
        "type": "function",
        "function": {"name": "weather", "parameters": PLACE if schema is None else schema},
    }
    return {"messages": [{"role": "user", "content": "hi"}, answer], "tools": [tool]}


@pytest.mark.parametrize(
    "fitting",
    [
        {"city": "Rome"},
        {"city": "Rome", "unit": "c", "days": 3, "tags": ["a"], "near": None},
        {"city": "Rome", "days": 3.0},
    ],
)
def test_arguments_that_fit(fitting):
    assert list(find_misfits(row(json.dumps(fitting)))) == []


@pytest.mark.parametrize(
    "misfitting",
    [
        {},
        {"city": 5},
        {"city": None},
        {"city": "Rome", "unit": "k"},
        {"city": "Rome", "days": "3"},
        {"city": "Rome", "days": True},
        {"city": "Rome", "tags": "a"},
        {"city": "Rome", "tags": ["a", 1]},
        {"city": "Rome", "near": 1},
        {"city": "Rome", "country": "Italy"},
    ],
)
def test_each_misfit_is_told_with_its_place(misfitting):
    assert list(find_misfits(row(json.dumps(misfitting)))) == [
        Problem(Reason.ARGUMENTS_OFF_SCHEMA, "messages[1].tool_calls[0].function.arguments")
    ]


@pytest.mark.parametrize(
    "silent",
    [
        row("not json"),
        row("{}", schema={}),
        row("{}", name="another"),
        row('{"city": 5}', schema={"properties": {"city": {"$ref": "#/$defs/x"}}}),
        row("{}", schema={"type": "no such type", "required": 5, "enum": 5, "properties": 5, "anyOf": 5}),
        {"messages": tool_row(1)["messages"]},
        {"messages": [{"role": "user", "content": "hi"}]},
    ],
)
def test_where_nothing_can_be_said_nothing_is(silent):
    assert list(find_misfits(silent)) == []


def test_legacy_functions_are_looked_at_too():
    answer = {"role": "assistant", "function_call": {"name": "weather", "arguments": "{}"}}
    chat = {"messages": [answer], "functions": [{"name": "weather", "parameters": PLACE}]}
    [problem] = find_misfits(chat)
    assert problem.field == "messages[0].function_call.arguments"


def test_the_fields_of_other_methods_are_their_own():
    pair, graded = preference_row(1), graded_row(1)
    odd = call(arguments='{"num1": "many"}')
    pair["input"]["messages"][1]["tool_calls"][0] = odd
    pair["non_preferred_output"] = [{"role": "assistant", "content": None, "tool_calls": [odd]}]
    assert [problem.field for problem in FORMATS["dpo"].find_notes(pair)] == [
        "input.messages[1].tool_calls[0].function.arguments",
        "non_preferred_output[0].tool_calls[0].function.arguments",
    ]
    assert list(FORMATS["reinforcement"].find_notes(graded)) == []


def test_a_misfit_rejects_nothing():
    odd = row("{}")
    assert list(FORMATS["supervised"].find_problems(odd)) == []
    assert list(FORMATS["supervised"].find_notes(odd))


def test_a_schema_is_read_once():
    arguments._fits_of.cache_clear()
    for number in range(5):
        list(find_misfits(row(json.dumps({"city": str(number)}))))
    assert arguments._fits_of.cache_info().misses == 1


# --- against jsonschema ---

_names = st.sampled_from(["a", "b", "c"])
_leaves = st.sampled_from([None, True, False, 0, 1, 1.0, 1.5, -1, "", "x", "a"])
values = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3),
    max_leaves=6,
)
_type_names = st.sampled_from(["object", "array", "string", "boolean", "null", "integer", "number"])


def schemas_of(**more):
    return st.recursive(
        st.booleans() | st.just({}),
        lambda inner: st.fixed_dictionaries(
            {},
            optional={
                "type": _type_names | st.lists(_type_names, min_size=1, max_size=3, unique=True),
                "enum": st.lists(values, min_size=1, max_size=3),
                "const": values,
                "required": st.lists(_names, max_size=2, unique=True),
                "properties": st.dictionaries(_names, inner, max_size=3),
                "additionalProperties": inner,
                "items": inner,
                "anyOf": st.lists(inner, min_size=1, max_size=2),
                **more,
            },
        ),
        max_leaves=6,
    )


def is_misfit(schema, value):
    schema = {"properties": {"v": schema}}
    return bool(list(find_misfits(row(json.dumps({"v": value}), schema=schema))))


def is_valid(schema, value):
    return jsonschema.Draft202012Validator({"properties": {"v": schema}}).is_valid({"v": value})


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"enum": [1]}, True),
        ({"enum": [True]}, 1),
        ({"const": 0}, False),
        ({"const": [1.0]}, [1]),
        ({"enum": [{"a": [1]}]}, {"a": [True]}),
        ({"const": None}, 0),
        ({"type": ["integer", "null"]}, 1.5),
        ({"properties": {"a": False}}, {"a": 1}),
        ({"properties": {"a": {}}, "additionalProperties": {"type": "null"}}, {"a": 1, "b": 1}),
    ],
)
def test_what_is_the_same_is_the_same_to_jsonschema(schema, value):
    assert is_misfit(schema, value) is not is_valid(schema, value)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"patternProperties": {"^a": {}}, "additionalProperties": False}, {"a": 1}),
        ({"prefixItems": [{"type": "string"}], "items": False}, ["x"]),
        ({"anyOf": [{"type": "string"}, {"minimum": 3}]}, 5),
    ],
)
def test_a_keyword_that_changes_what_another_means_is_heeded(schema, value):
    assert is_valid(schema, value)
    assert not is_misfit(schema, value)


@settings(max_examples=400)
@given(schemas_of(), values)
def test_of_the_keywords_that_are_known_the_verdict_is_jsonschemas(schema, value):
    assert is_misfit(schema, value) is not is_valid(schema, value)


@settings(max_examples=400)
@given(
    schemas_of(
        minLength=st.just(1),
        maximum=st.just(0),
        pattern=st.just("a"),
        patternProperties=st.just({"^a": {"type": "string"}}),
        prefixItems=st.just([{"type": "string"}]),
        oneOf=st.just([{"type": "string"}, True]),
        allOf=st.just([{"type": "string"}]),
    ),
    values,
)
def test_with_any_other_keyword_nothing_is_told_that_is_not_so(schema, value):
    if is_misfit(schema, value):
        assert not is_valid(schema, value)
