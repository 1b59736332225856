"""What hosts cannot do is refused by name, before anything is uploaded."""

import contextlib
import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_finetune.errors import FineTuneError, NotEnoughExamplesError, SettingError, TrainingDataError
from langchain_finetune.hosts import AZURE, CUSTOM, FIREWORKS, HOSTS, LOCAL, NEBIUS, OPENAI, TOGETHER
from langchain_finetune.trainers.jobs.key import Order, tag_of, with_key
from langchain_finetune.trainers.preflight.order_check import check_order


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "train.jsonl"
    path.write_bytes(b"{}\n" * 10)
    return path


def order(train, **settings):
    return Order(**{"base": "b", "train": train, "train_sha256": "0" * 64, **settings})


@pytest.mark.parametrize("host", HOSTS.values(), ids=lambda host: host.name)
def test_a_plain_order_is_taken_everywhere(train, host):
    check_order(order(train), host, num_train=10)


@pytest.mark.parametrize(
    ("host", "settings", "named"),
    [
        (LOCAL, {"method": "dpo"}, "embedded server.*'dpo'"),
        (NEBIUS, {"method": "dpo"}, "Nebius.*'dpo'"),
        (TOGETHER, {"method": "reinforcement"}, "Together.*'reinforcement'"),
        (OPENAI, {"hyperparameters": {"lora_r": 8}}, "OpenAI has no hyperparameter 'lora_r'.*n_epochs"),
        (OPENAI, {"hyperparameters": {"beta": 0.1}}, "'beta' for the method 'supervised'"),
        (OPENAI, {"hyperparameters": {"n_epochs": 0}}, "`n_epochs`.*from 1 to 50, or 'auto'"),
        (OPENAI, {"hyperparameters": {"n_epochs": True}}, "n_epochs"),
        (OPENAI, {"hyperparameters": {"n_epochs": 2.5}}, "n_epochs"),
        (OPENAI, {"hyperparameters": {"n_epochs": "many"}}, "n_epochs"),
        (OPENAI, {"hyperparameters": {"learning_rate_multiplier": 0}}, "above 0"),
        (OPENAI, {"hyperparameters": {"learning_rate_multiplier": math.nan}}, "learning_rate_multiplier"),
        (OPENAI, {"method": "dpo", "hyperparameters": {"beta": 2.5}}, "above 0 to 2"),
        (FIREWORKS, {"method": "dpo", "hyperparameters": {"beta": 0.5}}, "below 0.5"),
        (FIREWORKS, {"hyperparameters": {"n_epochs": 0}}, "Fireworks.*n_epochs"),
        (TOGETHER, {"hyperparameters": {"packing": 1}}, "packing.*True or False"),
        (TOGETHER, {"hyperparameters": {"lr_scheduler_type": "steps"}}, "'cosine', or 'linear'"),
        (FIREWORKS, {"seed": 1}, "Fireworks AI has no `seed`"),
        (OPENAI, {"seed": -1}, "`seed`"),
        (FIREWORKS, {"suffix": "Calc"}, "`suffix`.*a to z"),
        (TOGETHER, {"suffix": "x" * 24}, "`suffix`.*23"),
        (LOCAL, {"extra_body": {"integrations": []}}, "extra_body.*integrations"),
        (OPENAI, {"extra_body": {"model": "x"}}, "'model'"),
        (AZURE, {"extra_body": {"trainingType": "Cheap"}}, "GlobalStandard"),
        (OPENAI, {"method_settings": {"grader": {}}}, "method_settings"),
    ],
)
def test_what_a_host_cannot_do_is_refused_with_its_name_and_the_settings(train, host, settings, named):
    with pytest.raises(SettingError, match=f"(?s){named}"):
        check_order(order(train, **settings), host, num_train=10)


@pytest.mark.parametrize(
    ("host", "settings"),
    [
        (OPENAI, {"hyperparameters": {"n_epochs": "auto", "batch_size": 256}}),
        (OPENAI, {"method": "dpo", "hyperparameters": {"beta": 2}}),
        (OPENAI, {"method": "reinforcement", "hyperparameters": {"eval_samples": 3}}),
        (OPENAI, {"method": "reinforcement", "method_settings": {"grader": {"type": "python"}}}),
        (OPENAI, {"extra_body": {"integrations": []}}),
        (AZURE, {"extra_body": {"trainingType": "globalStandard"}}),
        (NEBIUS, {"hyperparameters": {"something_new": "x"}}),
        (LOCAL, {"hyperparameters": {"whatever": 1}}),
        (TOGETHER, {"hyperparameters": {"batch_size": "max", "lora_trainable_modules": "q_proj"}}),
        (TOGETHER, {"method": "dpo", "hyperparameters": {"beta": 0.1}}),
        (FIREWORKS, {"hyperparameters": {"n_epochs": 2}, "suffix": "calc-2"}),
    ],
)
def test_what_a_host_can_do_is_taken(train, host, settings):
    check_order(order(train, **settings), host, num_train=10)


def test_too_few_and_too_many_rows_are_refused(train):
    with pytest.raises(NotEnoughExamplesError, match="there are 9 training rows, OpenAI needs at least 10"):
        check_order(order(train), OPENAI, num_train=9)
    check_order(order(train), TOGETHER, num_train=1)
    limited = dataclasses.replace(CUSTOM, max_examples=20)
    with pytest.raises(TrainingDataError, match="at most 20"):
        check_order(order(train), limited, num_train=21)


def test_a_file_that_is_too_large_is_refused_in_either_place(train):
    limited = dataclasses.replace(CUSTOM, max_file_bytes=29)
    with pytest.raises(TrainingDataError, match=r"train\.jsonl has 30 bytes"):
        check_order(order(train), limited, num_train=10)
    small = train.with_name("small.jsonl")
    small.write_bytes(b"{}\n")
    with pytest.raises(TrainingDataError, match=r"train\.jsonl has 30 bytes"):
        check_order(order(small, validation=train), limited, num_train=10)


anything = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers()))
names = sorted({n for h in HOSTS.values() for n in (*h.hyperparameters, *h.hyperparameter_names)})


@given(
    host=st.sampled_from(list(HOSTS.values())),
    method=st.sampled_from(["supervised", "dpo", "reinforcement"]),
    hyperparameters=st.dictionaries(st.sampled_from(names) | st.text(), anything, max_size=3),
    suffix=st.none() | st.text(min_size=1),
    seed=st.none() | st.integers(),
    extra_body=st.dictionaries(st.just("trainingType") | st.text(), anything, max_size=2),
)
def test_whatever_is_ordered_it_is_taken_or_refused_with_an_error_of_ours(train, host, **settings):
    with contextlib.suppress(FineTuneError):
        check_order(order(train, **settings), host, num_train=10)


@given(suffix=st.none() | st.text(min_size=1), key=st.text("0123456789abcdef", min_size=64, max_size=64))
def test_a_key_in_a_suffix_is_found_at_its_end(suffix, key):
    assert with_key(suffix, key).endswith(tag_of(key))
    assert len(with_key(suffix, key)) <= len(suffix or "") + 17
