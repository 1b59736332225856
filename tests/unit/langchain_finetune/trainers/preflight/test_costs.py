import inspect
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_server.training.plan import auto_epochs
from langchain_finetune.errors import CostLimitError, UnknownPriceError
from langchain_finetune.hosts import AZURE, CUSTOM, FIREWORKS, NEBIUS, OPENAI, TOGETHER
from langchain_finetune.trainers.preflight.auto_epochs import local_auto_epochs
from langchain_finetune.trainers.preflight.costs import cost_of, epochs_of, require_within
from langchain_finetune.trainers.preflight.prices import PRICES, price_of
from langchain_finetune.trainers.preflight.shutdowns import SHUTDOWNS, read_date, shutdown_date
from langchain_finetune.trainers.preflight.token_count import TokenCount

MINI = "gpt-4.1-mini-2025-04-14"


def tokens(number):
    return TokenCount(num_tokens=number, mean=1, longest=1, longest_row=1, basis="characters", is_exact=False)


@pytest.mark.parametrize(
    ("rows", "epochs"), [(10, 10), (3, 25), (33, 3), (34, 3), (1000, 3), (8333, 3), (8334, 2), (50_000, 1)]
)
def test_openais_auto_is_the_cookbooks(rows, epochs):
    assert epochs_of(None, OPENAI, rows)[::2] == (epochs, True)
    assert epochs_of({"n_epochs": "auto"}, OPENAI, rows).number == epochs


@given(st.integers(min_value=1, max_value=100_000))
def test_the_embedded_servers_auto_is_its_own(rows):
    assert local_auto_epochs(rows) == auto_epochs(rows)


def test_epochs_that_were_asked_for_are_taken():
    assert epochs_of({"n_epochs": 7}, OPENAI, 10)[::2] == (7, False)


def test_prices_are_dated_found_without_the_models_date_and_can_be_overruled():
    price = price_of("openai", MINI)
    assert (price.usd_per_million_tokens, price.as_of) == (5.0, date(2026, 11, 22))
    assert price_of("openai", f"ft:{MINI}:acme::1") == price
    assert price_of("openai", MINI, 1.5).usd_per_million_tokens == 1.5
    assert price_of("openai", "qwen-4b") is None
    assert price_of("openai", "gpt-4.1-mini-turbo") is None
    assert price_of("local", "anything").usd_per_million_tokens == 0
    assert all(price.source.startswith("https://") for host in PRICES.values() for price in host.values())


def test_a_cost_is_tokens_times_epochs_times_price():
    cost = cost_of(tokens(2_000_000), epochs_of({"n_epochs": 3}, OPENAI, 99), price_of("openai", MINI))
    assert (cost.trained_tokens, cost.usd) == (6_000_000, 30.0)
    require_within(cost, 30.0, "openai:x")
    with pytest.raises(CostLimitError, match=r"about 30\.00 USD, more than the limit of 29\.99") as caught:
        require_within(cost, 29.99, "openai:x")
    error = caught.value
    figures = (error.cost_usd, error.max_cost_usd, error.trained_tokens, error.usd_per_million_tokens)
    assert figures == (30.0, 29.99, 6_000_000, 5.0)


def test_a_limit_without_a_price_says_how_to_give_one():
    cost = cost_of(tokens(1000), epochs_of(None, OPENAI, 10), None)
    with pytest.raises(UnknownPriceError, match="usd_per_million_tokens") as caught:
        require_within(cost, 5, "openai:qwen")
    assert (caught.value.cost_usd, caught.value.trained_tokens) == (None, 10_000)


@pytest.mark.parametrize("base", ["gpt-4o-2024-08-06", MINI, "gpt-4.1", f"ft:{MINI}:acme::1"])
def test_what_openai_shuts_down_is_known_where_the_host_does_not_tell(base):
    assert shutdown_date("openai", base) == date(2027, 1, 14)
    assert shutdown_date("openai", base, {"shutdown_date": None}) == date(2027, 1, 14)
    assert shutdown_date("openai", base, {"shutdown_date": "2028-02-03"}) == date(2028, 2, 3)
    assert shutdown_date("local", base) is None


def test_no_shutdown_is_made_up():
    assert shutdown_date("openai", "gpt-6-luna") is None
    assert SHUTDOWNS["babbage-002"] == date(2026, 9, 28)


@pytest.mark.parametrize("value", [None, 5, "", "soon", "2027-13-01", {}])
def test_an_odd_date_is_none(value):
    assert read_date(value) is None
    assert read_date("2027-01-14T00:00:00Z") == date(2027, 1, 14)


@pytest.mark.parametrize("host", [AZURE, NEBIUS, FIREWORKS, CUSTOM], ids=lambda host: host.name)
def test_what_a_host_does_not_tell_is_not_known(host):
    epochs = epochs_of(None, host, 10)
    assert epochs == (None, "the host chooses, and does not say how", True)
    assert cost_of(tokens(1000), epochs, price_of("openai", MINI)) == (None, price_of("openai", MINI), None)
    assert epochs_of({"n_epochs": 2}, host, 10)[::2] == (2, False)


def test_together_trains_for_the_one_epoch_of_its_sdk():
    sdk = pytest.importorskip("together.resources.fine_tuning")

    default = inspect.signature(sdk.FineTuningResource.create).parameters["n_epochs"].default
    assert epochs_of(None, TOGETHER, 500)[::2] == (default, True)


def test_epochs_by_the_hosts_own_name_are_epochs_too():
    assert epochs_of({"epochs": 4}, FIREWORKS, 10)[::2] == (4, False)


def test_a_limit_without_epochs_says_how_to_give_them():
    cost = cost_of(tokens(1000), epochs_of(None, NEBIUS, 10), price_of("openai", MINI))
    with pytest.raises(UnknownPriceError, match=r"how many epochs.*nothing was uploaded.*n_epochs"):
        require_within(cost, 5, "nebius:x")


def test_no_price_is_made_up():
    assert [price_of(host, MINI) for host in ("azure", "together", "fireworks", "custom")] == [None] * 4


def test_reinforcement_is_paid_by_the_hour():
    assert price_of("openai", MINI, method="reinforcement") is None
    assert price_of("openai", MINI, method="dpo") == price_of("openai", MINI)
    assert price_of("openai", MINI, 2.0, method="reinforcement").usd_per_million_tokens == 2.0
