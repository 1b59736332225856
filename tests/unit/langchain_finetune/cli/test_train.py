import io
import sys

import httpx2
import pytest

from langchain_finetune import FineTuneRunnable
from tests.fakes.openai_plan import Plan
from tests.fakes.training_rows import file_of, text_row, training_data
from tests.unit.langchain_finetune.cli.conftest import BASE, TARGET


def created(host):
    return [request.body for request in host.sent("POST", "/fine_tuning/jobs")]


def test_rows_become_a_model(cli, host, row_file):
    called = cli("train", TARGET, row_file, "--epochs", 2, "--suffix", "mine", "--seed", 7, "--json")
    assert called.code == 0
    told = called.json
    assert (told["provider"], told["base"], told["reused"]) == ("openai", BASE, False)
    assert told["model"] == host.jobs[told["job_id"]]["fine_tuned_model"]
    assert host.key not in called.out + called.err
    [body] = created(host)
    assert (body["suffix"], body["seed"]) == ("mine", 7)
    assert body["method"]["supervised"]["hyperparameters"] == {"n_epochs": 2}
    assert "loss" in called.err


def test_a_second_time_nothing_is_trained(cli, host, row_file):
    cli("train", TARGET, row_file)
    called = cli("train", TARGET, row_file)
    assert "found again: nothing was trained or paid" in called.out
    assert len(created(host)) == 1
    assert cli("train", TARGET, row_file, "--retrain", "--json").json["reused"] is False


def test_the_handle_of_convert_is_taken_whole(cli, host, monkeypatch):
    data = training_data()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data.model_dump_json().encode())))
    for word in ("-", data.fingerprint, data.fingerprint[:16], data.train.parent):
        assert cli("train", TARGET, word, "-q").code == 0
    [body] = created(host)
    assert body["validation_file"]


def test_the_method_is_that_of_the_rows(cli, host):
    cli("train", TARGET, training_data(method="dpo").train.parent, "--no-validation")
    [body] = created(host)
    assert body["method"]["type"] == "dpo"
    assert "validation_file" not in body


def test_quiet_says_nothing_and_no_wait_leaves_the_job(cli, host, row_file):
    called = cli("train", TARGET, row_file, "--no-wait", "--json")
    job = called.json["job"]
    assert job.startswith("openai:ftjob-")
    assert called.json["status"] != "succeeded"
    assert cli("train", TARGET, row_file, "-q").err == ""
    assert len(created(host)) == 1


def test_a_dry_run_tells_and_creates_nothing(cli, host, row_file):
    called = cli("train", TARGET, row_file, "--dry-run", "--epochs", 1, "--price", 3)
    assert called.code == 0
    assert "trained tokens" in called.out
    assert host.sent("POST", ".*") == []
    told = cli("train", TARGET, row_file, "--dry-run", "--epochs", 1, "--json").json
    assert told["is_ready"] is True
    assert told["num_train"] == 12


@pytest.mark.parametrize("is_dry", [False, True])
def test_what_costs_too_much_is_exit_code_4(cli, host, row_file, is_dry):
    limit = ("--epochs", 1, "--price", 3, "--max-cost", 0.000001)
    called = cli("train", TARGET, row_file, *limit, *(["--dry-run"] if is_dry else []))
    assert called.code == 4
    assert host.sent("POST", ".*") == []


def test_rows_that_the_host_would_refuse_are_exit_code_6(cli, host, tmp_path):
    bad = file_of(tmp_path, [*map(text_row, range(12)), {"messages": []}])
    assert cli("train", TARGET, bad).code == 6
    assert cli("train", TARGET, bad, "--dry-run").code == 6
    assert cli("train", TARGET, "nothing.jsonl").code == 6
    assert host.sent("POST", ".*") == []


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("api_key=sk-mine", "--api-key-env"),
        ("client=1", "--api-key-env"),
        ("colour=red", "colour"),
        ('suffix=""', "suffix"),
    ],
)
def test_settings_are_held_to_the_trainer(cli, host, row_file, setting, said):
    called = cli("train", TARGET, row_file, "-s", setting)
    assert called.code == 2
    assert said in called.err
    assert "sk-mine" not in called.err


def test_a_host_at_a_url_of_its_own(cli, host, row_file, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.setenv("MY_KEY", host.key)
    reached = ("--base-url", "http://host/v1", "--api-key-env", "MY_KEY")
    assert cli("train", BASE, row_file, *reached, "-s", "poll_interval=0.001").code == 0
    assert cli("train", "nobody:x", row_file).code == 2


def test_a_refused_key_and_a_host_out_of_reach(cli, host, row_file, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    assert cli("train", TARGET, row_file).code == 3
    host.fail("GET", ".*", httpx2.ConnectError("gone"), times=99)
    monkeypatch.setenv("OPENAI_API_KEY", host.key)
    assert cli("train", TARGET, row_file).code == 7


def test_a_job_that_fails_is_exit_code_1(cli, host, row_file):
    host.plan = Plan(
        states=("running", "failed"), error={"code": "server_error", "message": "No.", "param": None}
    )
    called = cli("train", TARGET, row_file, "--json")
    assert called.code == 1
    assert called.error["type"] == "TrainingFailed"


def test_an_interrupt_leaves_the_job_and_says_how_to_come_back(cli, host, row_file, monkeypatch):
    host.plan = Plan(states=("running",) * 50 + ("succeeded",))
    real = FineTuneRunnable._submit

    def submit(self, data):
        job = real(self, data)
        job._connection._sleep = interrupt
        return job

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(FineTuneRunnable, "_submit", submit)
    called = cli("train", TARGET, row_file)
    [job_id] = host.jobs
    assert (called.code, called.out) == (130, "")
    assert f"langchain-finetune jobs watch openai:{job_id}" in called.err
    assert "FineTuneRunnable(" not in called.err
    assert host.sent("POST", ".*/cancel") == []


def test_the_time_to_wait_is_over(cli, host, row_file):
    host.plan = Plan(states=("running",) * 9)
    called = cli("train", TARGET, row_file, "--timeout", "0.001")
    assert called.code == 5
    assert "jobs watch openai:ftjob-" in called.err
