"""What was really sent to a model, over each wire, as OpenAI chat messages and tools."""

import json
from typing import Any


def prompt_of(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the messages of a request body."""
    if "input" in request:
        return list(_of_responses(request))
    if request["model"].startswith("claude"):
        return list(_of_anthropic(request))
    return request["messages"]


def tools_of(request: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Return the tools of a request body in chat form."""
    return [_tool(tool) for tool in request["tools"]] if "tools" in request else None


def canonical(message: dict[str, Any]) -> dict[str, Any]:
    """Write a message so that what says the same is the same.

    An assistant message that only calls has null, absent or empty content. Parsed arguments are an object.
    """
    said = {key: value for key, value in message.items() if key == "content" or value is not None}
    if said.keys() & {"tool_calls", "function_call"}:
        said["content"] = said.get("content") or None
    return said


def with_parsed_arguments(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message whose arguments are objects: Anthropic's wire has no text of them."""
    said = canonical(message)
    if "tool_calls" in said:
        said["tool_calls"] = [
            {**call, "function": {**call["function"], "arguments": json.loads(call["function"]["arguments"])}}
            for call in said["tool_calls"]
        ]
    return said


def _tool(tool):
    if "function" in tool:
        return tool
    keys = {"name": "name", "description": "description", "parameters": "parameters", "strict": "strict"}
    if "input_schema" in tool:
        keys["input_schema"] = "parameters"
    return {"type": "function", "function": {keys[key]: tool[key] for key in tool if key in keys}}


def _of_anthropic(request):
    if "system" in request:
        yield {"role": "system", "content": request["system"]}
    for message in request["messages"]:
        content = message["content"]
        if isinstance(content, str):
            yield message
        elif message["role"] == "assistant":
            said = "".join(block["text"] for block in content if block["type"] == "text")
            calls = [
                _call(block["id"], block["name"], json.dumps(block["input"]))
                for block in content
                if block["type"] == "tool_use"
            ]
            yield {"role": "assistant", "content": said, **({"tool_calls": calls} if calls else {})}
        else:
            assert all(block["type"] == "tool_result" for block in content), "not translated"
            for block in content:
                yield {"role": "tool", "content": block["content"], "tool_call_id": block["tool_use_id"]}


def _of_responses(request):
    if "instructions" in request:
        yield {"role": "system", "content": request["instructions"]}
    if isinstance(request["input"], str):
        yield {"role": "user", "content": request["input"]}
        return
    calls: list[dict[str, Any]] = []
    for item in request["input"]:
        kind = item.get("type", "message")
        if kind != "function_call" and calls:
            yield {"role": "assistant", "content": None, "tool_calls": calls}
            calls = []
        if kind == "message":
            yield {"role": item["role"], "content": _chat_content(item)}
        elif kind == "function_call":
            calls.append(_call(item["call_id"], item["name"], item["arguments"]))
        elif kind == "function_call_output":
            yield {"role": "tool", "content": item["output"], "tool_call_id": item["call_id"]}
        else:
            assert kind == "reasoning", "not translated"


def _chat_content(item):
    content = item["content"]
    if isinstance(content, str):
        return content
    parts = [_chat_part(part) for part in content]
    return "".join(part["text"] for part in parts) if item["role"] == "assistant" else parts


def _chat_part(part):
    if part["type"] == "input_image":
        detail = {"detail": part["detail"]} if "detail" in part else {}
        return {"type": "image_url", "image_url": {"url": part["image_url"], **detail}}
    assert part["type"] in ("input_text", "output_text"), "not translated"
    return {"type": "text", "text": part["text"]}


def _call(call_id, name, arguments):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
