import math

import pytest

from langchain_finetune._parsing import loads


def test_json_is_parsed():
    assert loads(b'{"a": [1, null]}') == loads('{"a": [1, null]}') == {"a": [1, None]}


def test_what_python_writes_beyond_the_standard_is_parsed():
    assert math.isnan(loads("[NaN]")[0])
    assert loads('"\\ud800"') == "\ud800"


def test_what_is_no_json_is_a_value_error():
    with pytest.raises(ValueError, match="Expecting property name"):
        loads("{'a': 1}")


def test_nesting_without_end_is_a_recursion_error():
    with pytest.raises(RecursionError):
        loads("[" * 100_000)
