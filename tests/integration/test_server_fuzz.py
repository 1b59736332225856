"""schemathesis reads the server's own OpenAPI document and asks what it can think of: no answer is a 500.

Every operation is asked by the book and against it, with the ids of real things half of the time, by a key
that opens and by one that does not; then the bodies with values that no client library would send, and the
life of files and jobs in any order. `FUZZ_EXAMPLES` says how often.
"""

import itertools
import json
import os
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, rule, run_state_machine_as_test
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from finetune_server.openapi import OPERATIONS
from tests.openai_schemas import check_schema
from tests.server_process import ServerProcess, rows, wait_for_status
from tests.tiny_base import write_tiny_base

NUM_EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES") or 12)
FUZZ = settings(
    max_examples=NUM_EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    derandomize="FUZZ_EXAMPLES" not in os.environ,
)
# What a schema cannot say, such as that a file must exist, may well be answered with an error; and what a
# query has besides the parameters is nobody's business.
EXCLUDED = {"POST": [positive_data_acceptance], "DELETE": [positive_data_acceptance]}
EXCLUDED["GET"] = [positive_data_acceptance, negative_data_rejection]
# Nothing can be wrong with a request that takes nothing.
ASKED = [
    (name, mode)
    for name in OPERATIONS
    for mode in GenerationMode
    if not (name == "GET /healthz" and mode.is_negative)
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    directory = tmp_path_factory.mktemp("fuzz")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        process = ServerProcess(directory / "server")
        yield process.start()
        process.close()


@pytest.fixture(scope="module")
def real(server, tmp_path_factory) -> dict[str, str]:
    """Things that are there, for requests to hit."""
    base = str(write_tiny_base(tmp_path_factory.mktemp("base") / "tiny.gguf"))
    with server.client() as client:
        file = client.files.create(file=("train.jsonl", rows()), purpose="fine-tune")
        job = client.fine_tuning.jobs.create(model=base, training_file=file.id)
        wait_for_status(client, job.id, "succeeded")
    return {"file_id": file.id, "training_file": file.id, "job_id": job.id, "model_id": base, "model": base}


@pytest.fixture(scope="module")
def document(server):
    with server.http() as http:
        told = http.get(server.base_url.removesuffix("/v1") + "/openapi.json").json()
    return schemathesis.openapi.from_dict(told)


def aimed(case: schemathesis.Case, real: dict[str, str]) -> schemathesis.Case:
    """The same request about things that are there; a chat is kept short."""
    for name in case.path_parameters or {}:
        case.path_parameters[name] = real[name]
    if isinstance(case.body, dict):
        for name in case.body.keys() & {"model", "training_file"}:
            case.body[name] = real[name]
        if case.operation.path.endswith("/chat/completions"):
            case.body["max_completion_tokens"] = 2
            case.body.pop("max_tokens", None)
    return case


def check_answer(response: Any, operation: schemathesis.APIOperation) -> None:
    assert response.status_code < 500, response.content
    assert str(response.status_code) in operation.definition.raw["responses"], response.content
    if response.status_code >= 400:
        check_schema("ErrorResponse", response.json())


@pytest.mark.parametrize(("name", "mode"), ASKED)
def test_whatever_is_asked_is_answered_as_the_document_says(server, real, document, name, mode):
    method, path = name.split(" ")
    load_all_checks()

    @FUZZ
    @given(case=document[path][method].as_strategy(generation_mode=mode), is_aimed=st.booleans())
    def ask(case, is_aimed):
        asked = aimed(case, real) if is_aimed else case
        root = server.base_url.removesuffix("/v1")
        response = asked.call(base_url=root, headers={"Authorization": f"Bearer {server.key}"}, timeout=60)
        check_answer(response, document[path][method])
        # What was wrong with it may be what was put right to aim it.
        excluded = {*EXCLUDED[method], *([negative_data_rejection] if is_aimed else [])}
        asked.validate_response(response, excluded_checks=list(excluded))

    ask()


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name != "GET /healthz"])
def test_whatever_is_asked_with_a_wrong_key_is_refused(server, real, document, name):
    method, path = name.split(" ")

    @settings(FUZZ, max_examples=max(NUM_EXAMPLES // 4, 1))
    @given(case=document[path][method].as_strategy(), key=st.text(st.characters(codec="ascii"), max_size=40))
    def ask(case, key):
        root = server.base_url.removesuffix("/v1")
        response = aimed(case, real).call(base_url=root, headers={"Authorization": f"Bearer {key!r}"})
        assert response.status_code == 401
        check_schema("ErrorResponse", response.json())

    ask()


HOSTILE = [
    *("null", "true", "0", "-1", "1e400", "NaN", "-Infinity", "1" + "0" * 400, "[]", "{}", '""', '[""]'),
    *("[" * 20_000, '{"a":' * 20_000, '{"a": 1, "a": [2]}', '[{"role": "user"}]', '[{"type": "function"}]'),
    *(r'"\ud800"', r'["\udfff"]', r'"\u0000"', r'{"\ud800": 1}', '{"a": NaN}', '[{"function": {"name": 1}}]'),
    *(
        '"' + "x" * 5000 + '"',
        '"/dev/zero"',
        '"../../api_key"',
        '"~no-such-user/x"',
        '"a/b"',
        '"ft:"',
        '"<|im_end|>"',
    ),
]
"""JSON, and what passes for it, that no client library writes."""


def bodies(real: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Bodies with every parameter, one of which is then replaced."""
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": True}}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    messages = [{"role": "user", "content": "a"}]
    job = dict.fromkeys(("validation_file", "hyperparameters", "method", "suffix", "seed", "metadata"))
    chat = dict.fromkeys(
        ("stop", "temperature", "top_p", "seed", "logit_bias", "n", "logprobs", "top_logprobs")
    )
    chat |= dict.fromkeys(("functions", "function_call", "stream", "stream_options", "metadata", "user"))
    chat |= {"tools": [tool], "tool_choice": "auto", "response_format": form, "max_tokens": 2}
    return {
        "/fine_tuning/jobs": job | {"model": real["model"], "training_file": real["training_file"]},
        "/chat/completions": chat | {"model": real["model"], "messages": messages},
        "/tokenize": {"model": real["model"], "messages": messages, "tools": [tool]},
    }


@pytest.mark.parametrize("path", ["/fine_tuning/jobs", "/chat/completions", "/tokenize"])
def test_values_that_no_client_library_sends_are_answered(server, real, path):
    headers = {"Content-Type": "application/json"}
    whole = bodies(real)[path]
    with server.http() as http:
        for name, value in itertools.product(whole, HOSTILE):
            content = json.dumps(whole | {name: "HOSTILE"}).replace('"HOSTILE"', value).encode()
            answer = http.post(path, content=content, headers=headers, timeout=60)
            assert answer.status_code < 500, (name, value[:80], answer.text)
            if answer.status_code >= 400:
                check_schema("ErrorResponse", answer.json())


class Lives(RuleBasedStateMachine):
    """Files and jobs are made, changed and deleted in any order, also after their end."""

    files = Bundle("files")
    jobs = Bundle("jobs")
    server: ServerProcess
    base: str

    def __init__(self) -> None:
        super().__init__()
        self.http = self.server.http()

    def teardown(self) -> None:
        self.http.close()

    def ask(self, method: str, path: str, **more: Any) -> Any:
        answer = self.http.request(method, path, **more)
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            check_schema("ErrorResponse", answer.json())
        return answer.json()

    @rule(target=files, number=st.sampled_from([1, 12]))
    def upload(self, number):
        form = {"files": {"file": ("a.jsonl", rows(number))}, "data": {"purpose": "fine-tune"}}
        return self.ask("POST", "/files", **form)["id"]

    @rule(file=consumes(files))
    def delete_file(self, file):
        assert self.ask("DELETE", f"/files/{file}")["deleted"]
        assert self.ask("GET", f"/files/{file}/content")["error"]["code"] == "file_not_found"

    @rule(target=jobs, file=files)
    def create(self, file):
        job = self.ask("POST", "/fine_tuning/jobs", json={"model": self.base, "training_file": file})
        check_schema("FineTuningJob", job)
        return job["id"]

    @rule(job=jobs, change=st.sampled_from(["cancel", "pause", "resume"]))
    def change(self, job, change):
        before = self.ask("GET", f"/fine_tuning/jobs/{job}")["status"]
        answer = self.ask("POST", f"/fine_tuning/jobs/{job}/{change}")
        if before in {"succeeded", "failed"}:
            assert answer["error"]["code"] == "invalid_job_state"
        elif before == "cancelled":
            assert ("error" in answer and "status" not in answer) == (change != "cancel")
        elif change == "cancel" and "status" in answer:
            assert answer["status"] == "cancelled"

    @rule(job=jobs)
    def look(self, job):
        shown = self.ask("GET", f"/fine_tuning/jobs/{job}")
        check_schema("FineTuningJob", shown)
        check_schema("ListFineTuningJobEventsResponse", self.ask("GET", f"/fine_tuning/jobs/{job}/events"))
        if shown["fine_tuned_model"]:
            check_schema("Model", self.ask("GET", f"/models/{shown['fine_tuned_model']}"))


def test_files_and_jobs_live_in_any_order(server, real):
    machine = type("LivesHere", (Lives,), {"server": server, "base": real["model"]})
    run_state_machine_as_test(machine, settings=settings(FUZZ, stateful_step_count=20))
    with server.http() as http:
        assert http.get("/fine_tuning/model_limits").status_code == 200
