"""Resolved hyperparameters and the layout of the work."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_server.training.plan import auto_epochs, make_plan

AUTO = {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"}


def plan(hyperparameters, num_rows: int = 126, length: int = 290):
    return make_plan(hyperparameters, [length] * num_rows, tokens_at_once=1024)


@pytest.mark.parametrize("hyperparameters", [AUTO, {}])
def test_auto_is_resolved(hyperparameters):
    resolved = plan(hyperparameters)

    assert resolved.resolved() == {"n_epochs": 1, "batch_size": 4, "learning_rate_multiplier": 1.0}
    assert (resolved.total_steps, resolved.warm_up_steps) == (32, 4)
    assert resolved.trained_tokens == 126 * 290


def test_what_is_given_is_taken():
    resolved = plan({"n_epochs": 3, "batch_size": 8, "learning_rate_multiplier": 0.5})

    assert resolved.resolved() == {"n_epochs": 3, "batch_size": 8, "learning_rate_multiplier": 0.5}
    assert resolved.total_steps == 48
    assert resolved.learning_rate == plan({}).learning_rate / 2


def test_small_jobs_see_their_rows_more_often():
    assert [auto_epochs(n) for n in (10, 20, 50, 100, 126, 100_000)] == [4, 4, 2, 1, 1, 1]


def test_short_rows_are_computed_together_and_long_ones_alone():
    assert [plan({}, length=length).rows_at_once for length in (100, 290, 513, 5000)] == [4, 2, 1, 1]


def test_long_rows_do_without_what_grows_with_the_square_of_their_length():
    assert [plan({}, length=length).attention for length in (512, 513)] == ["eager", "sdpa"]
    assert [plan({}, length=length).recomputes_activations for length in (4096, 4097)] == [False, True]


@given(batch_size=st.integers(1, 64), length=st.integers(1, 3000))
def test_pieces_make_up_the_batch(batch_size, length):
    pieces = make_plan({"batch_size": batch_size}, [length] * 10, tokens_at_once=1024).rows_at_once

    assert batch_size % pieces == 0
    assert pieces == 1 or pieces * length <= 1024
