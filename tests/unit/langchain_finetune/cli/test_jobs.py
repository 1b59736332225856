import httpx2
import pytest

from langchain_finetune._spool import state_directory
from tests.fakes.openai_plan import Plan
from tests.unit.langchain_finetune.cli.conftest import BASE, TARGET


@pytest.fixture
def job(cli, host, row_file):
    """A job that trains for as long as it is looked at."""
    host.plan = Plan(states=("running",) * 999)
    return cli("train", TARGET, row_file, "--no-wait", "--json").json["job"]


def test_there_is_no_job_yet(cli):
    assert cli("jobs", "list").out == "No job was ordered from this machine yet.\n"
    assert cli("jobs", "list", "--json").json == []


def test_jobs_are_listed_with_their_state(cli, job):
    [told] = cli("jobs", "list", "--json").json
    assert (f"{told['provider']}:{told['job_id']}", told["status"], told["base"]) == (job, "running", BASE)
    listed = cli("jobs", "list").out.splitlines()
    assert listed[1].startswith(f"{job}  running")


def test_a_job_is_shown_by_its_name_and_by_its_bare_id(cli, host, job):
    told = cli("jobs", "show", job, "--json").json
    assert (told["job_id"], told["status"], told["base"]) == (job.partition(":")[2], "running", BASE)
    assert cli("jobs", "show", job.partition(":")[2], "--json").json["status"] == "running"
    text = cli("jobs", "show", job).out
    assert "status" in text
    assert "checkpoints" not in text


def test_a_job_that_is_nowhere(cli, host):
    called = cli("jobs", "show", "ftjob-none")
    assert called.code == 3
    assert "local:ftjob-none" in called.err
    assert cli("jobs", "show", "openai:ftjob-none").code == 3


def test_events_are_those_of_the_host(cli, job):
    events = cli("jobs", "events", job, "--json").json
    assert events
    assert cli("jobs", "events", job).out.count("\n") >= len(events)


def test_a_job_is_paused_resumed_and_cancelled(cli, host, job):
    for verb in ("pause", "resume", "cancel"):
        called = cli("jobs", verb, job, "--json")
        assert called.code == 0
        assert len(host.sent("POST", f".*/{verb}")) == 1
    assert cli("jobs", "show", job, "--json").json["status"] == "cancelled"
    assert cli("jobs", "watch", job).code == 1


def test_watching_ends_with_the_model(cli, host, row_file):
    job = cli("train", TARGET, row_file, "--no-wait", "--json").json["job"]
    called = cli("jobs", "watch", job, "--json")
    assert called.code == 0
    assert called.json["model"].startswith("ft:")
    assert "loss" in called.err


def test_watching_for_a_while(cli, job):
    called = cli("jobs", "watch", job, "--timeout", "0.001")
    assert called.code == 5
    assert f"langchain-finetune jobs watch {job}" in called.err


def test_why_a_job_failed_is_shown(cli, host, row_file):
    host.plan = Plan(
        states=("running", "failed"), error={"code": "server_error", "message": "No.", "param": None}
    )
    job = cli("train", TARGET, row_file, "--no-wait", "--json").json["job"]
    cli("jobs", "watch", job)
    assert "server_error: No." in cli("jobs", "show", job).out


def test_without_the_accounts_key_a_job_is_listed_all_the_same(cli, host, job, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    [told] = cli("jobs", "list", "--json").json
    assert (told["provider"], told["status"], told["account"]) == (None, None, "host/v1")
    assert "host/v1: the environment has no key of its account" in cli("jobs", "list").out
    assert host.key.encode() not in (state_directory() / "ledger.sqlite").read_bytes()


def test_a_host_that_is_away_leaves_its_jobs_unknown(cli, host, job):
    host.fail("GET", "/fine_tuning/jobs/.*", httpx2.ConnectError("gone"), times=99)
    called = cli("jobs", "list")
    assert called.code == 0
    assert f"{job}  ?" in called.out
    assert "cannot be reached" in called.out


def test_jobs_of_one_provider(cli, host, job):
    assert len(cli("jobs", "list", "--provider", "openai", "--json").json) == 1
    assert cli("jobs", "list", "--provider", "local", "--json").json == []
    assert cli("jobs", "list", "--provider", "nobody").code == 2
