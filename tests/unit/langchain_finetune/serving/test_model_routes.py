"""The models behind aliases on FastAPI, asked in this process; their host is the fake one."""

import httpx2
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI

from langchain_finetune import AliasStore, FineTunedModel
from langchain_finetune.serving import Limits, add_model_routes
from langchain_finetune.serving.model_routes import messages_of
from langchain_finetune.serving.wire import BadRequest
from tests.fakes.loopback import Response
from tests.fakes.openai_host import FakeHost
from tests.unit.langchain_finetune.serving.asgi import Client, events_in

KEY = "app-key-0123456789abcdef"
ALIAS = "calculator@production"
ASK = {"messages": [{"role": "user", "content": "What's 56/7?"}]}


def tuned(name):
    return FineTunedModel(
        provider="custom", base="b", model=name, base_url="http://host/v1", job_id=f"job-{name}"
    )


@pytest.fixture
def host():
    return FakeHost(bases=("ft:one", "ft:two"))


@pytest.fixture
def store():
    store = AliasStore()
    store.promote(ALIAS, tuned("ft:one"))
    return store


def served(host, **settings):
    transport = host.transport()

    def open_model(model):
        return model.to_chat_model(
            api_key="sk-fake",
            max_retries=0,
            http_client=httpx2.Client(transport=transport),
            http_async_client=httpx2.AsyncClient(transport=transport),
        )

    app = FastAPI()
    add_model_routes(app, open_model=open_model, **settings)
    return Client(app)


async def test_a_promotion_and_a_rollback_hold_for_the_next_request(host, store):
    client = served(host)

    async def asked():
        await client.post(f"/model/{ALIAS}/v1/chat/completions", ASK)
        return host.sent("POST", "/chat/completions")[-1].body["model"]

    assert await asked() == "ft:one"
    store.promote(ALIAS, tuned("ft:two"))
    assert await asked() == "ft:two"
    store.rollback(ALIAS)
    assert await asked() == "ft:one"


async def test_what_the_client_calls_the_model_is_its_own_business(host, store):
    answer = await served(host).post(f"/model/{ALIAS}/v1/chat/completions", {**ASK, "model": "gpt-4.1"})
    assert answer.json()["choices"][0]["message"]["content"] == "Hello."
    assert host.sent("POST", "/chat/completions")[0].body["model"] == "ft:one"


async def test_tools_go_to_the_host_and_calls_come_back_as_they_are(host, store):
    call = {"id": "call_1", "type": "function", "function": {"name": "Calculator", "arguments": '{"a": 56}'}}
    host.answer = lambda _: {"role": "assistant", "content": None, "tool_calls": [call]}
    tool = {"type": "function", "function": {"name": "Calculator", "parameters": {"type": "object"}}}
    body = {**ASK, "tools": [tool], "tool_choice": "auto", "parallel_tool_calls": False}
    answer = await served(host).post(f"/model/{ALIAS}/v1/chat/completions", body)
    assert answer.json()["choices"][0]["message"]["tool_calls"] == [call]
    assert host.sent("POST", "/chat/completions")[0].body["tools"] == [tool]


async def test_a_stream_is_passed_on(host, store):
    answer = await served(host).post(f"/model/{ALIAS}/v1/chat/completions", {**ASK, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.rstrip().endswith("data: [DONE]")


@pytest.mark.parametrize(
    "field", ["store", "service_tier", "metadata", "base_url", "api_key", "extra_headers"]
)
async def test_fields_that_change_the_bill_or_the_place_are_refused(host, store, field):
    answer = await served(host).post(f"/model/{ALIAS}/v1/chat/completions", {**ASK, field: "x"})
    assert answer.status_code == 400
    assert field in answer.json()["error"]["message"]
    assert host.requests == []


async def test_the_clients_key_goes_nowhere(host, store):
    client = served(host, api_keys=[KEY])
    url = f"/model/{ALIAS}/v1/chat/completions"
    assert (await client.post(url, ASK)).status_code == 401
    answer = await client.post(url, ASK, Authorization=f"Bearer {KEY}")
    assert answer.status_code == 200
    sent = host.sent("POST", "/chat/completions")[0]
    assert sent.headers["authorization"] == "Bearer sk-fake"
    assert KEY not in str(sent)


@pytest.mark.parametrize("status", [401, 403, 500, 503])
async def test_what_a_host_says_of_the_account_stays_here(host, store, status):
    told = {"error": {"message": "Incorrect API key provided: sk-fake.", "code": "invalid_api_key"}}
    host.fail("POST", "/chat/completions", Response(status, told), times=5)
    answer = await served(host).post(f"/model/{ALIAS}/v1/chat/completions", ASK)
    assert answer.status_code == 502
    assert "sk-fake" not in answer.text
    assert "Incorrect" not in answer.text


async def test_what_a_host_says_of_the_request_is_passed_on_without_a_key(host, store):
    told = {"error": {"message": "temperature is odd; key sk-fake", "code": "invalid_value"}}
    host.fail("POST", "/chat/completions", Response(400, told))
    answer = await served(host).post(f"/model/{ALIAS}/v1/chat/completions", ASK)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "temperature is odd; key [key]"
    assert answer.json()["error"]["code"] == "invalid_value"


async def test_a_host_that_asks_to_wait_is_passed_on(host, store):
    told = Response(429, {"error": {"message": "slow down"}}, {"retry-after": "7"})
    host.fail("POST", "/chat/completions", told)
    answer = await served(host).post(f"/model/{ALIAS}/v1/chat/completions", ASK)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")


async def test_an_alias_that_is_not_served_is_as_one_that_is_not_there(host, store):
    store.promote("secret@dev", tuned("ft:two"))
    client = served(host, aliases=[ALIAS])
    hidden = await client.get("/model/secret@dev")
    missing = await client.get("/model/nobody@dev")
    assert hidden.status_code == missing.status_code == 404
    assert hidden.text.replace("secret", "nobody") == missing.text
    assert (await served(host).get("/model/secret@dev")).status_code == 200


async def test_what_an_alias_is_holds_no_url(host, store):
    told = (await served(host).get(f"/model/{ALIAS}")).json()
    assert told["model"] == "ft:one"
    assert "http" not in str(told)


async def test_it_is_listed_as_a_model(host, store):
    listed = (await served(host).get(f"/model/{ALIAS}/v1/models")).json()
    assert listed["data"][0]["id"] == ALIAS


async def test_langserves_protocol_is_spoken_too(host, store):
    client = served(host)
    output = (await client.post(f"/model/{ALIAS}/invoke", {"input": "hi"})).json()["output"]
    assert (output["type"], output["content"]) == ("ai", "Hello.")
    batch = (await client.post(f"/model/{ALIAS}/batch", {"inputs": ["a", ["b"]]})).json()
    assert [each["content"] for each in batch["output"]] == ["Hello.", "Hello."]
    stream = events_in(await client.post(f"/model/{ALIAS}/stream", {"input": "hi"}))
    assert "".join(data["content"] for event, data, _ in stream if event == "data") == "Hello."
    assert stream[-1][0] == "end"
    events = events_in(await client.post(f"/model/{ALIAS}/stream_events", {"input": "hi"}))
    kinds = [data["event"] for event, data, _ in events if event == "data"]
    assert (kinds[0], kinds[-1]) == ("on_chat_model_start", "on_chat_model_end")
    assert "sk-fake" not in str(events)
    for name in ("input_schema", "output_schema", "config_schema"):
        assert (await client.get(f"/model/{ALIAS}/{name}")).status_code == 200


async def test_an_error_in_a_stream_is_an_event_without_its_words(host, store):
    host.fail("POST", "/chat/completions", Response(401, {"error": {"message": "sk-fake"}}), times=5)
    stream = events_in(await served(host).post(f"/model/{ALIAS}/stream", {"input": "hi"}))
    assert stream[0][0] == "error"
    assert "sk-fake" not in str(stream)


@pytest.mark.parametrize("body", [{}, {"input": []}, {"input": 3}, {"input": [3]}, {"input": {"a": 1}}])
async def test_what_are_no_messages_is_refused(host, store, body):
    assert (await served(host).post(f"/model/{ALIAS}/invoke", body)).status_code == 422


async def test_batches_are_bounded_and_no_setting_is_taken(host, store):
    client = served(host, limits=Limits(max_inputs=1))
    assert (await client.post(f"/model/{ALIAS}/batch", {"inputs": ["a", "b"]})).status_code == 422
    body = {"input": "a", "config": {"configurable": {"base_url": "http://evil"}}}
    assert (await client.post(f"/model/{ALIAS}/invoke", body)).status_code == 422
    assert host.requests == []


async def test_a_chat_model_is_made_once(host, store):
    made = []

    def open_model(model):
        made.append(model.model)
        return ChatOpenAI(model=model.model, api_key="x", base_url="http://host/v1")

    app = FastAPI()
    add_model_routes(app, open_model=open_model)
    client = Client(app)
    for _ in range(3):
        await client.get(f"/model/{ALIAS}/v1/models")
    assert made == ["ft:one"]


def test_messages_are_read_as_langserves_clients_write_them():
    prompt = ChatPromptTemplate.from_messages([("system", "s"), ("human", "h")]).invoke({})
    assert messages_of(prompt.model_dump()) == [SystemMessage("s"), HumanMessage("h")]
    call = {"name": "f", "args": {"a": 1}, "id": "1", "type": "tool_call"}
    history = [HumanMessage("h"), AIMessage("", tool_calls=[call]), ToolMessage("8", tool_call_id="1")]
    assert messages_of([message.model_dump() for message in history]) == history
    assert messages_of([["system", "s"], "h"]) == [SystemMessage("s"), HumanMessage("h")]
    assert messages_of([{"role": "user", "content": "h"}]) == [HumanMessage("h")]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "type", "content", "messages", "text", "id"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@given(JSON)
def test_whatever_comes_it_is_messages_or_refused(value):
    try:
        assert messages_of(value)
    except BadRequest:
        return
