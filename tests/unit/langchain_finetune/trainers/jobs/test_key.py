from dataclasses import replace
from pathlib import Path

import pytest

from langchain_finetune.trainers.jobs.key import Order, job_key

ORDER = Order(
    base="gpt-4.1-mini-2025-04-14",
    hyperparameters={"n_epochs": 3, "batch_size": 4},
    train=Path("train.jsonl"),
    train_sha256="a" * 64,
    validation=Path("validation.jsonl"),
    validation_sha256="b" * 64,
    fingerprint="c" * 64,
)


def test_the_key_of_version_1_never_changes():
    """A change here makes every job that users have paid for a stranger: raise KEY_VERSION for it."""
    assert job_key(ORDER, None) == "eec657d8c331ff8e972679888e68d2fd9225409ab6f4901b5141dd34bbaea6e9"


@pytest.mark.parametrize(
    "change",
    [
        {"base": "gpt-4.1-2025-04-14"},
        {"hyperparameters": {"n_epochs": 4, "batch_size": 4}},
        {"hyperparameters": None},
        {"suffix": "mine"},
        {"seed": 0},
        {"method": "dpo"},
        {"train_sha256": "d" * 64},
        {"validation_sha256": None},
        {"train_sha256": "b" * 64, "validation_sha256": "a" * 64},
    ],
)
def test_whatever_changes_the_model_changes_the_key(change):
    assert job_key(replace(ORDER, **change), None) != job_key(ORDER, None)


def test_other_weights_under_the_same_name_give_another_key():
    assert len({job_key(ORDER, weights) for weights in (None, "e" * 64, "f" * 64)}) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"hyperparameters": {"batch_size": 4, "n_epochs": 3}},
        {"train": Path("elsewhere.jsonl")},
        {"fingerprint": "d" * 64},
    ],
)
def test_what_makes_no_other_model_keeps_the_key(change):
    assert job_key(replace(ORDER, **change), None) == job_key(ORDER, None)


def test_no_hyperparameters_and_none_of_them_are_the_same():
    assert job_key(replace(ORDER, hyperparameters={}), None) == job_key(
        replace(ORDER, hyperparameters=None), None
    )
