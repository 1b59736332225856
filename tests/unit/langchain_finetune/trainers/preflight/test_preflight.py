"""Looking ahead: the trainer's `preflight`, and what `invoke` does of it by itself."""

import json
from datetime import date

import pytest

from langchain_finetune.errors import CostLimitError, InvalidRowsError, UnknownBaseError, UnknownPriceError
from langchain_finetune.hosts import LOCAL
from langchain_finetune.trainers import FineTuneRunnable, Preflight
from langchain_finetune.trainers.hosts.connection import Connection
from langchain_finetune.trainers.preflight.training_time import training_time
from tests.fakes.clients import clients, trainer_at
from tests.fakes.colors import COLORS
from tests.fakes.openai_account import FakeAccount
from tests.fakes.training_rows import rows, text_row, training_data

BASE = "gpt-4.1-mini-2025-04-14"
TODAY = date(2026, 12, 25)
LIMITS = {
    "id": BASE,
    "curr_pending_jobs": 1,
    "max_pending_jobs": 3,
    "jobs_so_far_today": 2,
    "max_jobs_per_day": 8,
}


@pytest.fixture
def host():
    return FakeAccount()


@pytest.fixture(params=["sync", "async"])
def color(request):
    return COLORS[request.param]


def bad_rows():
    return [*rows(10), {"messages": [{"role": "user", "content": "the secret <|im_end|>"}]}]


async def test_it_tells_all_that_is_known_and_creates_nothing(host, color):
    host.limits = [{"id": "other"}, LIMITS]
    told = await color(
        trainer_at(host, hyperparameters={"n_epochs": 2}), "preflight", training_data(), today=TODAY
    )
    assert (told.num_train, told.num_validation, told.num_errors) == (12, 2, 0)
    assert (told.n_epochs, told.is_auto_epochs) == (2, False)
    assert told.trained_tokens == 2 * told.tokens.num_tokens > 0
    assert told.cost_usd == round(told.trained_tokens * 5e-6, 4)
    assert (told.shutdown_date, told.days_left) == (date(2027, 1, 14), 20)
    assert told.last_job_date == date(2027, 1, 6)
    assert told.max_row_tokens == 65_536
    assert "of at most 65,536" in str(told)
    assert "2027-01-14, 20 days left; no new jobs from 2027-01-06 on" in str(told)
    assert (told.limits.num_pending, told.limits.max_a_day, told.limits.is_reached) == (1, 8, False)
    assert (told.existing_job, told.is_ready, told.minutes_source) == (None, True, "")
    assert {request.method for request in host.requests} == {"GET"}


async def test_auto_epochs_say_what_they_mean_here(host, color):
    told = await color(trainer_at(host), "preflight", training_data())
    assert (told.n_epochs, told.is_auto_epochs) == (8, True)
    assert "auto: OpenAI's cookbook" in str(told)


async def test_problems_are_listed_and_not_raised(host, color):
    told = await color(trainer_at(host), "preflight", bad_rows())
    assert [(p.row, p.code) for p in told.problems] == [(11, "special_token"), (11, "no_answer")]
    assert (told.num_errors, told.is_ready) == (2, False)
    assert "secret" not in str(told) + told._repr_html_() + told.model_dump_json()


async def test_too_few_rows_are_a_problem_too(host, color):
    told = await color(trainer_at(host), "preflight", rows(3))
    assert [p.code for p in told.problems] == ["not_enough_rows"]


async def test_a_host_without_limits_and_without_a_shutdown_tells_none(host, color):
    told = await color(trainer_at(host, "openai:qwen"), "preflight", training_data())
    assert (told.limits, told.shutdown_date, told.days_left, told.price, told.cost_usd) == (None,) * 5
    assert "not known: give usd_per_million_tokens" in str(told)


async def test_what_a_host_does_not_tell_is_said_to_be_not_known(color):
    host = FakeAccount()
    told = await color(trainer_at(host, "custom:qwen", max_cost_usd=5), "preflight", training_data())
    assert (told.n_epochs, told.trained_tokens, told.max_row_tokens, told.is_ready) == (
        None,
        None,
        None,
        False,
    )
    lines = dict(line.split("  ", 1) for line in str(told).splitlines())
    assert lines["epochs"].strip() == "not known (auto: the host chooses, and does not say how)"
    assert lines["trained tokens"].strip() == "not known"
    assert "the most is not known" in lines["tokens"]
    trainer = trainer_at(host, "custom:qwen", usd_per_million_tokens=1)
    told = await color(trainer, "preflight", training_data())
    assert "not known: give hyperparameters={'n_epochs': ...}" in str(told)


async def test_rows_of_preferences_are_checked_counted_and_priced(host, color):
    trainer = trainer_at(host, method="dpo", hyperparameters={"n_epochs": 2})
    told = await color(trainer, "preflight", training_data(method="dpo"))
    assert (told.num_errors, told.num_train, told.tokens.basis) == (0, 12, "characters")
    assert told.trained_tokens == 2 * told.tokens.num_tokens > 2 * 12 * 20
    assert told.cost_usd == round(told.trained_tokens * 5e-6, 4)
    rows_of_chats = [text_row(number) for number in range(12)]
    assert (await color(trainer, "preflight", rows_of_chats)).num_errors == 12 * 4


async def test_reinforcement_without_validation_is_told_and_has_no_price(host, color):
    data = training_data(num_validation=0, method="reinforcement")
    told = await color(trainer_at(host, method="reinforcement"), "preflight", data)
    assert [(p.file, p.code) for p in told.problems] == [("validation", "no_validation_rows")]
    assert (told.price, told.is_ready) == (None, False)


async def test_the_hosts_own_shutdown_date_goes_before_the_table(host, color):
    host.shut_down_on(BASE, "2026-12-24")
    told = await color(trainer_at(host), "preflight", training_data(), today=TODAY)
    assert (told.shutdown_date, told.days_left) == (date(2026, 12, 24), -1)
    assert "2026-12-24, 1 day ago" in str(told)


async def test_limits_that_are_reached_are_told(host, color):
    host.limits = [LIMITS | {"curr_pending_jobs": 3}]
    assert (await color(trainer_at(host), "preflight", training_data())).limits.is_reached


async def test_a_job_that_is_there_already_is_told_and_costs_nothing(host, color):
    trainer = trainer_at(host, max_cost_usd=0)
    job = await color(trainer_at(host), "submit", training_data())
    told = await color(trainer, "preflight", training_data())
    assert (told.existing_job, told.is_ready) == (job.id, True)
    assert f"{job.id}, queued: nothing would be paid" in str(told)


async def test_it_is_frozen_json_safe_and_a_table(host, color):
    told = await color(trainer_at(host, max_cost_usd=5), "preflight", bad_rows(), today=TODAY)
    assert Preflight.model_validate(json.loads(told.model_dump_json())) == told
    lines = str(told).splitlines()
    assert [line.split("  ")[0] for line in lines[:8]] == [
        *("target", "rows", "problems", "tokens", "epochs", "trained tokens", "cost", "shutdown")
    ]
    assert "train row 11, messages[0].content  special_token" in lines[-2]
    html = told._repr_html_()
    assert "<table>" in html
    assert "<|im_end|>" not in html
    assert "&lt;|im_end|&gt;" in html
    with pytest.raises(ValueError, match="frozen"):
        told.n_epochs = 1


# --- what a training does of it by itself ---


async def test_bad_rows_are_refused_before_anything_is_asked_of_the_host(host, color):
    with pytest.raises(
        InvalidRowsError, match=r"train row 11, messages\[0\]\.content: special_token"
    ) as caught:
        await color(trainer_at(host), "invoke", bad_rows())
    assert "secret" not in str(caught.value)
    assert host.requests == []


async def test_a_host_with_rules_of_its_own_gets_the_rows_unchecked(host, color):
    await color(trainer_at(host, check_rows=False), "submit", bad_rows())
    assert len(host.jobs) == 1


async def test_what_costs_more_than_the_limit_is_refused_before_anything_is_uploaded(host, color):
    with pytest.raises(CostLimitError, match=r"more than the limit of 0\.00 USD") as caught:
        await color(trainer_at(host, max_cost_usd=0.001), "invoke", training_data())
    assert caught.value.cost_usd > 0.001
    assert (host.contents, host.jobs) == ({}, {})


async def test_a_limit_without_a_price_is_refused_and_one_with_is_not(host, color):
    with pytest.raises(UnknownPriceError, match="usd_per_million_tokens"):
        await color(trainer_at(host, "openai:qwen", max_cost_usd=5), "submit", training_data())
    assert host.contents == {}
    trainer = trainer_at(host, "openai:qwen", max_cost_usd=5, usd_per_million_tokens=1)
    await color(trainer, "submit", training_data())
    assert len(host.jobs) == 1


async def test_a_job_that_is_there_already_is_taken_whatever_the_limit(host, color):
    first = await color(trainer_at(host), "submit", training_data())
    again = await color(trainer_at(host, max_cost_usd=0), "submit", training_data())
    assert (again.id, again.is_reused) == (first.id, True)


async def test_within_the_limit_nothing_more_is_asked_than_without(host, color, monkeypatch, tmp_path):
    other = FakeAccount()
    await color(trainer_at(host), "submit", training_data())
    # The other host is another account, whose jobs this machine's ledger does not know.
    monkeypatch.setenv("LANGCHAIN_FINETUNE_HOME", str(tmp_path / "other"))
    await color(trainer_at(other, max_cost_usd=99), "submit", training_data())
    assert [(r.method, r.path) for r in other.requests] == [(r.method, r.path) for r in host.requests]


@pytest.mark.parametrize("setting", ["max_cost_usd", "usd_per_million_tokens"])
def test_money_is_not_negative(setting):
    with pytest.raises(ValueError, match=setting):
        FineTuneRunnable("openai:x", **{setting: -1})


# --- the embedded server ---


def local_trainer(host, **settings):
    return FineTuneRunnable("local:small-135m", **clients(host), **settings)


async def test_the_embedded_server_counts_costs_nothing_and_takes_its_time(color):
    host = FakeAccount(bases=("small-135m",))
    host.tokens_per_row = 360
    told = await color(local_trainer(host), "preflight", [text_row(n) for n in range(100)])
    assert (told.tokens.basis, told.tokens.is_exact) == ("tokenizer", True)
    assert (told.cost_usd, told.n_epochs, told.minutes) == (0.0, 1, 1.7)
    assert "a measurement on two CPU cores" in told.minutes_source
    assert "cost            none (this machine's own time)" in str(told)


async def test_a_base_that_the_embedded_server_lacks_is_told(color):
    with pytest.raises(UnknownBaseError):
        await color(local_trainer(FakeAccount()), "preflight", rows())


def started(host, job_id, at):
    host.add_event(job_id, "Training", data={"phase": "started"}, created_at=at)


def minutes(host, base="small-135m"):
    connection = Connection(LOCAL, **clients(host))
    return connection.run(training_time(6000, base, connection.protocol))


def test_the_last_job_on_the_base_tells_the_speed():
    host = FakeAccount(bases=("small-135m",))
    job = host.add_job(model="small-135m", trained_tokens=1000, finished_at=1_700_000_100)
    started(host, job, 1_700_000_090)
    host.add_job(model="other", trained_tokens=10**9)
    host.add_job(model="small-135m", status="failed", trained_tokens=None)
    assert minutes(host) == (1.0, "the last job on this base here: 100 tokens a second")


def test_a_job_that_was_resumed_or_too_short_tells_no_speed():
    host = FakeAccount(bases=("small-135m",))
    resumed = host.add_job(model="small-135m", finished_at=1_700_000_100)
    started(host, resumed, 1_700_000_010)
    started(host, resumed, 1_700_000_050)
    started(host, host.add_job(model="small-135m", finished_at=1_700_000_100), 1_700_000_098)
    assert "measurement" in minutes(host).source


@pytest.mark.parametrize(
    ("base", "speed"),
    [("smollm2-135m-instruct", "360"), ("org/Model-1.35B-Instruct", "36"), ("/models/tiny.gguf", None)],
)
def test_the_measured_speed_is_scaled_by_the_size_in_the_name(base, speed):
    told = minutes(FakeAccount(), base)
    if speed is None:
        assert told == (None, "no job on this base has finished here yet")
    else:
        assert f": {speed} tokens a second" in told.source
        assert told.minutes == round(6000 / float(speed) / 60, 1)
