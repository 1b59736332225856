import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_finetune.evaluators.metrics.json_schema import fits

SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "bb", "ccc", 0.5, 2.0])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=6,
)
TYPES = st.sampled_from(["object", "array", "string", "number", "integer", "boolean", "null"])


def schemas(inner):
    keywords = {
        "type": TYPES | st.lists(TYPES, min_size=1, max_size=2, unique=True),
        "enum": st.lists(SCALARS, min_size=1, max_size=3),
        "const": SCALARS,
        "properties": st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
        "required": st.lists(st.sampled_from("ab"), max_size=2, unique=True),
        "additionalProperties": st.booleans() | inner,
        "items": inner,
        "anyOf": st.lists(inner, min_size=1, max_size=2),
        "oneOf": st.lists(inner, min_size=1, max_size=2),
        "allOf": st.lists(inner, min_size=1, max_size=2),
        "minimum": st.integers(-2, 2),
        "exclusiveMaximum": st.integers(-2, 2),
        "minLength": st.integers(0, 2),
        "maxLength": st.integers(0, 2),
        "minItems": st.integers(0, 2),
        "maxItems": st.integers(0, 2),
    }
    return st.fixed_dictionaries({}, optional=keywords)


@given(VALUES, st.recursive(st.booleans() | schemas(st.just({})), schemas, max_leaves=4))
def test_it_agrees_with_the_reference_implementation(value, schema):
    assert fits(value, schema) is jsonschema.Draft202012Validator(schema).is_valid(value)


@pytest.mark.parametrize(("value", "is_fitting"), [(1, False), (1.5, True), ("x", False)])
def test_one_of_is_exactly_one(value, is_fitting):
    assert fits(value, {"oneOf": [{"type": "integer"}, {"type": "number"}]}) is is_fitting


def test_references_are_followed_and_end():
    schema = {
        "$defs": {
            "node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "required": ["n"]}
        },
        "$ref": "#/$defs/node",
    }
    assert fits({"n": 1, "next": {"n": 2}}, schema)
    assert not fits({"n": 1, "next": {}}, schema)
    assert fits(1, {"$ref": "#"})
    assert fits(1, {"$ref": "https://elsewhere/x"})


@pytest.mark.parametrize(
    "schema", [None, 7, "x", [], {"type": 7}, {"enum": 7}, {"properties": 7, "required": 7}]
)
def test_a_schema_that_is_none_forbids_nothing(schema):
    assert fits({"a": 1}, schema)


@given(VALUES, VALUES)
def test_any_schema_is_read_without_a_crash(value, schema):
    named = {
        "properties": schema,
        "items": schema,
        "anyOf": schema,
        "type": schema,
        "minimum": schema,
        "$ref": schema,
    }
    assert fits(value, named) in (True, False)
