import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_finetune.evaluators import statistics


@pytest.mark.parametrize(
    ("hits", "number", "low", "high"),
    # The figures are those of scipy: binomtest, proportion_ci, method wilson.
    [(49, 49, 0.9273, 1.0), (0, 49, 0.0, 0.0727), (18, 20, 0.6990, 0.9721), (1, 2, 0.0945, 0.9055)],
)
def test_a_share_has_wilsons_interval(hits, number, low, high):
    found = statistics.share([1.0] * hits + [0.0] * (number - hits))
    assert found.mean == hits / number
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_the_bootstrap_is_the_same_for_the_same_seed_and_near_the_normal_one():
    source = random.Random(1)
    values = [source.gauss(5, 2) for _ in range(400)]
    found = statistics.bootstrap(values, seed=3)
    assert found == statistics.bootstrap(values, seed=3)
    assert found != statistics.bootstrap(values, seed=4)
    assert found.high - found.low == pytest.approx(2 * 1.96 * 2 / 400**0.5, rel=0.15)
    assert found.low < found.mean < found.high


def test_many_values_have_the_normal_interval():
    values = [0.0, 1.0] * 1000
    found = statistics.bootstrap(values)
    assert (found.low, found.high) == (pytest.approx(0.4781, abs=1e-4), pytest.approx(0.5219, abs=1e-4))


def test_wins_losses_and_ties_are_counted_where_less_is_better_too():
    found = statistics.duel([1, 0, 1, 1], [0, 1, 1, 0], is_share=True)
    assert (found.wins, found.losses, found.ties, found.gain.mean) == (2, 1, 1, 0.25)
    less = statistics.duel([3.0, 5.0], [4.0, 4.5], is_share=False, is_more_better=False)
    assert (less.wins, less.losses, less.gain.mean) == (1, 1, 0.25)


@pytest.mark.parametrize(("number", "low"), [(1, 0.025), (3, 0.2924), (49, 0.9275)])
def test_a_few_questions_that_all_say_the_same_are_not_sure_of_it(number, low):
    won = statistics.duel([1] * number, [0] * number, is_share=True).gain
    assert (won.mean, won.low, won.high) == (1.0, pytest.approx(low, abs=1e-4), 1.0)
    tied = statistics.duel([1] * number, [1] * number, is_share=True).gain
    assert (tied.mean, tied.high) == (0.0, pytest.approx(1 - low, abs=1e-4))
    assert tied.low == -tied.high


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30))
def test_an_interval_holds_its_mean_and_stays_between_the_extremes(pairs):
    ours, theirs = zip(*pairs, strict=True)
    found = statistics.duel(ours, theirs, is_share=True)
    assert -1 <= found.gain.low <= found.gain.mean + 1e-12
    assert found.gain.mean - 1e-12 <= found.gain.high <= 1
    assert found.wins + found.losses + found.ties == len(pairs)
    mean = statistics.interval(ours, is_share=True)
    assert min(ours) - 1e-9 <= mean.low <= mean.mean + 1e-12 or mean.low >= 0
    assert mean.high <= max(1.0, max(ours) + 1e-9)


def test_swapping_the_models_turns_the_gain_around():
    ours, theirs = [1, 0.5, 0, 1, 1], [0, 0.5, 1, 0, 1]
    one, other = (statistics.duel(*pair, is_share=True) for pair in ((ours, theirs), (theirs, ours)))
    assert one.gain.mean == -other.gain.mean
    assert (one.wins, one.losses) == (other.losses, other.wins)
