"""The large model, played by a script: a real `ChatOpenAI` whose host needs no network."""

import json
import re
from typing import Any

import httpx
from langchain_openai import ChatOpenAI


def teacher() -> ChatOpenAI:
    """Return the large model."""
    client = httpx.Client(transport=httpx.MockTransport(_complete))
    return ChatOpenAI(model="gpt-4.1", api_key="none", http_client=client, max_retries=0)


def answer(body: dict[str, Any]) -> dict[str, Any]:
    """Return the assistant's message to a chat request: the next tool to call, `DONE`, or the reply."""
    last = body["messages"][-1]
    if not body.get("tools"):
        told = next(message for message in reversed(body["messages"]) if message["role"] == "tool")
        return {"role": "assistant", "content": f"Good news: {told['content']}."}
    if last["role"] == "user":
        return _call("find_order", order=_number(last["content"]))
    if parcel := re.search(r"sent with parcel (\d+)", last["content"]):
        return _call("find_parcel", parcel=int(parcel[1]))
    return {"role": "assistant", "content": "DONE"}


def _call(name: str, **arguments: int) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    calls = [{"id": f"call_{name}", "type": "function", "function": function}]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def _number(text: str) -> int:
    return int(re.findall(r"\d+", text)[0])


def _complete(request: httpx.Request) -> httpx.Response:
    message = answer(json.loads(request.content))
    reason = "tool_calls" if message.get("tool_calls") else "stop"
    choice = {"index": 0, "message": message, "finish_reason": reason}
    usage = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}
    completion = {"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4.1"}
    return httpx.Response(200, json={**completion, "choices": [choice], "usage": usage})
