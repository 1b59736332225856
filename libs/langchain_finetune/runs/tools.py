"""Tool schemas and tool calls in OpenAI chat form, from every place where recorders put them."""

import json
from collections.abc import Mapping
from typing import Any, Final

import orjson

from langchain_finetune.runs.rejections import Reason, Unreadable

ToolCall = dict[str, Any]

_NO_ARGUMENTS: Final = "{}"


def schemas_of(*places: Mapping[str, Any]) -> dict[str, Any]:
    """Return `tools` and `functions`, each from the first place that holds some."""
    tools = next((found for place in places if (found := _objects(place.get("tools")))), None)
    functions = next((found for place in places if (found := _objects(place.get("functions")))), None)
    return {"tools": [_tool(tool) for tool in tools] if tools else None, "functions": functions}


def _objects(value: Any) -> list[dict[str, Any]] | None:
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return value
    return None


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    if isinstance(tool.get("function"), dict):
        return tool
    if not isinstance(tool.get("name"), str):
        raise Unreadable(Reason.BUILTIN_TOOL)
    if isinstance(tool.get("input_schema"), dict):  # Anthropic's form
        return _function(tool, "input_schema")
    if tool.get("type") == "function":  # the flat form of the Responses API
        return _function(tool, "parameters")
    raise Unreadable(Reason.BUILTIN_TOOL)


def _function(tool: dict[str, Any], schema_key: str) -> dict[str, Any]:
    function = {"name": tool["name"]}
    if tool.get("description") is not None:
        function["description"] = tool["description"]
    if tool.get(schema_key) is not None:
        function["parameters"] = tool[schema_key]
    if tool.get("strict") is not None:
        function["strict"] = tool["strict"]
    return {"type": "function", "function": function}


def tool_call(call_id: Any, name: Any, arguments: Any) -> ToolCall:
    """Build a tool call in OpenAI chat form, keys in one order."""
    if not isinstance(name, str) or not isinstance(arguments, str):
        raise Unreadable(Reason.UNKNOWN_MESSAGE)
    return {
        "id": call_id if isinstance(call_id, str) else "",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def openai_tool_call(call: Any) -> ToolCall:
    """Read a tool call in OpenAI chat form; the `index` of a stream is left out."""
    if not isinstance(call, dict) or call.get("type") not in (None, "function"):
        raise Unreadable(Reason.BUILTIN_TOOL if isinstance(call, dict) else Reason.UNKNOWN_MESSAGE)
    function = call.get("function")
    if not isinstance(function, dict):
        raise Unreadable(Reason.UNKNOWN_MESSAGE)
    return tool_call(call.get("id"), function.get("name"), function.get("arguments"))


def function_call(call: Any) -> dict[str, str]:
    """Read a legacy function call."""
    if isinstance(call, dict):
        name, arguments = call.get("name"), call.get("arguments")
        if isinstance(name, str) and isinstance(arguments, str):
            return {"name": name, "arguments": arguments}
    raise Unreadable(Reason.UNKNOWN_MESSAGE)


def arguments_text(arguments: Any) -> str:
    """Write parsed arguments as langchain-openai sends them."""
    try:
        return json.dumps(arguments, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as e:
        raise Unreadable(Reason.INVALID_TOOL_ARGUMENTS) from e


def answered(call: dict[str, Any]) -> dict[str, Any]:
    """Return a call of the answer with arguments that are JSON; none at all are an empty object."""
    function = call.get("function", call)
    if not function["arguments"].strip():
        function["arguments"] = _NO_ARGUMENTS
        return call
    try:
        is_object = isinstance(orjson.loads(function["arguments"]), dict)
    except orjson.JSONDecodeError:
        is_object = False
    if not is_object:
        raise Unreadable(Reason.INVALID_TOOL_ARGUMENTS)
    return call
