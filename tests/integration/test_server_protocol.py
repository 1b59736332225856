"""What the protocol leaves to a server, over real HTTP: its words, its codes, its limits, its extra fields.

What any server of the protocol must do is in `tests/conformance`.
"""

import json
import time
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


def test_a_page_of_files_names_its_first_and_last(client, http):
    ids = [upload(client) for _ in range(3)]
    after = http.get("/files", params={"order": "asc", "after": ids[0], "limit": 1}).json()
    assert [file["id"] for file in after["data"]] == [ids[1]]
    assert (after["has_more"], after["first_id"], after["last_id"]) == (True, ids[1], ids[1])
    empty = http.get("/files", params={"purpose": "batch"}).json()
    assert (empty["data"], empty["first_id"], empty["last_id"]) == ([], "", "")


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
    assert page["has_more"]
    assert page["data"][3]["data"]["train_loss"] == 0.125


def test_a_tuned_model_tells_its_origin_and_leaves_with_its_adapter_and_its_base_stays(client, http, server):
    job = wait_for_status(client, create_job(client).id, "succeeded")
    model = http.get(f"/models/{job.fine_tuned_model}").json()
    assert (model["parent"], model["job_id"]) == (BASE, job.id)
    base = client.models.retrieve(BASE).to_dict()
    assert base["weights_sha256"]
    assert base["max_model_len"] == model["max_model_len"] > 0
    adapter = server.state_dir / "jobs" / job.id / "adapter.gguf"
    assert adapter.exists()
    assert client.models.delete(job.fine_tuned_model).deleted
    assert not adapter.exists()
    with pytest.raises(openai.PermissionDeniedError) as caught:
        client.models.delete(BASE)
    assert caught.value.code == "model_not_deletable"


def test_a_base_that_is_named_by_its_path_is_known_before_its_first_job(client):
    path = str(wheel_gguf())
    base = client.models.retrieve(path).to_dict()
    assert base["id"] == path
    assert base["weights_sha256"] == client.models.retrieve(BASE).to_dict()["weights_sha256"]
    with pytest.raises(openai.NotFoundError, match="is not available for fine-tuning or does not exist"):
        client.models.retrieve(path + ".none")


def test_an_idempotency_key_is_for_one_request_only(client):
    file_id, headers = upload(client), {"Idempotency-Key": "once"}
    client.fine_tuning.jobs.create(model=BASE, training_file=file_id, extra_headers=headers)
    with pytest.raises(openai.BadRequestError) as caught:
        client.fine_tuning.jobs.create(model=BASE, training_file=file_id, extra_headers=headers, seed=1)
    assert caught.value.code == "idempotency_key_reused"


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"model": ...}, "model", "missing_required_parameter"),
        ({"training_file": "file-000000000000000000000000"}, "training_file", "file_not_found"),
        ({"training_file": "../../api_key"}, "training_file", "file_not_found"),
        ({"suffix": "x" * 65}, "suffix", "invalid_value"),
        ({"seed": "1"}, "seed", "invalid_type"),
        ({"trainingType": "x"}, "trainingType", "unknown_parameter"),
        ({"hyperparameters": {"n_epochs": 51}}, "hyperparameters.n_epochs", "invalid_value"),
        ({"method": {"type": "dpo", "dpo": {}}}, "method.type", "unsupported_method"),
        ({"method": {"type": "supervised"}, "hyperparameters": {}}, "hyperparameters", "invalid_value"),
        (
            {"integrations": [{"type": "wandb", "wandb": {"project": "p"}}]},
            "integrations",
            "unsupported_parameter",
        ),
    ],
)
def test_a_bad_job_is_refused_with_the_parameter_and_a_code(client, http, change, param, code):
    body = {"model": BASE, "training_file": upload(client)} | change
    answer = http.post("/fine_tuning/jobs", json={k: v for k, v in body.items() if v is not ...})
    assert answer.status_code == 400, answer.text
    check_schema("ErrorResponse", answer.json())
    error = answer.json()["error"]
    assert (error["param"], error["code"]) == (param, code)
    assert answer.headers["x-should-retry"] == "false"


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
        ("GET", "/files/..%2F..%2Fapi_key/content", 404),
        ("GET", "/files/%2e%2e%2fapi_key", 404),
        ("DELETE", "/models/%2Fetc%2Fpasswd", 404),
        ("PUT", "/files", 405),
        ("DELETE", "/fine_tuning/jobs", 405),
        ("GET", "/files?after=file-x", 400),
        ("GET", "/fine_tuning/jobs?after=ftjob-x", 404),
    ],
)
def test_every_error_has_the_envelope(http, method, path, status):
    answer = http.request(method, path)
    assert answer.status_code == status, answer.text
    check_schema("ErrorResponse", answer.json())
    assert answer.headers["x-request-id"].startswith("req-")


def test_pages_start_behind_what_the_job_has(client, http):
    first, second = (
        client.fine_tuning.jobs.create(model=BASE, training_file=upload(client)).id for _ in "ab"
    )
    event = client.fine_tuning.jobs.list_events(first).data[0].id
    for path in (f"{second}/events?after={event}", f"{first}/checkpoints?after=ftckpt_x"):
        answer = http.get(f"/fine_tuning/jobs/{path}")
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "after")
        check_schema("ErrorResponse", answer.json())


def test_a_body_over_the_bound_is_refused_announced_or_not(http):
    body = b'{"model": "' + b"x" * (17 * 1024 * 1024) + b'"}'
    headers = {"Content-Type": "application/json"}
    assert http.post("/fine_tuning/jobs", content=body, headers=headers).status_code == 413
    answer = http.post("/fine_tuning/jobs", content=iter([body]), headers=headers)
    assert answer.status_code == 413
    check_schema("ErrorResponse", answer.json())


def test_the_log_is_one_line_a_request_and_holds_no_row(client, server):
    secret = "xyzzy-never-in-a-log"
    bad = rows() + json.dumps({"messages": [{"role": "user", "content": secret}]}).encode() + b"\n"
    job = client.fine_tuning.jobs.create(model=BASE, training_file=upload(client, bad))
    wait_for_status(client, job.id, "failed")
    # A request is logged behind its answer, so the next one may come first.
    wanted, deadline = f"path=/v1/fine_tuning/jobs/{job.id} status=200", time.monotonic() + 5
    while wanted not in (log := server.log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert all(" request id=" in line for line in log.splitlines() if wanted in line)
    assert secret not in log
    assert server.key not in log


def test_the_state_directory_is_its_owners_alone(server):
    for path in [server.state_dir, *server.state_dir.rglob("*")]:
        assert Path(path).stat().st_mode & 0o077 == 0, path
