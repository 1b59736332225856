"""The queue and the ends a job can come to, with a trainer that does as the job's first row says."""

import time

import openai
import pytest

from tests.openai_schemas import check_schema
from tests.server_process import (
    BASE,
    TRAINER,
    ServerProcess,
    create_job,
    messages,
    rows,
    wait_for_status,
    wait_for_steps,
)


@pytest.fixture(scope="module")
def module_server(tmp_path_factory):
    settings = {"timing": {"checkpoint_grace_seconds": 0.3}, "limits": {"max_pending_jobs": 4}}
    process = ServerProcess(tmp_path_factory.mktemp("jobs") / "server", **settings)
    yield process.start()
    process.close()


@pytest.fixture
def server(module_server):
    """A server with no job that waits or runs, before the test and after."""
    yield module_server
    with module_server.client() as client:
        for job in client.fine_tuning.jobs.list():
            if job.status not in {"succeeded", "failed", "cancelled"}:
                client.fine_tuning.jobs.cancel(job.id)
    wait_for_no_trainer(module_server)


@pytest.fixture
def client(server):
    with server.client() as client:
        yield client


def wait_for_trainer(server: ServerProcess) -> None:
    deadline = time.monotonic() + 20
    while not server.trainers():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_for_no_trainer(server: ServerProcess, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while server.trainers():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_killed_trainer_goes_on_from_its_checkpoint(server, client):
    job_id = create_job(server, "--die-at 6")
    assert wait_for_status(client, job_id, "succeeded", "failed").status == "succeeded"
    told = messages(server, job_id)
    steps = [message for message in told if message.startswith("Step ")]
    assert steps == [f"Step {step}/8: training loss={1 / step:.2f}" for step in range(1, 9)]
    assert "The training process ended with signal SIGKILL; it is started again." in told
    assert "Fine-tuning job resumed from the checkpoint at step 4 (attempt 2)" in told


def test_a_trainer_that_dies_before_its_first_checkpoint_starts_again_and_says_so(server, client):
    job_id = create_job(server, "--die-at 2")
    wait_for_status(client, job_id, "succeeded")
    assert "Fine-tuning job resumed from the start, as it has no checkpoint yet (attempt 2)" in messages(
        server, job_id
    )


def test_a_trainer_that_dies_three_times_in_one_place_fails_the_job(server, client):
    job_id = create_job(server, "--die-at 2 --die-times 9")
    error = wait_for_status(client, job_id, "failed", "succeeded").error
    assert error.code == "training_process_killed"
    assert "signal SIGKILL, the third time without a new checkpoint" in error.message
    assert "trainer.log" in error.message


def test_deaths_with_a_new_checkpoint_between_them_do_not_add_up(server, client):
    job_id = create_job(server, "--checkpoint-every 1 --step-seconds 0.3")
    for number in (1, 3, 5):
        wait_for_steps(server, job_id, number)
        for trainer in server.trainers():
            trainer.kill()
    assert wait_for_status(client, job_id, "succeeded", "failed").status == "succeeded"


def test_a_failed_training_tells_the_trainers_reason(server, client):
    job = wait_for_status(client, create_job(server, "--fail loss_is_nan"), "failed")
    assert (job.error.code, job.error.message) == ("loss_is_nan", "The fake trainer was told to fail.")
    assert job.finished_at


@pytest.mark.parametrize("options", ["--hang", "--hang --ignore-sigterm"])
def test_a_cancelled_job_has_no_trainer_within_two_seconds(server, client, options):
    job_id = create_job(server, options)
    wait_for_trainer(server)
    assert client.fine_tuning.jobs.cancel(job_id).status == "cancelled"
    wait_for_no_trainer(server, seconds=2)
    assert client.fine_tuning.jobs.cancel(job_id).status == "cancelled"
    assert client.fine_tuning.jobs.retrieve(job_id).finished_at
    assert messages(server, job_id)[-1] == "The job was cancelled"


def test_a_job_that_has_ended_cannot_be_cancelled_paused_or_resumed(server, client):
    job = wait_for_status(client, create_job(server), "succeeded")
    for change in (
        client.fine_tuning.jobs.cancel,
        client.fine_tuning.jobs.pause,
        client.fine_tuning.jobs.resume,
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            change(job.id)
        assert caught.value.code == "invalid_job_state"
        assert f"Job {job.id} is succeeded" in str(caught.value)
    assert client.fine_tuning.jobs.retrieve(job.id).status == "succeeded"


def test_a_paused_job_has_no_trainer_and_goes_on_from_its_checkpoint_when_resumed(server, client):
    job_id = create_job(server, "--step-seconds 0.3")
    wait_for_steps(server, job_id, 3)
    assert client.fine_tuning.jobs.pause(job_id).status == "pausing"
    wait_for_status(client, job_id, "paused")
    wait_for_no_trainer(server)
    assert client.fine_tuning.jobs.pause(job_id).status == "paused"
    assert client.fine_tuning.jobs.resume(job_id).status == "queued"
    wait_for_status(client, job_id, "succeeded")
    told = messages(server, job_id)
    assert "Fine-tuning job paused" in told
    assert any("resumed from the checkpoint at step" in message for message in told)
    assert sum(message.startswith("Step ") for message in told) == 8
    assert not any("started again" in message for message in told)


def test_a_queued_job_that_is_paused_lets_others_pass_and_comes_back(server, client):
    first, second = create_job(server, "--hang"), create_job(server)
    wait_for_trainer(server)
    assert client.fine_tuning.jobs.pause(second).status == "paused"
    third = create_job(server)
    client.fine_tuning.jobs.cancel(first)
    wait_for_status(client, third, "succeeded")
    assert client.fine_tuning.jobs.retrieve(second).status == "paused"
    client.fine_tuning.jobs.resume(second)
    wait_for_status(client, second, "succeeded")


def test_jobs_run_one_at_a_time_in_the_order_they_came(server, client):
    job_ids = [create_job(server) for _ in range(3)]
    most = 0
    while client.fine_tuning.jobs.retrieve(job_ids[-1]).status != "succeeded":
        most = max(most, sum(job.status == "running" for job in client.fine_tuning.jobs.list(limit=5).data))
    assert most == 1
    finished = [client.fine_tuning.jobs.retrieve(job_id).finished_at for job_id in job_ids]
    assert finished == sorted(finished)


def test_a_queued_job_that_is_cancelled_never_starts(server, client):
    first, second = create_job(server, "--hang"), create_job(server)
    wait_for_trainer(server)
    wait_for_status(client, second, "queued")
    client.fine_tuning.jobs.cancel(second)
    client.fine_tuning.jobs.cancel(first)
    wait_for_no_trainer(server)
    assert "Fine-tuning job started" not in messages(server, second)


def test_a_full_queue_refuses_a_job_and_takes_it_when_there_is_room(server, client):
    waiting = [create_job(server, "--hang") for _ in range(4)]
    file = client.files.create(file=("a.jsonl", rows()), purpose="fine-tune")
    body = {"model": BASE, "training_file": file.id}
    with server.http() as http:
        refused = http.post("/fine_tuning/jobs", json=body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        assert refused.headers["x-should-retry"] == "false"
        (limits,) = http.get("/fine_tuning/model_limits").json()["data"]
        assert (limits["id"], limits["curr_pending_jobs"], limits["max_pending_jobs"]) == (BASE, 4, 4)
        assert limits["jobs_so_far_today"] >= 4
        client.fine_tuning.jobs.cancel(waiting[-1])
        assert http.post("/fine_tuning/jobs", json=body).status_code == 200


def test_a_job_keeps_its_rows_when_the_file_is_deleted_under_it(server, client):
    job_id = create_job(server, "--die-at 6")
    client.files.delete(client.fine_tuning.jobs.retrieve(job_id).training_file)
    assert wait_for_status(client, job_id, "succeeded", "failed").status == "succeeded"


def test_what_only_a_job_that_goes_on_needs_is_gone_when_it_has_ended(server, client):
    job_dirs = [
        server.state_dir / "jobs" / create_job(server, trainer)
        for trainer in ("", "--die-at 3 --die-times 9")
    ]
    job_dirs.append(server.state_dir / "jobs" / create_job(server, "--step-seconds 0.3"))
    wait_for_steps(server, job_dirs[-1].name, 3)
    assert (job_dirs[-1] / "checkpoints" / "step-2").exists()
    client.fine_tuning.jobs.cancel(job_dirs[-1].name)
    wait_for_no_trainer(server)
    deadline = time.monotonic() + 5
    while any(
        (job_dir / name).exists() for job_dir in job_dirs for name in ("training.jsonl", "checkpoints")
    ):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_job_says_when_it_will_be_done(server, client):
    job_id = create_job(server, "--step-seconds 0.3")
    wait_for_steps(server, job_id, 3)
    assert time.time() < client.fine_tuning.jobs.retrieve(job_id).estimated_finish < time.time() + 10
    client.fine_tuning.jobs.cancel(job_id)
    assert client.fine_tuning.jobs.retrieve(job_id).estimated_finish is None


def test_the_last_three_checkpoints_are_models_and_can_be_deleted(server, client):
    job = wait_for_status(client, create_job(server), "succeeded")
    checkpoints = client.fine_tuning.jobs.checkpoints
    kept = checkpoints.list(job.id).data
    assert [checkpoint.step_number for checkpoint in kept] == [8, 6, 4]
    with server.http() as http:
        shown = http.get(f"/fine_tuning/jobs/{job.id}/checkpoints", params={"limit": 2}).json()
    check_schema("ListFineTuningJobCheckpointsResponse", shown)
    assert (shown["has_more"], shown["first_id"], shown["last_id"]) == (True, kept[0].id, kept[1].id)
    assert [each.id for each in checkpoints.list(job.id, limit=1)] == [each.id for each in kept]
    names = [checkpoint.fine_tuned_model_checkpoint for checkpoint in kept]
    assert names == [f"{job.fine_tuned_model}:ckpt-step-{step}" for step in (8, 6, 4)]
    assert {model.id for model in client.models.list()} >= {*names, job.fine_tuned_model}
    epochs = server.state_dir / "jobs" / job.id / "epochs"
    assert sorted(path.name for path in epochs.iterdir()) == ["step-4", "step-6", "step-8"]
    assert client.models.delete(names[0]).deleted
    assert [checkpoint.step_number for checkpoint in checkpoints.list(job.id).data] == [6, 4]
    assert sorted(path.name for path in epochs.iterdir()) == ["step-4", "step-6"]
    assert client.models.retrieve(job.fine_tuned_model).id == job.fine_tuned_model


def test_a_cancelled_job_keeps_the_checkpoints_it_had(server, client):
    job_id = create_job(server, "--step-seconds 0.2")
    wait_for_steps(server, job_id, 5)
    client.fine_tuning.jobs.cancel(job_id)
    wait_for_no_trainer(server)
    kept = [each.step_number for each in client.fine_tuning.jobs.checkpoints.list(job_id).data]
    assert kept[-2:] == [4, 2]
    told = [message for message in messages(server, job_id) if message.startswith("Checkpoint created")]
    assert told[0].startswith("Checkpoint created at step 2 with Snapshot ID: ft:smollm2")
    assert len(told) == len(kept)


def test_a_stopped_server_ends_a_trainer_that_ignores_requests_to_end(tmp_path):
    server = ServerProcess(tmp_path / "server", timing={"checkpoint_grace_seconds": 0.3})
    try:
        server.start()
        create_job(server, "--hang --ignore-sigterm")
        wait_for_trainer(server)
        assert server.stop() == 0
        assert server.trainers() == []
    finally:
        server.close()


def test_a_trainer_that_cannot_be_started_fails_the_job(tmp_path):
    server = ServerProcess(tmp_path / "server", trainer_command=["/nonexistent/trainer"])
    try:
        server.start()
        with server.client() as client:
            job = wait_for_status(client, create_job(server), "failed")
        assert job.error.code == "training_process_killed"
        assert "could not be started" in job.error.message
    finally:
        server.close()


def test_several_jobs_may_train_at_a_time(tmp_path):
    server = ServerProcess(tmp_path / "server", max_concurrent_jobs=2, trainer_command=[*TRAINER, "--hang"])
    try:
        server.start()
        job_ids = [create_job(server) for _ in range(3)]
        with server.client() as client:
            for job_id in job_ids[:2]:
                wait_for_status(client, job_id, "running")
            assert client.fine_tuning.jobs.retrieve(job_ids[2]).status in {"validating_files", "queued"}
    finally:
        server.close()
