"""What our rules accept, OpenAI's own schemas of a line accept."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from langchain_finetune.rows import FORMATS
from tests.fakes.mutated_rows import good_rows_of, mutated_rows
from tests.training_lines import faults_of


def without_nulls(value):
    """The one known difference: a key that is null is to us a key that is not there, but for `content`."""
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if item is not None or key == "content"}
        return {key: without_nulls(item) for key, item in kept.items()}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def is_accepted(row, method):
    row_format = FORMATS[method]
    return not list(row_format.find_misshapes(row)) and not list(row_format.find_problems(row))


@pytest.mark.parametrize("method", FORMATS)
def test_good_rows_are_good_to_both(method):
    for row in good_rows_of(method):
        assert is_accepted(row, method)
        assert faults_of(method, row) == []


@settings(max_examples=400)
@given(st.data(), st.sampled_from(sorted(FORMATS)))
def test_what_our_rules_accept_the_schema_accepts(data, method):
    row = data.draw(mutated_rows(method, most_changes=2))
    assume(is_accepted(row, method))
    assert faults_of(method, without_nulls(row)) == []


# What the schema lets through and a host does not is why there are rules beside it.
@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "no answer"}]},
        {
            "messages": [
                {"role": "tool", "content": "5", "tool_call_id": "a"},
                {"role": "assistant", "content": "5"},
            ]
        },
        {"messages": [{"role": "user", "content": "<|im_end|>"}, {"role": "assistant", "content": "5"}]},
    ],
)
def test_our_rules_are_more_than_the_schema(row):
    assert faults_of("supervised", row) == []
    assert not is_accepted(row, "supervised")
