"""The stock openai client drives a real server: files, jobs, events and models, as OpenAI's schemas say."""

import json
from pathlib import Path

import openai
import pytest

from tests.openai_schemas import check_schema
from tests.server_process import BASE, ServerProcess, rows, wait_for_status
from tests.tiny_base import wheel_gguf


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    process = ServerProcess(tmp_path_factory.mktemp("protocol") / "server")
    yield process.start()
    process.close()


@pytest.fixture
def client(server):
    with server.client() as client:
        yield client


@pytest.fixture
def http(server):
    with server.http() as client:
        yield client


def upload(client: openai.OpenAI, content: bytes | None = None) -> str:
    return client.files.create(file=("train.jsonl", content or rows()), purpose="fine-tune").id


def create_job(client: openai.OpenAI, **wanted):
    return client.fine_tuning.jobs.create(model=BASE, training_file=upload(client), **wanted)


def test_a_file_goes_in_and_comes_out_whole(client, http):
    content = rows(20)
    file = client.files.create(file=("my rows.jsonl", content), purpose="fine-tune")
    assert (file.bytes, file.filename, file.purpose) == (len(content), "my rows.jsonl", "fine-tune")
    assert client.files.content(file.id).read() == content
    check_schema("OpenAIFile", http.get(f"/files/{file.id}").json())
    assert file.id in [each.id for each in client.files.list(purpose="fine-tune")]
    deleted = http.delete(f"/files/{file.id}").json()
    check_schema("DeleteFileResponse", deleted)
    with pytest.raises(openai.NotFoundError, match=f"No such File object: {file.id}"):
        client.files.retrieve(file.id)


def test_files_are_listed_page_by_page_in_both_orders(client, http):
    ids = [upload(client) for _ in range(3)]
    newest = [file.id for file in client.files.list(limit=2)][:3]
    assert newest == ids[::-1]
    after = http.get("/files", params={"order": "asc", "after": ids[0], "limit": 1}).json()
    check_schema("ListFilesResponse", after)
    assert [file["id"] for file in after["data"]] == [ids[1]]
    assert (after["has_more"], after["first_id"], after["last_id"]) == (True, ids[1], ids[1])
    empty = http.get("/files", params={"purpose": "batch"}).json()
    check_schema("ListFilesResponse", empty)
    assert empty["data"] == []


def test_a_file_that_is_to_expire_says_when(client):
    expires_after = {"anchor": "created_at", "seconds": 3600}
    file = client.files.create(file=("a.jsonl", rows()), purpose="fine-tune", expires_after=expires_after)
    assert file.expires_at == file.created_at + 3600
    with pytest.raises(openai.BadRequestError, match="expires_after"):
        client.files.create(
            file=("a.jsonl", rows()), purpose="fine-tune", expires_after=expires_after | {"seconds": 5}
        )


@pytest.mark.parametrize(
    ("content", "line"),
    [(b'{"messages": []}\nnot json\n', 2), (b"[1]\n", 1), (b'{"a": 1}\n\n{"a": 1}\n', 2), (b"\xff\n", 1)],
)
def test_an_upload_that_is_no_json_lines_is_refused_with_its_line(client, content, line):
    with pytest.raises(openai.BadRequestError, match=f"Line {line} is not a dictionary") as caught:
        upload(client, content)
    assert "Expected file to have JSONL format" in str(caught.value)


def test_an_upload_of_another_purpose_is_refused(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.files.create(file=("a.jsonl", rows()), purpose="batch")
    assert (caught.value.param, caught.value.code) == ("purpose", "invalid_value")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b""),
        ("multipart/form-data; boundary=x", b"no form"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\ncut o',
        ),
    ],
)
def test_what_is_no_form_is_refused(http, content_type, body, server):
    answer = http.post("/files", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == 400
    check_schema("ErrorResponse", answer.json())
    assert answer.json()["error"]["code"] == "invalid_form"
    assert list((server.state_dir / "incoming").iterdir()) == []


def test_a_job_goes_through_all_states_and_ends_as_a_model(client, http):
    job = create_job(
        client,
        validation_file=upload(client, rows(2)),
        suffix="My suffix!",
        seed=7,
        metadata={"who": "me"},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}},
    )
    assert (job.status, job.error, job.fine_tuned_model, job.estimated_finish) == (
        "validating_files",
        None,
        None,
        None,
    )
    done = wait_for_status(client, job.id, "succeeded", "failed")
    check_schema("FineTuningJob", http.get(f"/fine_tuning/jobs/{job.id}").json())
    assert done.status == "succeeded"
    assert done.fine_tuned_model.startswith(f"ft:{BASE}:local:My-suffix:")
    assert (done.trained_tokens, done.seed, done.metadata) == (100, 7, {"who": "me"})
    assert done.hyperparameters.to_dict() == {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 1.0}
    assert done.finished_at >= done.created_at
    events = [event.message for event in client.fine_tuning.jobs.list_events(job.id, limit=3)][::-1]
    assert events[:5] == [
        f"Created fine-tuning job: {job.id}",
        f"Validating training file: {job.training_file}",
        f"Validating validation file: {job.validation_file}",
        "Files validated, moving job to queued state",
        "Fine-tuning job started",
    ]
    told = [event for event in events if event.startswith("Checkpoint")]
    assert told == [
        f"Checkpoint created at step {step} with Snapshot ID: {done.fine_tuned_model}:ckpt-step-{step}"
        for step in (2, 4, 6, 8)
    ]
    assert [event for event in events[6:] if event not in told] == [
        *[f"Step {step}/8: training loss={1 / step:.2f}" for step in range(1, 9)],
        "New fine-tuned model created",
        "The job has successfully completed",
    ]
    page = http.get(f"/fine_tuning/jobs/{job.id}/events", params={"limit": 5}).json()
    check_schema("ListFineTuningJobEventsResponse", page)
    assert page["has_more"]
    assert page["data"][3]["data"]["train_loss"] == 0.125


def test_a_result_file_is_a_table_of_every_step(client):
    job = wait_for_status(client, create_job(client).id, "succeeded")
    (file_id,) = job.result_files
    assert client.files.retrieve(file_id).purpose == "fine-tune-results"
    lines = client.files.content(file_id).read().decode().splitlines()
    assert lines[0] == "step,train_loss,train_mean_token_accuracy"
    assert len(lines) == 9


def test_a_tuned_model_is_listed_and_can_be_deleted_and_its_base_cannot(client, http, server):
    job = wait_for_status(client, create_job(client).id, "succeeded")
    listed = http.get("/models").json()
    check_schema("ListModelsResponse", listed)
    assert {BASE, job.fine_tuned_model} <= {model["id"] for model in listed["data"]}
    model = http.get(f"/models/{job.fine_tuned_model}").json()
    check_schema("Model", model)
    assert (model["parent"], model["job_id"], model["shutdown_date"]) == (BASE, job.id, None)
    base = client.models.retrieve(BASE).to_dict()
    assert base["weights_sha256"]
    assert base["max_model_len"] == model["max_model_len"] > 0
    adapter = server.state_dir / "jobs" / job.id / "adapter.gguf"
    assert adapter.exists()
    assert client.models.delete(job.fine_tuned_model).deleted
    assert not adapter.exists()
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve(job.fine_tuned_model)
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.PermissionDeniedError):
        client.models.delete(BASE)


def test_a_base_that_is_named_by_its_path_is_known_before_its_first_job(client):
    path = str(wheel_gguf())
    base = client.models.retrieve(path).to_dict()
    assert base["id"] == path
    assert base["weights_sha256"] == client.models.retrieve(BASE).to_dict()["weights_sha256"]
    with pytest.raises(openai.NotFoundError, match="is not available for fine-tuning or does not exist"):
        client.models.retrieve(path + ".none")


def test_jobs_are_listed_newest_first_and_by_metadata(client, http):
    ids = [create_job(client, metadata={"key": f"k{index}", "all": "yes"}).id for index in range(3)]
    found = client.fine_tuning.jobs.list(limit=1, metadata={"all": "yes"})
    assert [job.id for job in found] == ids[::-1]
    assert [job.id for job in client.fine_tuning.jobs.list(metadata={"all": "yes", "key": "k1"})] == [ids[1]]
    assert list(client.fine_tuning.jobs.list(metadata={"all": "no"})) == []
    plain = create_job(client)
    answer = http.get("/fine_tuning/jobs", params={"metadata": "null"}).json()
    check_schema("ListPaginatedFineTuningJobsResponse", answer)
    assert answer["data"][0]["id"] == plain.id
    assert not {job["id"] for job in answer["data"]} & set(ids)


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (rows(7), "invalid_n_examples", "Training file has 7 example(s), but must have at least 10 examples"),
        (
            rows(9) + b'{"prompt": "a"}\n',
            "invalid_training_file",
            (
                "The job failed due to an invalid training file. "
                "Invalid file format. Example 10 is missing key 'messages'."
            ),
        ),
        (
            rows(2) + b'{"messages": [], "weight": 1}\n' + rows(9),
            "invalid_file_format",
            (
                "The job failed due to a file format error in the training file. "
                'Invalid file format. Example 3 contains an extra "weight".'
            ),
        ),
    ],
)
def test_a_file_that_breaks_the_rules_fails_the_job_with_the_examples_number(client, content, code, message):
    job = client.fine_tuning.jobs.create(model=BASE, training_file=upload(client, content))
    failed = wait_for_status(client, job.id, "failed")
    assert failed.error.to_dict() == {"code": code, "message": message, "param": "training_file"}
    assert client.fine_tuning.jobs.list_events(job.id, limit=1).data[0].message == message


def test_the_same_idempotency_key_gives_the_same_job(client):
    file_id = upload(client)
    headers = {"Idempotency-Key": "once"}

    def create(**more):
        return client.fine_tuning.jobs.create(
            model=BASE, training_file=file_id, extra_headers=headers, **more
        )

    assert create().id == create().id
    with pytest.raises(openai.BadRequestError) as caught:
        create(seed=1)
    assert caught.value.code == "idempotency_key_reused"


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"model": "gpt-4.1"}, "model", "model_not_available"),
        ({"model": ...}, "model", "missing_required_parameter"),
        ({"training_file": "file-000000000000000000000000"}, "training_file", "file_not_found"),
        ({"training_file": "../../api_key"}, "training_file", "file_not_found"),
        ({"validation_file": "file-x"}, "validation_file", "file_not_found"),
        ({"suffix": "x" * 65}, "suffix", "invalid_value"),
        ({"seed": -1}, "seed", "invalid_value"),
        ({"seed": "1"}, "seed", "invalid_type"),
        ({"trainingType": "x"}, "trainingType", "unknown_parameter"),
        ({"hyperparameters": {"n_epochs": 51}}, "hyperparameters.n_epochs", "invalid_value"),
        (
            {"hyperparameters": {"learning_rate_multiplier": 0}},
            "hyperparameters.learning_rate_multiplier",
            None,
        ),
        ({"metadata": {str(number): "" for number in range(17)}}, "metadata", "invalid_value"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k", "invalid_value"),
        ({"method": {"type": "dpo", "dpo": {}}}, "method.type", "unsupported_method"),
        ({"method": {"type": "supervised"}, "hyperparameters": {}}, "hyperparameters", "invalid_value"),
        ({"integrations": [{"type": "wandb", "wandb": {"project": "p"}}]}, "integrations", None),
    ],
)
def test_a_bad_job_is_refused_with_the_parameter_that_is_to_blame(client, http, change, param, code):
    body = {"model": BASE, "training_file": upload(client)} | change
    answer = http.post("/fine_tuning/jobs", json={k: v for k, v in body.items() if v is not ...})
    assert answer.status_code == 400, answer.text
    check_schema("ErrorResponse", answer.json())
    error = answer.json()["error"]
    assert error["param"] == param
    assert code is None or error["code"] == code
    assert answer.headers["x-should-retry"] == "false"


def test_a_body_that_is_no_json_is_refused(http):
    answer = http.post("/fine_tuning/jobs", content=b"{", headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert "could not parse the JSON body" in answer.json()["error"]["message"]


@pytest.mark.parametrize("key", ["", "sk-local-wrong", "é"])
def test_without_the_key_nothing_opens_but_the_health_check(server, key):
    with server.http() as http:
        headers = {"Authorization": f"Bearer {key}".encode()} if key else {"Authorization": ""}
        for path in ("/models", "/files", "/fine_tuning/jobs", "/nothing"):
            answer = http.get(path, headers=headers)
            assert answer.status_code == 401
            check_schema("ErrorResponse", answer.json())
            assert answer.json()["error"]["code"] == "invalid_api_key"
        health = http.get(server.base_url.removesuffix("/v1") + "/healthz", headers=headers)
        assert health.json()["status"] == "ok"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/files/file-000000000000000000000000", 404),
        ("GET", "/files/..%2F..%2Fapi_key/content", 404),
        ("GET", "/files/%2e%2e%2fapi_key", 404),
        ("GET", "/fine_tuning/jobs/ftjob-x", 404),
        ("GET", "/fine_tuning/jobs/ftjob-x/events", 404),
        ("POST", "/fine_tuning/jobs/ftjob-x/cancel", 404),
        ("GET", "/models/none", 404),
        ("DELETE", "/models/%2Fetc%2Fpasswd", 404),
        ("PUT", "/files", 405),
        ("DELETE", "/fine_tuning/jobs", 405),
        ("GET", "/files?limit=0", 400),
        ("GET", "/files?order=up", 400),
        ("GET", "/files?after=file-x", 400),
        ("GET", "/fine_tuning/jobs?limit=x", 400),
        ("GET", "/fine_tuning/jobs?after=ftjob-x", 404),
    ],
)
def test_every_error_has_the_envelope(http, method, path, status):
    answer = http.request(method, path)
    assert answer.status_code == status, answer.text
    check_schema("ErrorResponse", answer.json())
    assert answer.headers["x-request-id"].startswith("req-")


def test_a_body_over_the_bound_is_refused_announced_or_not(http):
    body = b'{"model": "' + b"x" * (17 * 1024 * 1024) + b'"}'
    headers = {"Content-Type": "application/json"}
    assert http.post("/fine_tuning/jobs", content=body, headers=headers).status_code == 413
    answer = http.post("/fine_tuning/jobs", content=iter([body]), headers=headers)
    assert answer.status_code == 413
    check_schema("ErrorResponse", answer.json())


async def test_the_asynchronous_client_drives_the_same_protocol(server):
    async with server.async_client() as client:
        file = await client.files.create(file=("a.jsonl", rows()), purpose="fine-tune")
        job = await client.fine_tuning.jobs.create(model=BASE, training_file=file.id)
        while job.status not in {"succeeded", "failed"}:
            job = await client.fine_tuning.jobs.retrieve(job.id)
        assert job.status == "succeeded"
        events = [event.message async for event in client.fine_tuning.jobs.list_events(job.id)]
        assert events[0] == "The job has successfully completed"
        assert (await client.fine_tuning.jobs.list(limit=1)).data[0].id == job.id
        assert job.fine_tuned_model in [model.id async for model in client.models.list()]
        assert (await client.models.delete(job.fine_tuned_model)).deleted
        assert (await client.files.delete(file.id)).deleted


def test_the_log_is_one_line_a_request_and_holds_no_row(client, server):
    secret = "xyzzy-never-in-a-log"
    bad = rows() + json.dumps({"messages": [{"role": "user", "content": secret}]}).encode() + b"\n"
    job = client.fine_tuning.jobs.create(model=BASE, training_file=upload(client, bad))
    wait_for_status(client, job.id, "failed")
    log = server.log.read_text()
    assert secret not in log
    assert server.key not in log
    requests = [line for line in log.splitlines() if " request id=" in line]
    assert any(f"path=/v1/fine_tuning/jobs/{job.id} status=200" in line for line in requests)


def test_the_state_directory_is_its_owners_alone(server):
    for path in [server.state_dir, *server.state_dir.rglob("*")]:
        assert Path(path).stat().st_mode & 0o077 == 0, path
