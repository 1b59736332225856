"""Checkpoints: one an epoch, the last three kept, each a model that answers."""

import pytest

from tests.conformance.driver import create_job, items, refused

NUM_KEPT = 3


@pytest.fixture
async def checkpoints(client, host, trained):
    """Those of the kit's one training, which had four epochs, newest first."""
    host.needs("checkpoints")
    found = await items(await client.fine_tuning.jobs.checkpoints.list(trained.id))
    assert found, "the job has left no checkpoint"
    return found


async def test_the_last_three_epochs_have_left_a_checkpoint_each_newest_first(client, trained, checkpoints):
    assert len(checkpoints) == NUM_KEPT
    steps = [checkpoint.step_number for checkpoint in checkpoints]
    assert steps == sorted(set(steps), reverse=True)
    told = await items(await client.fine_tuning.jobs.list_events(trained.id, limit=100))
    num_steps = next(event.data["total_steps"] for event in told if event.type == "metrics")
    an_epoch = num_steps // trained.hyperparameters.n_epochs
    assert steps == [num_steps - an_epoch * back for back in range(NUM_KEPT)]


async def test_a_checkpoint_says_whose_it_is_and_how_good(trained, checkpoints):
    for checkpoint in checkpoints:
        assert checkpoint.id.startswith("ftckpt_")
        assert checkpoint.fine_tuning_job_id == trained.id
        assert trained.created_at <= checkpoint.created_at <= trained.finished_at
        name = checkpoint.fine_tuned_model_checkpoint
        assert name.startswith(f"ft:{trained.model}:")
        assert name.endswith(f":ckpt-step-{checkpoint.step_number}")
        metrics = checkpoint.metrics.to_dict()
        assert metrics["step"] == checkpoint.step_number
        assert metrics["train_loss"] > 0
        assert metrics["full_valid_loss"] > 0
        assert 0 <= metrics["full_valid_mean_token_accuracy"] <= 1
    assert len({checkpoint.id for checkpoint in checkpoints}) == NUM_KEPT


async def test_checkpoints_are_listed_page_by_page(client, trained, checkpoints):
    paged = await items(await client.fine_tuning.jobs.checkpoints.list(trained.id, limit=2))
    assert [checkpoint.id for checkpoint in paged] == [checkpoint.id for checkpoint in checkpoints]
    behind = await client.fine_tuning.jobs.checkpoints.list(trained.id, after=checkpoints[0].id, limit=1)
    assert [checkpoint.id for checkpoint in behind.data] == [checkpoints[1].id]
    assert behind.has_more


async def test_each_checkpoint_answers_as_a_model(client, host, checkpoints):
    host.needs("chat")
    for checkpoint in checkpoints:
        name = checkpoint.fine_tuned_model_checkpoint
        answer = await client.chat.completions.create(
            model=name, messages=[{"role": "user", "content": "Say 1."}], max_tokens=4
        )
        assert answer.model == name
        assert answer.usage.completion_tokens > 0


async def test_a_checkpoint_can_be_looked_up_as_a_model(client, checkpoints):
    name = checkpoints[-1].fine_tuned_model_checkpoint
    assert (await client.models.retrieve(name)).id == name


async def test_a_job_that_has_not_trained_has_no_checkpoint(client, host):
    host.needs("checkpoints")
    job = await create_job(client, host)
    assert (await client.fine_tuning.jobs.checkpoints.list(job.id)).data == []


async def test_a_job_that_does_not_exist_has_none(client, host):
    host.needs("checkpoints")
    await refused(client.fine_tuning.jobs.checkpoints.list("ftjob-000000000000000000000000"), 404)
