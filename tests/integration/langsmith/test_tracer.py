"""What LangChain's real tracer sends from an app is what the loader reads back."""

import json

import httpx2
import langsmith
import pytest
from langchain_core.tracers.langchain import LangChainTracer
from langchain_openai import ChatOpenAI

from langchain_finetune import LangSmithRunChatLoader
from langchain_finetune._spool import read_jsonl
from tests.fakes.langsmith_host import KEY, NEW, OLD, langsmith_host
from tests.fakes.recorded_runs import CALCULATOR

CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "Calculator", "arguments": '{"num1": 56, "num2": 7}'},
}


@pytest.fixture(params=[OLD, NEW], ids=["v1", "v2"])
def host(request):
    with langsmith_host(info=request.param) as host:
        yield host


class Model:
    """The model's host, and what it was sent."""

    def __init__(self):
        self.requests = []
        self.http_client = httpx2.Client(transport=httpx2.MockTransport(self._answer))

    def _answer(self, request):
        self.requests.append(json.loads(request.content))
        message = {"role": "assistant", "content": None, "tool_calls": [CALL]}
        return httpx2.Response(
            200,
            json={
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1,
                "model": "gpt-4o-mini",
                "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
                "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
            },
        )


def test_what_the_tracer_sends_is_what_the_loader_reads(host):
    client = langsmith.Client(api_url=host.url, api_key=KEY)
    model = Model()
    app = ChatOpenAI(model="gpt-4o-mini", api_key="x", http_client=model.http_client).bind_tools([CALCULATOR])
    tracer = LangChainTracer(client=client, project_name="my-app")
    run_ids = [langsmith.uuid7(), langsmith.uuid7()]
    for run_id, question in zip(run_ids, ("What's 56/7?", "Wie viel ist 56/7? äöü 🧮"), strict=True):
        app.invoke(
            [("system", "You are an accounting assistant."), ("user", question)],
            config={
                "callbacks": [tracer],
                "metadata": {"session_id": "t1"},
                "tags": ["prod"],
                "run_id": run_id,
            },
        )
    client.flush()
    fix = {"score": 1, "correction": {"content": "8"}}
    client.create_feedback(run_id, "user_score", session_id=host.project_id, **fix)
    loader = LangSmithRunChatLoader(client=client, project_name="my-app", tags=["prod"], corrections="prefer")
    newest, oldest = read_jsonl(loader.invoke({}).path)
    for session, sent in ((oldest, model.requests[0]), (newest, model.requests[1])):
        assert session["messages"] == sent["messages"]
        assert session["tools"] == sent["tools"]
        assert session["answer"]["tool_calls"][0]["function"]["name"] == "Calculator"
        assert (session["thread_id"], session["tags"]) == ("t1", ["prod"])
    assert newest["correction"] == {"role": "assistant", "content": "8"}
    rated = loader.invoke({"feedback": {"user_score": 1}})
    assert [row["run_id"] for row in read_jsonl(rated.path)] == [str(run_id)]
    client.close()
