import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_finetune.converters.rendering.examples import Refused, lacks_schemas
from langchain_finetune.converters.rendering.reinforcement import reinforcement_examples
from langchain_finetune.rows import FORMATS
from langchain_finetune.runs import Reason
from tests.fakes.recorded_sessions import assistant, calling, result, session, tool, user
from tests.training_lines import check_line

JSON_FORMAT = {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}


def row_of(given, **settings):
    [example] = reinforcement_examples(given, **settings)
    check_line("reinforcement", example.row)
    assert list(FORMATS["reinforcement"].find_misshapes(example.row)) == []
    return example.row


def test_the_question_is_the_models_and_the_rest_is_the_graders():
    given = session(
        messages=[{"role": "system", "content": "short"}, user("hi")],
        tools=[tool()],
        parallel_tool_calls=True,
        feedback={"good": 1.0},
        tags=["a"],
        metadata={"customer": "x", "plan": "pro"},
    )
    assert row_of(given, metadata_keys=("plan", "gone")) == {
        "messages": [{"role": "developer", "content": "short"}, user("hi")],
        "tools": [tool()],
        "reference_answer": "ok",
        "reference_json": None,
        "reference_tools": [],
        "feedback": {"good": 1.0},
        "tags": ["a"],
        "metadata": {"plan": "pro", "gone": None},
    }
    assert list(FORMATS["reinforcement"].find_problems(row_of(given))) == []


def test_every_row_has_the_same_keys():
    assert row_of(session()).keys() == row_of(session(answer=calling(), response_format=JSON_FORMAT)).keys()


def test_an_expected_call_has_the_form_of_the_sample_without_its_id():
    row = row_of(session(answer=calling("f", '{"a": 1}'), tools=[tool()]))
    function = {"name": "f", "arguments": '{"a": 1}'}
    assert row["reference_tools"] == [{"type": "function", "function": function}]
    assert row["reference_answer"] == ""
    assert not lacks_schemas(row)
    assert lacks_schemas(row_of(session(answer=calling())))


@pytest.mark.parametrize(
    ("text", "response_format", "value"),
    [
        ('{"a": 1}', JSON_FORMAT, {"a": 1}),
        ('{"a": 1}', {"type": "json_object"}, {"a": 1}),
        ('{"a": 1}', {"type": "text"}, None),
        ('{"a": 1}', None, None),
        ("no json", JSON_FORMAT, None),
        ("[" * 300 + "]" * 300, JSON_FORMAT, None),
    ],
)
def test_json_that_was_asked_for_is_read(text, response_format, value):
    given = session(answer=assistant(text), response_format=response_format)
    row = row_of(given)
    assert row["reference_json"] == value
    assert row["reference_answer"] == text


def test_a_correction_is_the_reference():
    assert row_of(session(correction=assistant("better")))["reference_answer"] == "better"


def test_parts_of_an_answer_are_one_text():
    parts = [
        {"type": "text", "text": "a"},
        {"type": "refusal", "refusal": "x"},
        {"type": "text", "text": "b"},
    ]
    assert row_of(session(answer=assistant(parts)))["reference_answer"] == "ab"


def test_the_tools_are_those_of_the_last_turn():
    given = session(
        messages=[user("a"), assistant("b"), user("c")],
        tools=[tool("f"), tool("g")],
        turn_tools=[["f", "g"], ["g"]],
    )
    assert row_of(given)["tools"] == [tool("g")]
    assert "tools" not in row_of({**given, "turn_tools": [["f"], []]})


def test_legacy_functions_have_no_place():
    refused = Refused("r", Reason.UNKNOWN_KEY, "functions")
    assert list(reinforcement_examples(session(functions=[{"name": "f"}]))) == [refused]


def test_a_question_that_ends_with_a_result_is_left_to_the_hosts_rules():
    row = row_of(session(messages=[user("a"), calling(), result()]))
    [problem] = FORMATS["reinforcement"].find_problems(row)
    assert problem.reason is Reason.NO_QUESTION


def test_reasoning_of_the_turns_since_the_question_is_shown_and_never_in_the_reference():
    given = session(messages=[user("a"), calling(), result()], reasoning=["r1", "r2"])
    assert row_of(given)["messages"] == given["messages"]
    row = row_of(given, reasoning="think")
    assert row["messages"][1]["content"] == "<think>\nr1\n</think>\n\n"
    assert row["reference_answer"] == "ok"


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.text(max_size=5), values, max_size=4), st.text(min_size=1), values)
def test_nothing_of_what_the_grader_may_read_is_lost(metadata, text, value):
    given = session(answer=assistant(text), metadata=metadata)
    row = row_of(given, metadata_keys=tuple(metadata))
    assert (row["metadata"], row["reference_answer"]) == (metadata, text)
    given = session(answer=assistant(json.dumps(value)), response_format=JSON_FORMAT)
    assert row_of(given)["reference_json"] == value
