import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_finetune.evaluators import ToolCallMatch
from tests.fakes.eval_examples import asks, calls, says

MATCH = ToolCallMatch()


def score(expected, given_answer):
    found = MATCH.score(asks(expected), given_answer)
    return tuple(found.get(name) for name in ("called", "name", "arguments", "exact"))


@pytest.mark.parametrize(
    ("expected", "given_calls", "name", "arguments", "exact"),
    [
        ([("f", {"a": 1, "b": 2})], [("f", {"b": 2, "a": 1})], 1, 1, True),
        ([("f", {"a": 1, "b": 2})], [("f", {"a": 1, "b": 3})], 1, 0.5, False),
        ([("f", {"a": 1})], [("f", {"a": 1, "c": 3})], 1, 0.5, False),
        ([("f", {"a": 1})], [("g", {"a": 1})], 0, 0, False),
        ([("f", {})], [("f", {})], 1, 1, True),
        ([("f", {})], [("f", {"a": 1})], 1, 0, False),
        ([("f", {"a": 1})], [("f", "{no json")], 1, 0, False),
        ([("f", {"a": 1}), ("f", {"a": 2})], [("f", {"a": 2}), ("f", {"a": 1})], 1, 1, True),
        ([("f", {"a": 1}), ("g", {"b": 2})], [("f", {"a": 1})], 0.5, 0.5, False),
        ([("f", {"a": 1})], [("f", {"a": 1}), ("f", {"a": 1})], 0.5, 0.5, False),
        ([("f", {"a": 1}), ("f", {"a": 9})], [("f", {"a": 8}), ("f", {"a": 1})], 1, 0.5, False),
    ],
)  # fmt: skip
def test_calls_are_held_against_the_most_similar_ones(expected, given_calls, name, arguments, exact):
    assert score(calls(*expected), calls(*given_calls)) == (True, name, arguments, exact)


def test_no_call_where_one_was_recorded_is_a_miss_in_everything():
    assert score(calls(("f", {"a": 1})), says("Let me see.")) == (False, 0, 0, False)


def test_where_no_call_was_recorded_only_calling_counts():
    assert score(says("8."), says("9.")) == (True, None, None, None)
    assert score(says("8."), calls(("f", {}))) == (False, None, None, None)


CALLS = st.lists(
    st.tuples(st.sampled_from("fg"), st.dictionaries(st.sampled_from("abc"), st.integers(0, 2), max_size=3)),
    min_size=1,
    max_size=4,
)


@given(CALLS, CALLS, st.randoms())
def test_scores_are_shares_and_order_changes_nothing(expected, given_calls, random):
    found = score(calls(*expected), calls(*given_calls))
    assert all(0 <= value <= 1 for value in found)
    shuffled = list(given_calls)
    random.shuffle(shuffled)
    again = score(calls(*expected), calls(*shuffled))
    assert (again[0], again[1], again[3]) == (found[0], found[1], found[3])
    assert score(calls(*expected), calls(*expected)) == (True, 1, 1, True)
    if found[3]:
        assert found[1:3] == (1, 1)
