"""A small LangChain application to record, and LangSmith's own tracer to record it beside."""

import itertools
import json
import re
from typing import Any

import httpx
import langsmith
import requests
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.tracers import LangChainTracer
from langchain_openai import ChatOpenAI

from tests.fakes.recorded_runs import CALCULATOR

TIMES = re.compile(r"\d{8}T\d{12}Z|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:\+00:00)?")


def echo_chain() -> Runnable[str, Any]:
    """Return a chain of a function and a model that always says hello."""
    model = GenericFakeChatModel(messages=itertools.cycle([AIMessage("hello")]))
    return RunnableLambda(lambda text: text).with_config(run_name="echo") | model


def broken_chain() -> Runnable[str, Any]:
    """Return a chain whose model's host answers with an error."""
    return RunnableLambda(lambda text: text) | chat_openai(status=400)


def chat_openai(status: int = 200, **settings: Any) -> ChatOpenAI:
    """Return a real ChatOpenAI whose host, which needs no socket, calls a tool."""
    call = {"name": "Calculator", "arguments": '{"num1": 1, "num2": 2}'}
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_1", "type": "function", "function": call}],
    }
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini", "usage": usage}
    answer["choices"] = [{"index": 0, "message": message, "finish_reason": "tool_calls"}]
    client = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(status, json=answer)))
    return ChatOpenAI(model="gpt-4o-mini", api_key="sk-secret", http_client=client, max_retries=0, **settings)


def tool_chain() -> Runnable[Any, Any]:
    """Return a chain around a ChatOpenAI with tools."""
    return RunnableLambda(lambda text: text) | chat_openai().bind_tools([CALCULATOR])


class SentRuns(requests.Session):
    """A session under a real langsmith client: keeps the runs as LangSmith would have them."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: dict[str, dict[str, Any]] = {}

    def request(self, method: Any, url: Any, *_: Any, data: Any = None, **__: Any) -> requests.Response:
        """Take in a run."""
        body = json.loads(data)
        begun = self.runs.setdefault(body["id"], {})
        for key, value in body.items():
            if value is not None or key not in begun:
                begun[key] = value
        response = requests.Response()
        response.status_code = 202
        response._content = b"{}"
        return response

    def tracer(self, **settings: Any) -> LangChainTracer:
        """Return LangSmith's own tracer, sending to here."""
        client = langsmith.Client(
            "http://langsmith.invalid", api_key="k", session=self, auto_batch_tracing=False, info={}
        )
        return LangChainTracer(client=client, **settings)


def timeless(run: dict[str, Any]) -> Any:
    """Return a run without its times: each tracer reads the clock itself."""
    return json.loads(TIMES.sub("T", json.dumps(run)))
