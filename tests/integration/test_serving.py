"""Routes in a real uvicorn process, asked by LangServe's client, ChatOpenAI and a browser."""

import asyncio
import json
import threading
import time
from pathlib import Path

import httpx
import openai
import pytest
from fastapi import FastAPI
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI
from langserve import RemoteRunnable, add_routes

from langchain_finetune import (
    AliasStore,
    FineTunedModel,
    FineTuneRunnable,
    RunExportLoader,
    SubmittedJob,
    TrainingDataConverter,
)
from langchain_finetune.errors import NotServableError
from langchain_finetune.serving.langserve import FineTuneSerializer, remote_pipeline
from tests.app_process import AppProcess
from tests.browser import Page
from tests.fakes.openai_host import FakeHost
from tests.fakes.openai_plan import Plan

ROOT = Path(__file__).parents[2]
APP_KEY = "app-key-0123456789abcdef"
HOST_KEY = "sk-of-the-server-alone"
ALIAS = "calculator@production"
TOOL = {
    "type": "function",
    "function": {
        "name": "Calculator",
        "description": "Reckons.",
        "parameters": {"type": "object", "properties": {"num1": {"type": "number"}}, "required": ["num1"]},
    },
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def host():
    return FakeHost(key=HOST_KEY)


@pytest.fixture(scope="module")
def host_url(host):
    with host.serve() as url:
        yield url


@pytest.fixture(scope="module")
def app(home, host_url):
    told = {"host_url": host_url, "host_key": HOST_KEY, "app_key": APP_KEY}
    process = AppProcess(
        "tests/serving_app.py",
        json.dumps(told),
        LANGCHAIN_FINETUNE_HOME=str(home),
        OPENAI_API_KEY=HOST_KEY,
        OPENAI_BASE_URL=host_url,
        LANGSMITH_TRACING="false",
    )
    yield process
    written = process.stop()
    assert HOST_KEY not in written
    assert APP_KEY not in written


@pytest.fixture(autouse=True)
def at_home(home, host, monkeypatch):
    monkeypatch.setenv("LANGCHAIN_FINETUNE_HOME", str(home))
    host.plan = Plan()


def outcome_of(pipeline, selection):
    """Ask until there is a model, as a client does."""
    outcome = pipeline.invoke(selection)
    deadline = time.monotonic() + 60
    while isinstance(outcome, SubmittedJob):
        assert outcome.status not in ("failed", "cancelled", "interrupted"), outcome
        assert time.monotonic() < deadline
        time.sleep(0.02)
        outcome = pipeline.invoke(outcome)
    return outcome


def followed(url, **headers):
    """The events of a job: type, data and id of each."""
    events, fields = [], {}
    with httpx.stream("GET", url, headers=headers, timeout=60) as answer:
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            fields[name] = value
            if not line and "event" in fields:
                events.append((fields["event"], json.loads(fields["data"]), fields.get("id")))
            if not line:
                fields = {}
    return events


# --- LangServe's client ---


def test_a_remote_runnable_gets_a_model_and_a_chat_model_of_it(app):
    tuned = outcome_of(RemoteRunnable(f"{app.url}/finetune", serializer=FineTuneSerializer()), {"limit": 31})
    assert isinstance(tuned, FineTunedModel)
    model = tuned.to_chat_model()
    assert isinstance(model, ChatOpenAI)
    assert model.invoke("hi").content == "Hello."
    assert "".join(chunk.content for chunk in model.stream("hi")) == "Hello."


def test_a_bare_remote_runnable_gets_the_same_as_a_dict(app):
    output = RemoteRunnable(f"{app.url}/finetune").invoke({"limit": 31})
    assert output["type"] in ("fine_tune_job", "fine_tuned_model")


async def test_every_way_of_asking_gives_an_order(app):
    pipeline = remote_pipeline(f"{app.url}/finetune")
    selection = {"limit": 32}
    outcomes = [
        await pipeline.ainvoke(selection),
        *await pipeline.abatch([selection, selection]),
        *[chunk async for chunk in pipeline.astream(selection)],
    ]
    events = [event async for event in pipeline.astream_events(selection, version="v2")]
    assert [event["event"] for event in events] == ["on_chain_start", "on_custom_event", "on_chain_end"]
    outcomes.append(events[-1]["data"]["output"])
    assert all(isinstance(outcome, SubmittedJob | FineTunedModel) for outcome in outcomes)
    await pipeline.async_client.aclose()


def test_all_orders_of_one_input_are_one_job(app, host):
    pipeline = remote_pipeline(f"{app.url}/finetune")
    models = {outcome_of(pipeline, {"limit": 33}).job_id for _ in range(3)}
    assert len(models) == 1
    assert models <= set(host.jobs)


def test_a_refused_request_says_why(app, host):
    pipeline = remote_pipeline(f"{app.url}/finetune")
    before = len(host.requests)
    for given in (
        "/etc/passwd",
        ["/etc/passwd"],
        {"project_name": "theirs"},
        {"refresh": True, "snapshot": "x"},
    ):
        with pytest.raises(httpx.HTTPStatusError, match="422"):
            pipeline.invoke(given)
    assert len(host.requests) == before


# --- plain LangServe ---


@pytest.mark.parametrize("path", ["plain", "typed"])
def test_plain_langserve_serves_a_pipe_with_a_served_trainer(app, path):
    pipeline = remote_pipeline(f"{app.url}/{path}", timeout=60)
    tuned = pipeline.invoke({})
    assert isinstance(tuned, FineTunedModel)
    assert tuned.to_chat_model(api_key=HOST_KEY).invoke("hi").content == "Hello."
    assert pipeline.batch([{}]) == [tuned]
    streamed = list(pipeline.stream({}))
    assert streamed == [tuned]

    async def events():
        return [event async for event in pipeline.astream_events({}, version="v2")]

    seen = asyncio.run(events())
    assert any(event["name"] == "langchain_finetune_job" for event in seen)
    assert HOST_KEY not in str(seen)
    for name in ("input_schema", "output_schema", "config_schema", "playground/"):
        assert httpx.get(f"{app.url}/{path}/{name}").status_code == 200


@pytest.mark.parametrize("path", ["plain", "typed"])
def test_plain_langserve_follows_no_path_and_no_other_project(app, host, path):
    before = len(host.requests)
    for given in ("/etc/passwd", ["/etc/passwd"], {"project_name": "theirs"}):
        answer = httpx.post(f"{app.url}/{path}/invoke", json={"input": given})
        assert answer.status_code >= 400
    assert len(host.requests) == before


def test_a_selection_undoes_no_setting_of_the_loaders(app):
    # LangServe hands over all fields of a selection: `limit` and `feedback` of the loader stay what they are.
    pipeline = remote_pipeline(f"{app.url}/typed", timeout=60)
    assert pipeline.invoke({"seed": 0}) == pipeline.invoke({})


def test_without_as_served_start_up_fails_with_one_sentence_that_names_it():
    trainer = FineTuneRunnable("openai:gpt-4.1-mini-2025-04-14", api_key="x")
    with pytest.raises(NotServableError) as caught:
        add_routes(FastAPI(), RunExportLoader("x") | TrainingDataConverter() | trainer, path="/unserved")
    assert "`trainer.as_served()`" in str(caught.value)
    assert "\n" not in str(caught.value)


# --- following a job ---


def test_events_are_followed_from_where_a_client_left_off(app, host):
    host.plan = Plan(states=("queued", *["running"] * 8, "succeeded"), num_steps=8)
    order = remote_pipeline(f"{app.url}/finetune").invoke({"limit": 34})
    url = f"{app.url}/finetune/jobs/{order.id}/events"
    events = followed(url)
    ids = [identifier for kind, _, identifier in events if kind == "job_event"]
    assert len(ids) == len(set(ids)) > 4
    assert events[-1][0] == "end"
    rest = followed(url, **{"Last-Event-ID": ids[2]})
    assert [identifier for kind, _, identifier in rest if kind == "job_event"] == ids[3:]


def test_a_client_that_goes_away_ends_nothing(app, host):
    host.plan = Plan(states=("queued", *["running"] * 30, "succeeded"))
    order = remote_pipeline(f"{app.url}/finetune").invoke({"limit": 35})
    url = f"{app.url}/finetune/jobs/{order.id}/events"
    with httpx.stream("GET", url, timeout=60) as answer:
        next(answer.iter_lines())
    assert followed(url)[-1][1]["status"] == "succeeded"
    assert not host.sent("POST", r"/fine_tuning/jobs/[^/]+/cancel")


def test_a_client_that_goes_away_while_it_orders_ends_nothing(app, host):
    sent = len(host.sent("POST", "/fine_tuning/jobs"))
    with pytest.raises(httpx.TimeoutException):
        httpx.post(
            f"{app.url}/finetune/invoke", json={"input": {"limit": 36}}, timeout=httpx.Timeout(60, read=0.001)
        )
    deadline = time.monotonic() + 60
    while len(host.sent("POST", "/fine_tuning/jobs")) == sent:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_job_is_cancelled_by_its_order(app, host):
    host.plan = Plan(states=("queued", "running"))
    order = remote_pipeline(f"{app.url}/finetune").invoke({"limit": 24})
    answer = httpx.post(f"{app.url}/finetune/jobs/{order.id}/cancel", timeout=60).json()
    assert answer["status"] == "cancelled"


def test_another_process_answers_for_an_order(app, host, host_url, home):
    host.plan = Plan(states=("queued", *["running"] * 5, "succeeded"))
    order = remote_pipeline(f"{app.url}/promoting").invoke({"limit": 38})
    told = {"host_url": host_url, "host_key": HOST_KEY, "app_key": APP_KEY}
    other = AppProcess("tests/serving_app.py", json.dumps(told), LANGCHAIN_FINETUNE_HOME=str(home))
    try:
        end = followed(f"{other.url}/promoting/jobs/{order.id}/events")[-1][1]
    finally:
        other.kill()
    assert end["status"] == "succeeded"


# --- the time of an answer ---


def test_invoke_is_answered_while_a_job_runs(app, host, capsys):
    host.plan = Plan(states=("queued", "running"))
    remote_pipeline(f"{app.url}/finetune").invoke({"limit": 39})
    with httpx.Client() as client:
        client.get(f"{app.url}/finetune/input_schema")
        seconds = []
        for _ in range(10):
            start = time.perf_counter()
            assert client.post(f"{app.url}/finetune/invoke", json={"input": {"limit": 39}}).status_code == 200
            seconds.append(time.perf_counter() - start)
    with capsys.disabled():
        median, worst = sorted(seconds)[5] * 1000, max(seconds) * 1000
        print(f"\n/invoke with a job running: median {median:.0f} ms, worst of 10 {worst:.0f} ms")  # noqa: T201


# --- the model behind an alias ---


@pytest.fixture
def promoted(app, host):
    return outcome_of(remote_pipeline(f"{app.url}/promoting"), {"limit": 31})


def test_the_pipe_promotes_and_clients_ask_the_alias(app, promoted):
    assert AliasStore().resolve(ALIAS).model == promoted.model
    model = ChatOpenAI(model=ALIAS, base_url=f"{app.url}/model/{ALIAS}/v1", api_key="of-nobody")
    assert model.invoke("hi").content == "Hello."
    assert "".join(chunk.content for chunk in model.stream("hi")) == "Hello."
    remote = RemoteRunnable(f"{app.url}/model/{ALIAS}")
    chain = ChatPromptTemplate.from_messages([("system", "Be short."), ("human", "{q}")]) | remote
    assert chain.invoke({"q": "hi"}).content == "Hello."
    assert [each.content for each in remote.batch(["a", "b"])] == ["Hello.", "Hello."]
    assert "".join(chunk.content for chunk in remote.stream("hi")) == "Hello."


def test_tools_work_through_the_alias(app, host, promoted):
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "Calculator", "arguments": '{"num1": 56}'},
    }
    host.answer = lambda _: {"role": "assistant", "content": None, "tool_calls": [call]}
    try:
        model = ChatOpenAI(model=ALIAS, base_url=f"{app.url}/model/{ALIAS}/v1", api_key="x").bind_tools(
            [TOOL]
        )
        assert model.invoke("What's 56/7?").tool_calls[0]["args"] == {"num1": 56}
    finally:
        host.answer = lambda _: {"role": "assistant", "content": "Hello."}


def test_a_rollback_holds_at_once_in_the_running_server(app, host, promoted):
    aliases = AliasStore()
    other = promoted.model_copy(update={"model": "gpt-4.1-mini-2025-04-14", "served_url": None})
    aliases.promote(ALIAS, other)
    model = ChatOpenAI(model=ALIAS, base_url=f"{app.url}/model/{ALIAS}/v1", api_key="x")
    model.invoke("hi")
    assert host.sent("POST", "/chat/completions")[-1].body["model"] == other.model
    aliases.rollback(ALIAS)
    model.invoke("hi")
    assert host.sent("POST", "/chat/completions")[-1].body["model"] == promoted.model


# --- keys ---


def test_the_key_opens_and_no_answer_has_one(app):
    with pytest.raises(httpx.HTTPStatusError, match="401"):
        remote_pipeline(f"{app.url}/keyed").invoke({"limit": 31})
    tuned = outcome_of(remote_pipeline(f"{app.url}/keyed", api_key=APP_KEY), {"limit": 31})
    with pytest.raises(openai.AuthenticationError):
        tuned.to_chat_model(max_retries=0).invoke("hi")
    assert tuned.to_chat_model(api_key=APP_KEY).invoke("hi").content == "Hello."
    headers = {"Authorization": f"Bearer {APP_KEY}"}
    order = tuned.served_url.split("/")[-2]
    paths = (
        "/openapi.json",
        "/keyed/playground",
        "/keyed/docs",
        f"/keyed/jobs/{order}",
        "/plain/config_schema",
    )
    for path in paths:
        text = httpx.get(app.url + path, headers=headers).text
        assert HOST_KEY not in text
        assert APP_KEY not in text


# --- pages, looked at ---


def test_the_playground_orders_follows_and_asks(app, host, tmp_path):
    host.plan = Plan(states=("queued", *["running"] * 6, "succeeded"), num_steps=6)
    page = Page(f"{app.url}/finetune/playground", tmp_path / "profile")
    try:
        page.evaluate("""document.getElementById('input').value = '{"limit": 29}'""")
        page.evaluate("document.getElementById('order').click()")
        page.wait_for("document.getElementById('status').textContent === 'succeeded'")
        page.wait_for("!document.getElementById('chat').hidden")
        page.evaluate("document.getElementById('question').value = 'What is 56/7?'")
        page.evaluate("document.getElementById('ask').click()")
        page.wait_for("document.getElementById('answer').textContent === 'Hello.'")
        page.screenshot(tmp_path / "playground.png")
        assert "step 6 of 6" in page.evaluate("document.body.innerText")
        assert page.errors == []
    finally:
        page.close()


@pytest.mark.parametrize("path", ["/finetune/docs", "/plain/playground/"])
def test_the_other_pages_show_what_they_should(app, tmp_path, path):
    page = Page(f"{app.url}{path}", tmp_path / "profile")
    try:
        wanted = "/finetune/invoke" if path.endswith("docs") else "LangServe"
        page.wait_for(f"document.body.innerText.includes({json.dumps(wanted)})")
        page.screenshot(tmp_path / "page.png")
        assert page.errors == []
    finally:
        page.close()


def test_orders_from_many_threads_are_one_job(app, host):
    outcomes = []
    threads = [
        threading.Thread(
            target=lambda: outcomes.append(outcome_of(remote_pipeline(f"{app.url}/finetune"), {"limit": 28}))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({outcome.job_id for outcome in outcomes}) == 1
    assert len(outcomes) == 4
