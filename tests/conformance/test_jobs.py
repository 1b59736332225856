"""Jobs: created, listed, looked at, paused, and cancelled. None of these trains to its end."""

from itertools import pairwise
from secrets import token_hex

import pytest

from tests.conformance.driver import create_job, items, refused, rows, upload, wait_for_status

BEGINNING = {"validating_files", "queued", "running"}


async def test_a_job_is_what_was_asked_for(client, host):
    training, validation = await upload(client), await upload(client, rows(2))
    method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3, "batch_size": 2}}}
    job = await client.fine_tuning.jobs.create(
        model=host.model,
        training_file=training,
        validation_file=validation,
        method=method,
        suffix="asked",
        seed=11,
        metadata={"who": "me"},
    )
    assert job.status in BEGINNING
    assert (job.training_file, job.validation_file) == (training, validation)
    assert (job.model, job.seed, job.metadata) == (host.model, 11, {"who": "me"})
    assert job.method.type == "supervised"
    assert job.method.supervised.hyperparameters.n_epochs == 3
    assert (job.hyperparameters.n_epochs, job.hyperparameters.batch_size) == (3, 2)
    assert (job.fine_tuned_model, job.finished_at, job.result_files) == (None, None, [])
    assert not (job.error and job.error.code)
    shown = await client.fine_tuning.jobs.retrieve(job.id)
    assert (shown.id, shown.created_at) == (job.id, job.created_at)


async def test_legacy_hyperparameters_are_taken(client, host):
    job = await create_job(client, host, hyperparameters={"n_epochs": 2, "learning_rate_multiplier": 0.5})
    assert (job.hyperparameters.n_epochs, job.hyperparameters.learning_rate_multiplier) == (2, 0.5)


async def test_what_is_not_asked_for_is_chosen(client, host):
    job = await create_job(client, host)
    assert isinstance(job.seed, int)
    assert job.hyperparameters.n_epochs
    assert not job.metadata


async def test_jobs_are_listed_newest_first_page_by_page(client, host):
    made = [(await create_job(client, host)).id for _ in range(2)]
    whole = await items(await client.fine_tuning.jobs.list(limit=50), at_most=5)
    assert set(made) <= {job.id for job in whole}
    assert all(newer.created_at >= older.created_at for newer, older in pairwise(whole))
    one_by_one = await items(await client.fine_tuning.jobs.list(limit=1), at_most=len(whole))
    assert [job.id for job in one_by_one] == [job.id for job in whole]
    behind = await client.fine_tuning.jobs.list(after=whole[0].id, limit=1)
    assert behind.data[0].id == whole[1].id


async def test_jobs_are_found_by_their_metadata(client, host):
    host.needs("metadata_filter")
    token = token_hex(8)
    made = [(await create_job(client, host, metadata={"token": token, "n": str(n)})).id for n in range(2)]
    find = client.fine_tuning.jobs.list
    assert {job.id for job in await items(await find(metadata={"token": token}, limit=1))} == set(made)
    both = await items(await find(metadata={"token": token, "n": "1"}))
    assert [job.id for job in both] == [made[1]]
    assert await items(await find(metadata={"token": token, "n": "2"})) == []
    plain = (await create_job(client, host)).id
    without = await items(await find(extra_query={"metadata": "null"}), at_most=50)
    assert plain in [job.id for job in without]
    assert not any(job.metadata for job in without)


async def test_a_cancelled_job_stays_cancelled(client, host):
    job = await create_job(client, host)
    assert (await client.fine_tuning.jobs.cancel(job.id)).id == job.id
    done = await wait_for_status(client, job.id, "cancelled")
    assert done.fine_tuned_model is None
    told = await items(await client.fine_tuning.jobs.list_events(job.id))
    assert told[-1].created_at <= told[0].created_at


async def test_a_paused_job_waits_until_it_is_resumed(client, host):
    host.needs("pause")
    job = await create_job(client, host)
    assert (await client.fine_tuning.jobs.pause(job.id)).status in {"pausing", "paused"}
    await wait_for_status(client, job.id, "paused")
    assert (await client.fine_tuning.jobs.resume(job.id)).status in BEGINNING
    await client.fine_tuning.jobs.cancel(job.id)
    await wait_for_status(client, job.id, "cancelled")


async def test_the_same_idempotency_key_gives_the_same_job(client, host):
    host.needs("idempotency")
    wanted = {"model": host.model, "training_file": await upload(client)}
    headers = {"Idempotency-Key": token_hex(8)}
    first = await client.fine_tuning.jobs.create(**wanted, extra_headers=headers)
    again = await client.fine_tuning.jobs.create(**wanted, extra_headers=headers)
    assert again.id == first.id
    other = await client.fine_tuning.jobs.create(**wanted, extra_headers={"Idempotency-Key": token_hex(8)})
    assert other.id != first.id


async def test_the_limits_of_a_model_are_told(client, host):
    host.needs("model_limits")
    await create_job(client, host)
    answer = await client.get("/fine_tuning/model_limits", cast_to=object)
    (limits,) = [each for each in answer["data"] if each["id"] == host.model]
    assert limits["jobs_so_far_today"] >= limits["curr_pending_jobs"] > 0
    assert limits["max_pending_jobs"] >= limits["curr_pending_jobs"]


@pytest.mark.parametrize("call", ["retrieve", "cancel", "pause", "resume", "list_events"])
async def test_a_job_that_does_not_exist_is_not_found(client, host, call):
    if call in {"pause", "resume"}:
        host.needs("pause")
    await refused(getattr(client.fine_tuning.jobs, call)("ftjob-000000000000000000000000"), 404)
