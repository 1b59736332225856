"""What is refused at once, and what fails a job: status, code and parameter."""

import json

import pytest

from tests.conformance.driver import create_job, refused, rows, upload, wait_for_status


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": ...}, "model"),
        ({"training_file": ...}, "training_file"),
        ({"training_file": "file-000000000000000000000000"}, "training_file"),
        ({"validation_file": "file-000000000000000000000000"}, "validation_file"),
        ({"suffix": "x" * 65}, "suffix"),
        ({"suffix": ""}, "suffix"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**31}, "seed"),
        ({"hyperparameters": {"n_epochs": 51}}, "n_epochs"),
        ({"hyperparameters": {"batch_size": 257}}, "batch_size"),
        ({"hyperparameters": {"learning_rate_multiplier": 0}}, "learning_rate_multiplier"),
        ({"method": {"type": "nonsense"}}, "method"),
        ({"metadata": {str(number): "" for number in range(17)}}, "metadata"),
        ({"metadata": {"k" * 65: ""}}, "metadata"),
        ({"metadata": {"k": "v" * 513}}, "metadata"),
    ],
)
async def test_a_bad_job_is_refused_with_the_parameter_that_is_to_blame(client, host, change, param):
    asked = {"model": host.model, "training_file": await upload(client)} | change
    body = {name: value for name, value in asked.items() if value is not ...}
    error = await refused(client.post("/fine_tuning/jobs", cast_to=object, body=body), 400)
    assert error.type == "invalid_request_error"
    assert param in error.param


async def test_a_model_that_is_not_available_is_refused_with_its_code(client):
    asked = client.fine_tuning.jobs.create(model="no-such-model", training_file=await upload(client))
    error = await refused(asked, 400)
    assert (error.code, error.param) == ("model_not_available", "model")
    assert "not available for fine-tuning or does not exist" in error.message


async def test_a_body_that_is_no_json_is_refused(client):
    headers = {"Content-Type": "application/json"}
    asked = client.post("/fine_tuning/jobs", cast_to=object, content=b"{", options={"headers": headers})
    assert "could not parse the JSON body" in (await refused(asked, 400)).message


@pytest.mark.parametrize(
    ("path", "param"),
    [("/files?limit=0", "limit"), ("/files?order=up", "order"), ("/fine_tuning/jobs?limit=x", "limit")],
)
async def test_a_bad_query_is_refused_with_the_parameter_that_is_to_blame(client, path, param):
    assert (await refused(client.get(path, cast_to=object), 400)).param == param


async def test_what_does_not_exist_is_not_found(client):
    assert (await refused(client.get("/nothing", cast_to=object), 404)).type == "invalid_request_error"
    error = await refused(client.models.retrieve("no-such-model"), 404)
    assert (error.code, error.param) == ("model_not_found", "model")


@pytest.mark.parametrize("path", ["/files", "/fine_tuning/jobs", "/models"])
async def test_a_wrong_key_opens_nothing(client, path):
    error = await refused(client.with_options(api_key="sk-wrong").get(path, cast_to=object), 401)
    assert error.code == "invalid_api_key"


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (rows(7), "invalid_n_examples", "Training file has 7 example(s), but must have at least 10 examples"),
        (
            rows(9) + b'{"prompt": "a"}\n',
            "invalid_training_file",
            (
                "The job failed due to an invalid training file. "
                "Invalid file format. Example 10 is missing key 'messages'"
            ),
        ),
        (
            rows(2) + json.dumps({**json.loads(rows(1)), "weight": 1}).encode() + b"\n" + rows(9),
            "invalid_file_format",
            (
                "The job failed due to a file format error in the training file. "
                'Invalid file format. Example 3 contains an extra "weight".'
            ),
        ),
        (
            rows(3) + b'{"messages": [{"role": "user", "content": "a"}, {"content": "b"}]}\n' + rows(9),
            "invalid_training_file",
            "Example 4, message 2 Discriminator 'role' is missing in value",
        ),
        (
            rows(11).replace(b"Say 5.", b"Say <|fim_suffix|>."),
            "invalid_file_format",
            "Example 6 message contains an invalid token: <|fim_suffix|>.",
        ),
    ],
    ids=["too few", "no messages", "extra key", "no role", "special token"],
)
async def test_a_file_that_breaks_the_rules_fails_the_job(client, host, content, code, message):
    job = await create_job(client, host, content)
    failed = await wait_for_status(client, job.id, "failed")
    assert (failed.error.code, failed.error.param) == (code, "training_file")
    assert message in failed.error.message
    assert (failed.fine_tuned_model, failed.result_files) == (None, [])
    newest = (await client.fine_tuning.jobs.list_events(job.id, limit=1)).data[0]
    assert newest.level == "error"


async def test_a_bad_validation_file_fails_the_job(client, host):
    bad = await upload(client, rows(1) + b'{"prompt": "a"}\n')
    job = await create_job(client, host, validation_file=bad)
    failed = await wait_for_status(client, job.id, "failed")
    assert (failed.error.code, failed.error.param) == ("invalid_validation_file", "validation_file")
    assert "Example 2 is missing key 'messages'" in failed.error.message
