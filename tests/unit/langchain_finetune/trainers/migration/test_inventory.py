"""What an account has, against the fake host."""

import json
from datetime import date

import pytest

from langchain_finetune import ainventory, inventory
from langchain_finetune.errors import AuthenticationFailedError, HostError
from tests.fakes.clients import clients
from tests.fakes.colors import COLORS
from tests.fakes.openai_account import OLD_BASE, OLD_MODEL, FakeAccount

TODAY = date(2026, 12, 25)
END = date(2027, 1, 14)


class Functions:
    """`inventory` and its twin, for a test of both colors."""

    inventory = staticmethod(inventory)
    ainventory = staticmethod(ainventory)


@pytest.fixture
def account():
    return FakeAccount(bases=(OLD_BASE,))


@pytest.fixture(params=["sync", "async"])
def stock(request, account):
    color = COLORS[request.param]
    client = clients(account)["async_client" if color.is_async else "client"]
    return lambda: color(Functions, "inventory", client, today=TODAY)


async def test_a_model_is_told_with_base_job_files_and_days_left(account, stock):
    validation = account.add_file(b"{}\n")
    job_id = account.add_job(b"{}\n", validation_file=validation)
    [entry] = await stock()
    assert (entry.model, entry.base, entry.job_id, entry.state) == (OLD_MODEL, OLD_BASE, job_id, "available")
    assert (entry.has_training_file, entry.validation_file, entry.has_validation_file) == (
        True,
        validation,
        True,
    )
    assert (entry.shutdown_date, entry.days_left, entry.created_at.year) == (END, 20, 2023)
    assert {request.method for request in account.requests} == {"GET"}


async def test_files_that_were_deleted_are_told(account, stock):
    job_id = account.add_job(b"{}\n", validation_file="file-gone")
    del account.files[account.jobs[job_id]["training_file"]]
    stocked = await stock()
    assert (stocked[0].has_training_file, stocked[0].has_validation_file) == (False, False)
    assert "(deleted)" in str(stocked)


async def test_a_model_without_a_job_and_a_job_without_its_model_are_told(account, stock):
    account.models["ft:gpt-4.1-2025-04-14:acme::lost"] = account._model("ft:gpt-4.1-2025-04-14:acme::lost")
    account.add_job(is_listed=False)
    account.add_job(status="failed", fine_tuned_model=None)
    told = {entry.model: (entry.state, entry.job_id, entry.training_file) for entry in await stock()}
    assert told == {
        "ft:gpt-4.1-2025-04-14:acme::lost": ("without_job", None, None),
        OLD_MODEL: ("deleted", "ftjob-old0", "file-old0"),
    }


async def test_jobs_and_files_are_read_to_the_last_page(account, stock):
    account.page_size = 2
    for number in range(7):
        account.add_job(fine_tuned_model=f"ft:{OLD_BASE}:acme::{number}")
    stocked = await stock()
    assert len(stocked) == 7
    assert all(entry.state == "available" and entry.has_training_file for entry in stocked)
    assert len(account.sent("GET", "/fine_tuning/jobs")) == len(account.sent("GET", "/files")) == 4


async def test_a_host_that_sends_the_same_page_again_and_again_is_left(account, stock):
    account.add_job()
    page = {"object": "list", "data": list(account.jobs.values()), "has_more": True}
    account._list_jobs = lambda _: page
    assert len(await stock()) == 1


async def test_a_model_tuned_on_a_tuned_one_has_the_base_at_the_root(account, stock):
    account.add_job()
    account.add_job(model=OLD_MODEL, fine_tuned_model="ft:gpt-4o-mini-2024-07-18:acme:second:2")
    account.add_job(model="ft:gpt-4.1-2025-04-14:acme::gone", fine_tuned_model="ft:x:acme:third:3")
    account.add_job(fine_tuned_model="ft:renamed:acme::4")
    account.add_job(model="ft:renamed:acme::4", fine_tuned_model="ft:renamed:acme::5")
    bases = {entry.model: entry.base for entry in await stock()}
    assert bases["ft:renamed:acme::5"] == OLD_BASE
    assert bases["ft:gpt-4o-mini-2024-07-18:acme:second:2"] == OLD_BASE
    assert bases["ft:x:acme:third:3"] == "gpt-4.1-2025-04-14"


async def test_checkpoints_are_counted_with_their_model(account, stock):
    account.add_job()
    for step in (1, 2):
        name = f"{OLD_MODEL}:ckpt-step-{step}"
        account.models[name] = account._model(name)
    [entry] = await stock()
    assert entry.num_checkpoints == 2


async def test_what_ends_first_stands_first_and_the_hosts_date_goes_before_the_table(account, stock):
    account.shut_down_on(OLD_BASE, "2027-03-01")
    account.add_job()
    account.add_job(model="gpt-4.1-2025-04-14", fine_tuned_model="ft:gpt-4.1-2025-04-14:acme::1")
    account.add_job(model="qwen", fine_tuned_model="ft:qwen:acme::1")
    told = [(entry.base, entry.shutdown_date) for entry in await stock()]
    assert told == [("gpt-4.1-2025-04-14", END), (OLD_BASE, date(2027, 3, 1)), ("qwen", None)]


async def test_it_is_a_frozen_list_json_safe_and_a_table(account, stock):
    account.add_job(fine_tuned_model="ft:<b>:acme::1", model=OLD_BASE)
    stocked = await stock()
    assert isinstance(stocked, tuple)
    json.dumps([entry.model_dump(mode="json") for entry in stocked])
    header, line = str(stocked).splitlines()
    assert header.split() == ["model", "base", "job", "training", "file", "shutdown"]
    assert "2027-01-14, 20 days left" in line
    assert "ft:&lt;b&gt;:acme::1" in stocked._repr_html_()


async def test_an_empty_account_says_so(stock):
    assert "no fine-tuned models" in str(await stock())


async def test_a_host_that_refuses_is_told(account, stock):
    account.fail("GET", "/files", 500)
    with pytest.raises(HostError):
        await stock()


def test_without_a_client_it_is_openais_own_by_the_environments_key():
    with pytest.raises(AuthenticationFailedError, match="OPENAI_API_KEY"):
        inventory()
