"""A pipe on FastAPI, asked in this process; its host is the fake one."""

import asyncio
import json
import logging
import os

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException
from langchain_core.runnables import RunnableLambda
from langchain_openai import ChatOpenAI

from langchain_finetune import FineTunedModel, Promotion, RunExportLoader, SubmittedJob, TrainingDataConverter
from langchain_finetune.errors import NotServableError, SelectionError, SettingError
from langchain_finetune.serving import AliasStore, Limits, add_fine_tune_routes
from langchain_finetune.serving.orders import OrderBook
from tests.fakes.clients import trainer_at
from tests.fakes.loopback import Response
from tests.fakes.openai_host import FakeHost
from tests.fakes.openai_plan import Plan
from tests.fakes.training_rows import rows, training_data
from tests.unit.langchain_finetune.serving.asgi import Client, events_in

KEY = "app-key-0123456789abcdef"
QUICK = Limits(look_seconds=0.0, answer_seconds=5.0)
"""Every look is a new one, and a job is there when `/invoke` answers."""


@pytest.fixture
def host():
    host = FakeHost()
    host.plan = Plan(states=("queued", "running", "running", "succeeded"))
    return host


def loaded(_):
    return training_data()


def served(host, head=loaded, tail=None, *, limits=QUICK, **settings):
    """An application with a pipe on it, and a client of its."""
    pipe = RunnableLambda(head) | trainer_at(host) if head else trainer_at(host)
    app = FastAPI()
    add_fine_tune_routes(app, pipe | tail if tail else pipe, limits=limits, **settings)
    return Client(app)


async def ordered(client, given=None):
    answer = await client.post("/finetune/invoke", {"input": given if given is not None else {}})
    assert answer.status_code == 200, answer.text
    return answer.json()["output"]


async def followed(client, order):
    return events_in(await client.get(f"/finetune/jobs/{order['id']}/events"))


# --- an order and its job ---


async def test_an_order_is_answered_with_the_job_and_the_job_with_the_model(host):
    client = served(host)
    order = await ordered(client)
    job = SubmittedJob.model_validate(order)
    assert (job.status, job.provider, job.is_reused) == ("running", "openai", False)
    assert job.job_id in host.jobs
    await followed(client, order)
    done = SubmittedJob.model_validate((await client.get(f"/finetune/jobs/{job.id}")).json())
    assert done.status == "succeeded"
    assert done.model.model == f"ft:{done.base}:fake::00000000"
    assert done.model.served_url == f"http://app.example/finetune/jobs/{job.id}/v1"


async def test_what_has_been_trained_is_answered_with_its_model(host):
    client = served(host)
    await followed(client, await ordered(client))
    output = await ordered(client)
    assert FineTunedModel.model_validate(output).job_id in host.jobs
    assert len(host.jobs) == 1


async def test_the_order_itself_for_an_input_starts_nothing(host):
    client = served(host)
    order = await ordered(client)
    again = await ordered(client, order)
    assert again["id"] == order["id"]
    await followed(client, order)
    assert (await ordered(client, order))["type"] == "fine_tuned_model"


async def test_an_answer_does_not_wait_for_a_slow_loader(host):
    gate = asyncio.Event()

    async def slow(_):
        await gate.wait()
        return training_data()

    client = served(host, slow, limits=Limits(look_seconds=0.0, answer_seconds=0.01))
    order = await ordered(client)
    assert (order["status"], order["job_id"]) == ("preparing", None)
    gate.set()
    events = await followed(client, order)
    assert events[-1][0] == "end"
    assert events[-1][1]["status"] == "succeeded"


async def test_rows_by_value_are_trained_on(host):
    client = served(host, None)
    order = await ordered(client, rows())
    assert order["job_id"] in host.jobs


async def test_what_fails_soon_is_the_answer_and_what_fails_later_is_in_the_order(host):
    def failing(_):
        msg = "no run is selected: 5 of 5 have no feedback."
        raise SelectionError(msg)

    answer = await served(host, failing).post("/finetune/invoke", {"input": {}})
    assert answer.status_code == 422
    assert answer.json() == {
        "detail": "no run is selected: 5 of 5 have no feedback.",
        "code": "SelectionError",
    }
    gate = asyncio.Event()

    async def later(_):
        await gate.wait()
        failing(_)

    client = served(host, later, limits=Limits(look_seconds=0.0, answer_seconds=0.01))
    order = await ordered(client)
    gate.set()
    (_, end, _) = (await followed(client, order))[-1]
    assert (end["status"], end["error_code"]) == ("failed", "SelectionError")
    assert "5 of 5" in end["error"]


async def test_a_job_that_fails_at_its_host_says_why(host):
    error = {"code": "invalid_training_file", "message": "line 3 is odd", "param": "training_file"}
    host.plan = Plan(states=("queued", "running", "failed"), error=error)
    client = served(host)
    order = await ordered(client)
    end = (await followed(client, order))[-1][1]
    assert (end["status"], end["error_code"]) == ("failed", "TrainingFileInvalid")
    assert "line 3 is odd" in end["error"]


async def test_a_batch_is_ordered_at_once(host):
    client = served(host)
    answer = await client.post("/finetune/batch", {"inputs": [{}, {}]})
    outputs = answer.json()["output"]
    assert {output["job_id"] for output in outputs} == set(host.jobs)
    assert len(answer.json()["metadata"]["run_ids"]) == 2


async def test_of_a_batch_all_is_ordered_or_nothing(host):
    client = served(host)
    answer = await client.post("/finetune/batch", {"inputs": [{}, {}], "config": [{}]})
    assert answer.status_code == 422
    assert "2 inputs and 1 configs" in answer.json()["detail"]
    pipe = RunExportLoader("runs.jsonl") | TrainingDataConverter() | trainer_at(host)
    app = FastAPI()
    add_fine_tune_routes(app, pipe)
    answer = await Client(app).post("/finetune/batch", {"inputs": [{}, "/etc/passwd"]})
    assert answer.status_code == 422
    assert host.requests == []


async def test_streams_end_at_once_with_the_job(host):
    client = served(host)
    stream = events_in(await client.post("/finetune/stream", {"input": {}}))
    assert [event for event, *_ in stream] == ["data", "end"]
    assert stream[0][1]["type"] == "fine_tune_job"
    events = events_in(await client.post("/finetune/stream_events", {"input": {}}))
    kinds = [data["event"] for event, data, _ in events if event == "data"]
    assert kinds == ["on_chain_start", "on_custom_event", "on_chain_end"]


# --- following a job ---


async def test_events_come_in_order_once_and_end_with_the_outcome(host):
    client = served(host)
    events = await followed(client, await ordered(client))
    messages = [data["message"] for event, data, _ in events if event == "job_event"]
    assert messages[0].startswith("Created")
    assert len(messages) == len(set(messages))
    states = [data["status"] for event, data, _ in events if event == "status"]
    assert states == ["running", "succeeded"]
    steps = [data["data"]["step"] for event, data, _ in events if event == "job_event" and data["data"]]
    assert steps == sorted(steps)


async def test_who_comes_back_gets_what_came_after(host):
    client = served(host)
    order = await ordered(client)
    first = await followed(client, order)
    ids = [identifier for event, _, identifier in first if event == "job_event"]
    url = f"/finetune/jobs/{order['id']}/events"
    rest = events_in(await client.get(url, **{"Last-Event-ID": ids[1]}))
    assert [identifier for event, _, identifier in rest if event == "job_event"] == ids[2:]
    # Also from another process, which has seen nothing yet.
    other = served(host)
    rest = events_in(await other.get(url, **{"Last-Event-ID": ids[1]}))
    assert [identifier for event, _, identifier in rest if event == "job_event"] == ids[2:]
    assert rest[-1][0] == "end"


async def test_a_host_that_is_away_for_a_moment_ends_no_stream(host):
    client = served(host)
    order = await ordered(client)
    host.fail("GET", r"/fine_tuning/jobs/[^/]+", 503, times=2)
    events = await followed(client, order)
    assert events[-1][1]["status"] == "succeeded"


async def test_one_look_serves_all_who_ask(host):
    client = served(host, limits=Limits(look_seconds=1000.0, answer_seconds=5.0))
    order = await ordered(client)
    before = len(host.sent("GET", r"/fine_tuning/jobs/[^/]+"))
    await asyncio.gather(*(client.get(f"/finetune/jobs/{order['id']}") for _ in range(20)))
    assert len(host.sent("GET", r"/fine_tuning/jobs/[^/]+")) == before


async def test_streams_are_bounded(host):
    client = served(host, limits=Limits(look_seconds=0.0, answer_seconds=5.0, max_streams=0))
    order = await ordered(client)
    answer = await client.get(f"/finetune/jobs/{order['id']}/events")
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1


# --- ending ---


async def test_an_order_that_made_its_job_can_end_it(host):
    host.plan = Plan(states=("queued",))
    client = served(host)
    order = await ordered(client)
    answer = await client.post(f"/finetune/jobs/{order['id']}/cancel")
    assert answer.json()["status"] == "cancelled"
    assert host.jobs[order["job_id"]]["status"] == "cancelled"


async def test_a_job_of_somebody_elses_is_not_ended(host):
    host.plan = Plan(states=("queued",))
    trainer_at(host).submit(training_data())
    client = served(host)
    order = await ordered(client)
    assert order["is_reused"]
    answer = await client.post(f"/finetune/jobs/{order['id']}/cancel")
    assert answer.status_code == 409
    assert "was there before it" in answer.json()["detail"]
    assert host.jobs[order["job_id"]]["status"] != "cancelled"


async def test_an_order_that_is_being_prepared_can_be_ended(host):
    async def endless(_):
        await asyncio.Event().wait()

    client = served(host, endless, limits=Limits(look_seconds=0.0, answer_seconds=0.01))
    order = await ordered(client)
    answer = await client.post(f"/finetune/jobs/{order['id']}/cancel")
    assert answer.json()["status"] == "cancelled"
    assert host.jobs == {}


async def test_what_the_server_prepared_when_it_died_is_told_as_interrupted(host, monkeypatch):
    monkeypatch.setattr("langchain_finetune.serving.orders.this_process", lambda: "999999999:dead")
    order = OrderBook().add("/finetune")
    monkeypatch.setattr("langchain_finetune.serving.orders.this_process", lambda: f"{os.getpid()}:new")
    client = served(host)
    told = (await client.get(f"/finetune/jobs/{order.id}")).json()
    assert (told["status"], told["error_code"]) == ("interrupted", "Interrupted")
    assert "send the same input again" in told["error"]


# --- what comes after the training ---


async def test_the_steps_after_the_training_are_done_whoever_is_there(host):
    client = served(host, tail=Promotion(alias="calculator@production"))
    end = (await followed(client, await ordered(client)))[-1][1]
    assert (end["status"], end["is_handed_on"]) == ("succeeded", True)
    assert AliasStore().resolve("calculator@production").model == end["model"]["model"]


async def test_a_gate_that_hands_on_the_baseline_is_told(host):
    baseline = ChatOpenAI(model="gpt-4.1", api_key="x", base_url="http://host/v1")
    client = served(host, tail=_Gate(baseline))
    end = (await followed(client, await ordered(client)))[-1][1]
    assert (end["status"], end["is_handed_on"]) == ("succeeded", False)


async def test_a_step_that_fails_after_the_training_is_told(host):
    def broken(_):
        msg = "sk-secret-of-somebody"
        raise RuntimeError(msg)

    client = served(host, tail=RunnableLambda(broken))
    end = (await followed(client, await ordered(client)))[-1][1]
    assert (end["status"], end["error_code"]) == ("failed", "InternalError")
    assert "sk-secret" not in json.dumps(end)


async def test_steps_that_a_dead_process_left_are_done_by_the_next(host, monkeypatch):
    trainer_at(host).invoke(training_data())
    (job_id,) = host.jobs
    monkeypatch.setattr("langchain_finetune.serving.orders.this_process", lambda: "999999999:dead")
    book = OrderBook()
    order = book.change(book.add("/finetune"), status="placed", job_id=job_id)
    monkeypatch.setattr("langchain_finetune.serving.orders.this_process", lambda: f"{os.getpid()}:new")
    client = served(host, tail=Promotion(alias="a"))
    end = (await followed(client, {"id": order.id}))[-1][1]
    assert end["is_handed_on"]
    assert AliasStore().resolve("a").job_id == job_id


# --- who may, and what is refused ---


async def test_without_the_key_nothing_opens_but_the_pages(host):
    client = served(host, api_keys=[KEY])
    for path in ("invoke", "batch", "stream", "stream_events", "jobs/x/cancel", "jobs/x/v1/chat/completions"):
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {KEY}"}):
            assert (await client.post(f"/finetune/{path}", {"input": {}}, **headers)).status_code == 401, path
    for path in (
        "input_schema",
        "output_schema",
        "config_schema",
        "jobs/x",
        "jobs/x/events",
        "jobs/x/v1/models",
    ):
        assert (await client.get(f"/finetune/{path}")).status_code == 401, path
    for path in ("playground", "docs"):
        page = await client.get(f"/finetune/{path}")
        assert page.status_code == 200
        assert KEY not in page.text
    assert host.requests == []
    answer = await client.post("/finetune/invoke", {"input": {}}, Authorization=f"Bearer {KEY}")
    assert answer.status_code == 200


async def test_the_applications_own_login_guards_the_routes_too(host):
    def login():
        raise HTTPException(403, "not you")

    client = served(host, dependencies=[Depends(login)])
    assert (await client.post("/finetune/invoke", {"input": {}})).status_code == 403


def test_a_short_key_is_refused(host):
    with pytest.raises(SettingError, match="16 characters"):
        served(host, api_keys=["short"])


@pytest.mark.parametrize("path", ["finetune", "/finetune/", "/", ""])
def test_an_odd_path_is_refused(host, path):
    with pytest.raises(SettingError, match="begin with a slash"):
        served(host, path=path)


async def test_another_routes_orders_are_none_of_this_ones(host):
    client = served(host)
    order = await ordered(client)
    other = served(host, path="/other")
    assert (await other.get(f"/other/jobs/{order['id']}")).status_code == 404


async def test_a_job_of_the_account_that_was_not_ordered_here_is_not_shown(host):
    job = trainer_at(host).submit(training_data())
    client = served(host)
    for answer in (
        await client.get(f"/finetune/jobs/{job.id}"),
        await client.post(f"/finetune/jobs/{job.id}/cancel"),
        await client.get(f"/finetune/jobs/{job.id}/events"),
    ):
        assert answer.status_code == 404
    assert host.jobs[job.id]["status"] != "cancelled"


async def test_no_setting_is_taken_that_the_server_does_not_allow(host):
    client = served(host)
    for name in ("base_url", "api_key", "seed"):
        body = {"input": {}, "config": {"configurable": {name: "x"}}}
        answer = await client.post("/finetune/invoke", body)
        assert answer.status_code == 422
        assert name in answer.json()["detail"]
    assert host.requests == []


async def test_a_setting_that_is_allowed_reaches_the_steps_before_the_training(host):
    seen = []

    def head(_, config):
        seen.append(config["configurable"]["limit"])
        return training_data()

    client = served(host, head, configurable=["limit"])
    body = {"input": {}, "config": {"configurable": {"limit": 5}}}
    assert (await client.post("/finetune/invoke", body)).status_code == 200
    assert seen == [5]


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "text/plain", 415),
        (b'{"input": {}}', "application/x-www-form-urlencoded", 415),
        (b"{", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"[]", "application/json", 422),
        (b"{}", "application/json", 422),
        (b'{"input": {}, "config": []}', "application/json", 200),
        (b'{"input": {}, "config": [1]}', "application/json", 422),
        (b'{"input": {}, "config": {"configurable": 3}}', "application/json", 422),
        (b"x" * 2000, "application/json", 413),
    ],
)
async def test_what_is_no_request_is_refused(host, content, kind, status):
    limits = Limits(
        look_seconds=0.0, answer_seconds=5.0, max_body_bytes=200_000 if b"[[" in content else 1000
    )
    client = served(host, limits=limits)
    answer = await client.send("/finetune/invoke", content, **{"Content-Type": kind})
    assert answer.status_code == status, answer.text


async def test_too_many_orders_at_once_are_told_to_come_back(host):
    async def endless(_):
        await asyncio.Event().wait()

    client = served(host, endless, limits=Limits(look_seconds=0.0, answer_seconds=0.01, max_preparing=2))
    orders = [await ordered(client) for _ in range(2)]
    answer = await client.post("/finetune/invoke", {"input": {}})
    assert answer.status_code == 429
    for order in orders:
        await client.post(f"/finetune/jobs/{order['id']}/cancel")


async def test_an_unexpected_error_is_told_without_its_words(host, caplog):
    def broken(_):
        msg = "prompt of a customer, sk-verysecretkey"
        raise RuntimeError(msg)

    with caplog.at_level(logging.INFO):
        answer = await served(host, broken).post("/finetune/invoke", {"input": {}})
    assert answer.status_code == 500
    assert answer.json() == {"detail": "the server failed: its log has the error.", "code": "InternalError"}
    assert "customer" not in caplog.text
    assert "sk-verysecretkey" not in caplog.text
    assert "RuntimeError" in caplog.text or "InternalError" in caplog.text


async def test_what_the_host_says_of_the_key_stays_here(host):
    told = {"error": {"message": "Incorrect API key provided: sk-fake.", "code": "invalid_api_key"}}
    host.fail("POST", r"/files", Response(401, told), times=9)
    host.fail("GET", r"/fine_tuning/jobs", Response(401, told), times=9)
    answer = await served(host).post("/finetune/invoke", {"input": {}})
    assert answer.status_code == 502
    assert "sk-fake" not in answer.text


async def test_schemas_and_openapi_hold_nothing_of_the_servers(host, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-ambient-secret")
    pipe = (
        RunExportLoader("/srv/private/runs.jsonl", project_name="private-project")
        | TrainingDataConverter()
        | trainer_at(host)
    )
    app = FastAPI()
    add_fine_tune_routes(app, pipe, api_keys=[KEY], configurable=["limit"])
    client = Client(app, Authorization=f"Bearer {KEY}")
    texts = [
        (await client.get(path)).text
        for path in (
            "/openapi.json",
            "/finetune/input_schema",
            "/finetune/output_schema",
            "/finetune/config_schema",
            "/finetune/playground",
            "/finetune/docs",
        )
    ]
    for secret in (KEY, "sk-fake", "sk-ambient-secret", "/srv/private", "private-project"):
        assert not any(secret in text for text in texts), secret
    assert "snapshot" not in json.loads(texts[1])["properties"]
    assert "fine_tuned_model" in texts[2]
    assert json.loads(texts[3])["properties"]["configurable"]["properties"] == {"limit": {}}


async def test_the_pages_load_nothing_and_take_no_words_of_the_client(host):
    app = FastAPI()
    add_fine_tune_routes(app, trainer_at(host))
    client = Client(app, Host='x"><script>alert(1)</script>')
    for name in ("playground", "playground/", "docs"):
        page = await client.get(f"/finetune/{name}")
        assert "<script>alert" not in page.text
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "http://" not in policy
        assert "src=" not in page.text
    first, second = (await client.get("/finetune/docs")), (await client.get("/finetune/docs"))
    assert first.headers["content-security-policy"] != second.headers["content-security-policy"]


# --- where it is mounted ---


async def test_it_can_be_added_to_a_router_and_stand_behind_a_proxy(host):
    router = APIRouter(prefix="/api")
    pipe = RunnableLambda(loaded) | trainer_at(host).as_served()
    add_fine_tune_routes(router, pipe, "/tune", limits=QUICK, public_url="https://apps.example.com/")
    app = FastAPI()
    app.include_router(router)
    client = Client(app)
    trainer_at(host).invoke(training_data())
    output = (await client.post("/api/tune/invoke", {"input": {}})).json()["output"]
    order = output["served_url"].split("/")[-2]
    assert output["served_url"] == f"https://apps.example.com/api/tune/jobs/{order}/v1"


@pytest.mark.parametrize("steps", [0, 2])
def test_a_pipe_without_one_trainer_is_refused(host, steps):
    pipe = RunnableLambda(loaded)
    for _ in range(steps):
        pipe = pipe | trainer_at(host)
    with pytest.raises(NotServableError, match="one FineTuneRunnable"):
        add_fine_tune_routes(FastAPI(), pipe)


# --- the model of an order ---


async def test_the_model_answers_through_this_server_with_the_servers_key(host):
    client = served(host)
    order = await ordered(client)
    body = {"model": "whatever", "messages": [{"role": "user", "content": "hi"}], "temperature": 0}
    early = await client.post(f"/finetune/jobs/{order['id']}/v1/chat/completions", body)
    assert early.status_code == 409
    assert "can be asked when" in early.json()["error"]["message"]
    await followed(client, order)
    answer = await client.post(f"/finetune/jobs/{order['id']}/v1/chat/completions", body)
    assert answer.json()["choices"][0]["message"]["content"] == "Hello."
    sent = host.sent("POST", "/chat/completions")[-1]
    assert sent.headers["authorization"] == "Bearer sk-fake"
    assert sent.body["model"].startswith("ft:")
    models = await client.get(f"/finetune/jobs/{order['id']}/v1/models")
    assert models.json()["data"][0]["object"] == "model"


class _Gate(Promotion):
    """Hands on a baseline, as a gate does that was not passed."""

    def __init__(self, baseline):
        super().__init__(alias="unused", store=baseline)

    def _run(self, accepted, config):
        return self.store


@pytest.mark.parametrize(
    "given", ["/etc/passwd", {"train": "/etc/passwd", "fingerprint": "x", "num_train": 10}]
)
async def test_a_step_of_the_applications_own_hands_no_path_through(host, given):
    client = served(host, lambda x: x)
    answer = await client.post("/finetune/invoke", {"input": given})
    assert answer.json()["code"] == "ServedInputError"
    app = FastAPI()
    pipe = RunnableLambda(lambda x: x) | RunExportLoader("runs.jsonl") | TrainingDataConverter()
    add_fine_tune_routes(app, pipe | trainer_at(host), limits=QUICK, projects=["ours"])
    answer = await Client(app).post("/finetune/invoke", {"input": given})
    assert answer.status_code == 422
    answer = await Client(app).post("/finetune/invoke", {"input": {"project_name": "theirs"}})
    assert "'theirs' is not served" in answer.json()["detail"]
    answer = await Client(app).post("/finetune/invoke", {"input": {"project_name": "ours"}})
    assert answer.json()["code"] == "SourceNotFoundError"
    assert host.requests == []


async def test_an_order_whose_server_stops_is_not_told_as_cancelled(host):
    async def endless(_):
        await asyncio.Event().wait()

    client = served(host, endless, limits=Limits(look_seconds=0.0, answer_seconds=0.01))
    order = await ordered(client)
    tasks = [task for task in asyncio.all_tasks() if "_prepare" in repr(task)]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert (await client.get(f"/finetune/jobs/{order['id']}")).json()["status"] == "preparing"
