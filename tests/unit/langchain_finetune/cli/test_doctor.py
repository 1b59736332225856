from datetime import date

import pytest

from langchain_finetune._spool import state_directory
from langchain_finetune.cli import checkup
from langchain_finetune.cli.checkup import checks
from langchain_finetune.errors import AuthenticationFailedError, HostUnreachableError
from langchain_finetune.loaders import reach
from tests.unit.langchain_finetune.cli.conftest import TARGET

KEY = "lsv2_pt_secret"


def by_name(told):
    return {(it["topic"], it["name"]): it for it in told}


def test_all_is_well_without_any_key(cli):
    called = cli("doctor")
    assert called.code == 0
    assert "OPENAI_API_KEY is not set" in called.out
    assert called.err == "no problems\n"


def test_hosts_with_a_key_are_asked_and_no_key_is_told(cli, host, monkeypatch):
    monkeypatch.setenv("LANGSMITH_API_KEY", KEY)
    monkeypatch.setattr(reach, "reach_langsmith", lambda: "https://langsmith")
    called = cli("doctor", "--json")
    assert called.code == 0
    told = by_name(called.json)
    assert told["hosts", "openai"]["found"] == "host/v1 takes the key of OPENAI_API_KEY"
    assert told["sources", "langsmith"]["verdict"] == "ok"
    assert len(host.sent("GET", "/fine_tuning/jobs")) == 1
    assert host.key not in called.out + called.err
    assert KEY not in called.out + called.err


@pytest.mark.parametrize(
    ("error", "said"),
    [(AuthenticationFailedError("no"), "not accepted"), (HostUnreachableError("away"), "away")],
)
def test_what_refuses_or_is_away_is_a_problem(cli, host, monkeypatch, error, said):
    def refuse():
        raise error

    monkeypatch.setenv("LANGSMITH_API_KEY", KEY)
    monkeypatch.setattr(reach, "reach_langsmith", refuse)
    host.key = "sk-another"
    called = cli("doctor", "--json")
    assert called.code == 1
    told = by_name(called.json)
    assert told["hosts", "openai"]["verdict"] == "problem"
    assert said in told["sources", "langsmith"]["found"]
    assert cli("doctor").err == "2 problems, marked !!\n"


def test_offline_nobody_is_asked(cli, host):
    assert cli("doctor", "--offline").code == 0
    assert host.requests == []


def test_deadlines_are_those_of_this_machines_jobs(cli, host, row_file):
    cli("train", TARGET, row_file)
    told = by_name(check._asdict() for check in checks(is_offline=False, today=date(2026, 12, 1)))
    assert told["deadlines", "openai fine-tuning"]["found"].startswith(
        "no new jobs from 2027-01-06 on, 36 days left"
    )
    base = told["deadlines", TARGET.partition(":")[2]]
    assert (base["verdict"], "2027-01-14" in base["found"]) == ("note", True)
    late = by_name(check._asdict() for check in checks(is_offline=False, today=date(2027, 2, 1)))
    assert late["deadlines", TARGET.partition(":")[2]]["verdict"] == "problem"


def test_a_directory_that_others_may_read_is_a_problem(cli):
    state_directory().chmod(0o755)
    called = cli("doctor", "--offline")
    assert called.code == 1
    assert "chmod 700" in called.out


def test_a_directory_that_cannot_be_used_is_a_problem(cli):
    (state_directory() / "layout.json").write_text('{"version": 99}')
    called = cli("doctor", "--offline", "--json")
    assert by_name(called.json)["state", "directory"]["verdict"] == "problem"


def test_a_missing_extra_has_its_pip_line(monkeypatch):
    monkeypatch.setattr(checkup, "find_spec", lambda name: None)
    told = by_name(check._asdict() for check in checks(is_offline=True))
    assert 'pip install "langchain-finetune[parquet]"' in told["extras", "parquet"]["found"]
