"""What a training leaves: a job that has succeeded, its events, its result file, a model."""

import base64
import csv
import io

from tests.conformance.driver import items

METRICS = {"step", "train_loss", "train_mean_token_accuracy"}
COLUMNS = ["step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy"]


async def test_a_job_that_has_succeeded_says_what_came_of_it(client, trained, host):
    job = await client.fine_tuning.jobs.retrieve(trained.id)
    assert job.status == "succeeded"
    assert not (job.error and job.error.code)
    assert job.fine_tuned_model.startswith(f"ft:{host.model}:")
    assert ":kit:" in job.fine_tuned_model
    assert job.trained_tokens > 0
    assert job.finished_at >= job.created_at
    assert (job.seed, job.model) == (7, host.model)
    assert (job.hyperparameters.n_epochs, job.hyperparameters.batch_size) == (4, 4)
    assert isinstance(job.hyperparameters.learning_rate_multiplier, int | float)
    assert job.estimated_finish is None


async def test_events_are_listed_newest_first_page_by_page(client, trained):
    events = client.fine_tuning.jobs.list_events
    whole = await items(await events(trained.id, limit=100))
    dates = [event.created_at for event in whole]
    assert dates == sorted(dates, reverse=True)
    assert len({event.id for event in whole}) == len(whole) > 3
    assert "successfully completed" in whole[0].message
    assert whole[-1].message == f"Created fine-tuning job: {trained.id}"
    paged = await items(await events(trained.id, limit=3))
    assert [event.id for event in paged] == [event.id for event in whole]
    behind = await events(trained.id, after=whole[1].id, limit=1)
    assert behind.data[0].id == whole[2].id
    assert behind.has_more


async def test_every_step_is_told_with_its_metrics(client, trained):
    told = await items(await client.fine_tuning.jobs.list_events(trained.id, limit=100))
    metrics = [event.data for event in told if event.type == "metrics"][::-1]
    steps = [data["step"] for data in metrics]
    assert steps == sorted(set(steps))
    assert steps[-1] == metrics[-1]["total_steps"]
    for data in metrics:
        assert data.keys() >= METRICS
        assert data["train_loss"] > 0
        assert 0 <= data["train_mean_token_accuracy"] <= 1
    validated = [data for data in metrics if "full_valid_loss" in data or "valid_loss" in data]
    assert validated, "the validation file has left no trace"
    assert any("full_valid_mean_token_accuracy" in data for data in validated)


async def test_the_result_file_is_a_table_of_every_step(client, trained):
    (file_id,) = trained.result_files
    assert (await client.files.retrieve(file_id)).purpose == "fine-tune-results"
    listed = await items(await client.files.list(purpose="fine-tune-results"))
    assert file_id in [file.id for file in listed]
    table = list(csv.DictReader(io.StringIO(_plain((await client.files.content(file_id)).content))))
    assert list(table[0]) == COLUMNS
    told = await items(await client.fine_tuning.jobs.list_events(trained.id, limit=100))
    num_steps = next(event.data["total_steps"] for event in told if event.type == "metrics")
    assert [int(row["step"]) for row in table] == list(range(1, num_steps + 1))
    assert all(float(row["train_loss"]) > 0 for row in table)
    assert any(row["valid_loss"] for row in table)


async def test_a_tuned_model_is_listed_and_has_no_end(client, trained):
    listed = await items(await client.models.list(), at_most=10_000)
    assert trained.fine_tuned_model in [model.id for model in listed]
    model = await client.models.retrieve(trained.fine_tuned_model)
    assert (model.id, model.shutdown_date) == (trained.fine_tuned_model, None)
    assert "shutdown_date" in model.model_fields_set
    assert model.created >= trained.created_at


async def test_a_base_is_a_model_too(client, host):
    assert (await client.models.retrieve(host.model)).id == host.model


def _plain(content: bytes) -> str:
    """The table; OpenAI's own comes in base64."""
    return (content if content.startswith(b"step,") else base64.b64decode(content)).decode()
