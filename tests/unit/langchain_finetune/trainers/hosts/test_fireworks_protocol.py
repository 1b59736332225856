"""A job's whole life at Fireworks AI, by its real SDK against a fake of it."""

import pytest

fireworks = pytest.importorskip(
    "fireworks", reason="Fireworks AI is NOT tested: pip install 'langchain-finetune[fireworks]'"
)

from langchain_finetune.errors import (  # noqa: E402
    AuthenticationFailedError,
    DeploymentNeeded,
    HostError,
    JobCancelled,
    JobNotFoundError,
    NotSupportedError,
    SettingError,
    TrainingFailed,
    UnknownBaseError,
)
from langchain_finetune.hosts import FIREWORKS  # noqa: E402
from langchain_finetune.trainers.hosts import fireworks_protocol  # noqa: E402
from langchain_finetune.trainers.hosts.connection import Connection  # noqa: E402
from tests.fakes.colors import COLORS  # noqa: E402
from tests.fakes.fireworks_host import FireworksHost  # noqa: E402
from tests.fakes.loopback import Response  # noqa: E402
from tests.fakes.sdk_clients import http_clients, sdk_trainer  # noqa: E402
from tests.fakes.training_rows import rows, training_data  # noqa: E402

BASE = "qwen3-8b"
URL = "https://fireworks.example"
JOBS = "/v1/accounts/acme/supervisedFineTuningJobs"


@pytest.fixture
def host():
    return FireworksHost()


@pytest.fixture(params=["sync", "async"])
def color(request):
    return COLORS[request.param]


def trainer_on(host, target=f"fireworks:{BASE}", **settings):
    given = {"api_key": host.key, "account_id": host.account, "base_url": URL, "max_retries": 0}
    sync, asynchronous = http_clients(host)
    client = fireworks.Fireworks(http_client=sync, **given)
    async_client = fireworks.AsyncFireworks(http_client=asynchronous, **given)
    return sdk_trainer(target, client, async_client, **settings)


async def test_a_job_is_trained_and_its_model_called_at_its_deployment(color, host):
    trainer = trainer_on(host, suffix="calc", hyperparameters={"n_epochs": 2, "lora_rank": 8})
    with pytest.raises(DeploymentNeeded) as caught:
        await color(trainer, "invoke", training_data())
    [(name, created)] = host.jobs.items()
    assert (caught.value.job_id, caught.value.model) == (name, created["outputModel"])
    assert caught.value.call == f"firectl deployment create {created['outputModel']} --wait"
    assert (created["epochs"], created["loraRank"]) == (2, 8)
    assert created["baseModel"] == "accounts/fireworks/models/qwen3-8b"
    assert created["outputModel"].startswith("accounts/acme/models/calc-")
    assert created["dataset"].startswith("accounts/acme/datasets/lcft-train-")
    assert created["evaluationDataset"].startswith("accounts/acme/datasets/lcft-validation-")
    assert host.contents[created["dataset"]].count(b"\n") == 12
    job = await color(trainer, "attach", name)
    model = await color(job, "to_chat_model", deployment="d1")
    assert model.model_name == f"{created['outputModel']}#accounts/acme/deployments/d1"
    assert model.openai_api_base == f"{URL}/inference/v1"
    assert model.openai_api_key.get_secret_value() == host.key


async def test_the_job_is_found_again_among_others(color, host):
    for epochs in (1, 2, 3, 4):
        await color(trainer_on(host, deployment="d", hyperparameters={"n_epochs": epochs}), "invoke", rows(3))
    await color(trainer_on(host, deployment="d", hyperparameters={"n_epochs": 1}), "invoke", rows(3))
    assert len(host.jobs) == len(host.sent("POST", JOBS)) == 4
    assert len(host.data_sets) == len(host.contents) == 1


@pytest.mark.parametrize("is_after", [False, True])
async def test_a_creation_whose_answer_was_lost_makes_one_job(color, host, is_after):
    host.faults.append(("POST", JOBS, 503, is_after))
    await color(trainer_on(host, deployment="d"), "invoke", rows(3))
    assert len(host.jobs) == 1


async def test_the_host_itself_refuses_the_same_job_a_second_time(color, host, monkeypatch, tmp_path):
    """Two machines that look at the same moment both find nothing and both create."""
    trainer = trainer_on(host, deployment="d")
    await color(trainer, "invoke", rows(3))
    # The other machine has a ledger of its own.
    monkeypatch.setenv("LANGCHAIN_FINETUNE_HOME", str(tmp_path / "other"))
    found = host._list_jobs
    answers = iter([{"supervisedFineTuningJobs": []}, {"dpoJobs": []}] * 2)
    monkeypatch.setattr(host, "_list_jobs", lambda *given: next(answers, None) or found(*given))
    await color(trainer_on(host, deployment="d"), "invoke", rows(3))
    assert (len(host.jobs), len(host.sent("POST", JOBS))) == (1, 2)


async def test_after_a_failed_job_the_next_attempt_has_the_next_number(color, host):
    host.states = ("RUNNING", "FAILED")
    with pytest.raises(TrainingFailed):
        await color(trainer_on(host), "invoke", rows(3))
    host.states = ("RUNNING", "COMPLETED")
    await color(trainer_on(host, deployment="d"), "invoke", rows(3))
    assert [name[-2:] for name in host.jobs] == ["-0", "-1"]


async def test_an_upload_that_broke_off_is_taken_up(color, host):
    # As often as an upload is tried.
    host.faults += [("POST", r".*:upload", 503, False)] * 3
    with pytest.raises(HostError):
        await color(trainer_on(host), "invoke", rows(3))
    if not host.data_sets:  # the trainer may have cleared up
        [data_set] = host.sent("POST", "/v1/accounts/acme/datasets")
        host.respond("POST", data_set.path, data_set.headers, data_set.content)
    await color(trainer_on(host, deployment="d"), "invoke", rows(3))
    assert len(host.jobs) == 1


async def test_a_data_set_is_waited_for(color, host):
    host.looks_until_ready = 5
    await color(trainer_on(host, deployment="d"), "invoke", rows(3))
    assert len(host.jobs) == 1


async def test_preferences_are_trained_by_dpo_and_not_by_the_hosts_default(color, host, caplog):
    trainer = trainer_on(host, method="dpo", deployment="d", hyperparameters={"beta": 0.2, "n_epochs": 2})
    data = training_data(method="dpo")
    await color(trainer, "invoke", data)
    [(name, job)] = host.jobs.items()
    assert "/dpoJobs/" in name
    assert job["lossConfig"] == {"method": "DPO", "dpo": {"beta": 0.2}}
    assert (job["trainingConfig"]["epochs"], "evaluationDataset" in job) == (2, False)
    assert "2 rows are not sent" in caplog.text
    assert (await color(trainer, "attach", name.rpartition("/")[2])).id == name


async def test_a_list_that_turns_in_a_circle_is_read_once(color, host, monkeypatch):
    circle = {"supervisedFineTuningJobs": [], "nextPageToken": "1"}
    asked = []

    def list_jobs(request, parent, kind):
        asked.append(kind)
        assert len(asked) < 20, "the same page again and again"
        return {**circle, kind: []}

    monkeypatch.setattr(host, "_list_jobs", list_jobs)
    await color(trainer_on(host, deployment="d"), "submit", rows(3))
    assert len(host.jobs) == 1


async def test_a_key_that_may_train_and_not_read_models_trains(color, host):
    host.faults.append(("GET", r"/v1/accounts/fireworks/models/.*", 403, False))
    await color(trainer_on(host, deployment="d"), "submit", rows(3))
    assert len(host.jobs) == 1


async def test_what_would_be_done_is_told_before_anything_is_sent(color, host):
    told = await color(trainer_on(host), "preflight", training_data())
    assert (told.n_epochs, told.trained_tokens, told.max_row_tokens, told.limits) == (None,) * 4
    told = await color(trainer_on(host, hyperparameters={"epochs": 2}), "preflight", training_data())
    assert told.trained_tokens == 2 * told.tokens.num_tokens
    assert {request.method for request in host.requests} == {"GET"}


async def test_progress_is_a_percentage(color, host):
    job = await color(trainer_on(host, deployment="d"), "submit", rows(3))
    told = []
    await color(job, "result", told.append)
    assert [(p["step"], p["total_steps"]) for p in told if p["step"]][-1] == (60, 100)


async def test_a_failed_job_says_why(color, host):
    host.states = ("VALIDATING", "FAILED")
    host.status = {"code": "INVALID_ARGUMENT", "message": "Row 2 is bad"}
    with pytest.raises(TrainingFailed, match="Row 2 is bad") as caught:
        await color(trainer_on(host), "invoke", rows(3))
    assert caught.value.code == "INVALID_ARGUMENT"


async def test_a_job_can_be_cancelled_and_resumed_and_not_paused(color, host):
    host.states = ("RUNNING",)
    trainer = trainer_on(host)
    job = await color(trainer, "submit", rows(3))
    with pytest.raises(NotSupportedError, match="Fireworks"):
        await color(trainer._connection, "run", fireworks_protocol.pause_job(job.id))
    assert await color(job, "cancel") == "cancelled"
    with pytest.raises(JobCancelled):
        await color(job, "result")
    resumed = await color(trainer._connection, "run", fireworks_protocol.resume_job(job.id))
    assert resumed.status == "running"


async def test_uploads_are_known_and_so_are_the_jobs_on_them(color, host):
    trainer = trainer_on(host, deployment="d")
    await color(trainer, "invoke", rows(3))

    async def ask(exchange):
        return await color(trainer._connection, "run", exchange)

    [job] = await ask(fireworks_protocol.jobs_on_file(next(iter(host.data_sets))))
    assert job.status == "succeeded"
    assert await ask(fireworks_protocol.jobs_on_file("file-other")) == []
    size = len(next(iter(host.contents.values())))
    assert await ask(fireworks_protocol.has_upload(next(iter(host.data_sets)), size))
    assert not await ask(fireworks_protocol.has_upload("file-other", size))
    assert await ask(fireworks_protocol.is_model_ready(job.model, job.id))


async def test_what_the_host_does_not_have_is_told(color, host):
    for ask in (fireworks_protocol.checkpoints, fireworks_protocol.download):
        with pytest.raises(NotSupportedError, match="Fireworks"):
            await color(trainer_on(host)._connection, "run", ask("it"))


async def test_an_unknown_job_is_told_as_one(color, host):
    with pytest.raises(JobNotFoundError, match="nowhere"):
        await color(trainer_on(host), "attach", "nowhere")


async def test_a_base_that_is_not_there_is_told_and_the_data_set_deleted(color, host):
    with pytest.raises(UnknownBaseError, match="no-such"):
        await color(trainer_on(host, "fireworks:no-such"), "invoke", rows(3))
    assert host.data_sets == {}


async def test_a_model_that_was_deleted_is_trained_anew(color, host):
    await color(trainer_on(host, deployment="d"), "invoke", rows(3))
    [job] = host.jobs.values()
    del host.models[job["outputModel"]]
    job["completedTime"] = "2020-01-01T00:00:00Z"
    await color(trainer_on(host, deployment="d"), "invoke", rows(3))
    assert len(host.jobs) == 2


async def test_what_fireworks_refuses_is_refused_before_anything_is_sent(color, host):
    with pytest.raises(SettingError, match="Fireworks AI has no `seed`"):
        await color(trainer_on(host, seed=1), "invoke", rows(3))
    assert host.requests == []


async def test_a_wrong_key_is_told_without_the_key(color, host):
    trainer = trainer_on(host)
    host.key = "fw-other"
    with pytest.raises(AuthenticationFailedError, match="FIREWORKS_API_KEY") as caught:
        await color(trainer, "invoke", rows(3))
    assert "fw-" not in str(caught.value)


async def test_an_answer_that_is_no_json_is_told(color, host, monkeypatch):
    monkeypatch.setattr(host, "_route", lambda *_: Response(200, b"<html>", {"content-type": "text/html"}))
    with pytest.raises(HostError, match="no JSON"):
        await color(trainer_on(host), "attach", "accounts/acme/supervisedFineTuningJobs/x")


def test_key_and_account_come_from_the_environment(monkeypatch):
    monkeypatch.delenv("FIREWORKS_ACCOUNT_ID", raising=False)
    with pytest.raises(AuthenticationFailedError, match="FIREWORKS_API_KEY"):
        _ = Connection(FIREWORKS).client
    monkeypatch.setenv("FIREWORKS_API_KEY", "fw-env")
    with pytest.raises(SettingError, match="FIREWORKS_ACCOUNT_ID"):
        _ = Connection(FIREWORKS).client
    monkeypatch.setenv("FIREWORKS_ACCOUNT_ID", "acme")
    connection = Connection(FIREWORKS)
    assert connection.endpoint == ("https://api.fireworks.ai/inference/v1", "fw-env")
    assert connection.async_client.account_id == "acme"
    assert Connection(FIREWORKS, async_client=connection.async_client).client.account_id == "acme"
