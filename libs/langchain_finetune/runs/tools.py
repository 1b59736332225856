"""Tool schemas and tool calls in OpenAI chat form, from every place and wire where recorders put them."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from langchain_finetune._parsing import loads
from langchain_finetune.runs.bounds import refuse_deep
from langchain_finetune.runs.content import unescape
from langchain_finetune.runs.rejections import Reason, Unreadable

ToolCall = dict[str, Any]
Tool = dict[str, Any]

_DECLARATIONS: Final = frozenset({"function_declarations", "functionDeclarations"})
_NO_ARGUMENTS: Final = "{}"
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_COMPACT_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


# --- schemas --------------------------------------------------------------------------------------------


def schemas_of(*places: Mapping[str, Any]) -> dict[str, Any]:
    """Return `tools` and `functions`, each from the first place that holds some.

    Raises:
        Unreadable: A tool has no JSON schema, or the schemas are nested too deeply.
    """
    tools = functions = None
    for place in places:
        if tools is None and (found := place.get("tools")):
            tools = tools_of(found)
        if functions is None and (found := place.get("functions")):
            functions = _objects(found)
            refuse_deep(functions)
    return {"tools": tools, "functions": functions}


def tools_of(value: Any) -> list[Tool] | None:
    """Return tool schemas of any wire in OpenAI chat form; None where there are none.

    Raises:
        Unreadable: A tool has no JSON schema, or the schemas are nested too deeply.
    """
    tools: list[Tool] = []
    for schema in _objects(value):
        if isinstance(schema.get("function"), dict) and _DECLARATIONS.isdisjoint(schema):
            tools.append(schema)  # in chat form already
        else:
            tools += _tools(schema)
    refuse_deep(tools)
    return tools or None


def _objects(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, str):  # spans carry JSON as a text
        try:
            value = loads(value)
        except (ValueError, RecursionError) as e:
            raise Unreadable(Reason.BUILTIN_TOOL) from e
    if not isinstance(value, list):
        raise Unreadable(Reason.BUILTIN_TOOL)
    for item in value:
        if not isinstance(item, dict):
            raise Unreadable(Reason.BUILTIN_TOOL)
    return value


def _tools(tool: dict[str, Any]) -> Iterator[Tool]:
    declarations = tool.get("function_declarations") or tool.get("functionDeclarations")
    if isinstance(declarations, list):  # Gemini's form: a tool is a list of functions
        for declaration in _objects(declarations):
            yield _tool({**declaration, "type": "function"})
    else:
        yield _tool(tool)


def _tool(tool: dict[str, Any]) -> Tool:
    if isinstance(tool.get("function"), dict):
        return tool
    if isinstance(spec := tool.get("toolSpec"), dict):  # Bedrock's form
        schema = spec.get("inputSchema")
        tool = {**spec, "input_schema": schema.get("json") if isinstance(schema, dict) else None}
    if not isinstance(tool.get("name"), str):
        raise Unreadable(Reason.BUILTIN_TOOL)
    if isinstance(tool.get("input_schema"), dict):  # Anthropic's form
        return _function(tool, "input_schema")
    if tool.get("type") == "function":  # the flat form of the Responses API
        return _function(tool, "parameters")
    raise Unreadable(Reason.BUILTIN_TOOL)


def _function(tool: dict[str, Any], schema_key: str) -> Tool:
    function = {"name": tool["name"]}
    if tool.get("description") is not None:
        function["description"] = tool["description"]
    if tool.get(schema_key) is not None:
        function["parameters"] = tool[schema_key]
    if tool.get("strict") is not None:
        function["strict"] = tool["strict"]
    return {"type": "function", "function": function}


def parallel_tool_calls_of(*places: Mapping[str, Any]) -> bool | None:
    """Return the switch for parallel calls: OpenAI's own, or Anthropic's within the choice of tools."""
    for place in places:
        if isinstance(value := place.get("parallel_tool_calls"), bool):
            return value
        choice = place.get("tool_choice")
        if isinstance(choice, dict) and isinstance(off := choice.get("disable_parallel_tool_use"), bool):
            return not off
    return None


# --- calls ----------------------------------------------------------------------------------------------


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
    """Read a tool call in OpenAI chat form; the `index` of a stream is left out.

    LangChain's own form is read too: applications return it beside OpenAI's roles.
    """
    if not isinstance(call, dict):
        raise Unreadable(Reason.UNKNOWN_MESSAGE)
    function = call.get("function")
    if function is None and "args" in call:
        return parsed_call(call)
    if call.get("type") not in (None, "function", "tool_call"):
        raise Unreadable(Reason.BUILTIN_TOOL)
    if not isinstance(function, dict):
        raise Unreadable(Reason.UNKNOWN_MESSAGE)
    arguments = function.get("arguments")
    if isinstance(arguments, dict):  # Ollama's form
        arguments = arguments_text(arguments)
    return tool_call(call.get("id"), function.get("name"), arguments)


def parsed_call(call: Any, raw: Mapping[str, str] | None = None) -> ToolCall:
    """Read a tool call whose arguments were parsed; their original text is taken from `raw` by call id."""
    if not isinstance(call, dict):
        raise Unreadable(Reason.UNKNOWN_MESSAGE)
    call_id = call.get("id")
    text = raw.get(call_id) if raw and isinstance(call_id, str) else None
    return tool_call(call_id, call.get("name"), text or arguments_text(unescape(call.get("args"))))


def call_of_block(block: Mapping[str, Any]) -> ToolCall:
    """Read a content block that is a tool call: Anthropic's, the Responses API's or LangChain's v1."""
    kind, name = block.get("type"), block.get("name")
    if kind == "tool_use":
        written = block.get("partial_json")  # what a stream carries; `input` is empty then
        given = written if isinstance(written, str) else block.get("input")
        return tool_call(block.get("id"), name, given if isinstance(given, str) else arguments_text(given))
    if kind == "function_call":
        arguments = block.get("arguments")
        if arguments is None:
            arguments = arguments_text(block.get("args"))
        return tool_call(block.get("call_id") or block.get("id"), name, arguments)
    if kind == "invalid_tool_call":
        return tool_call(block.get("id"), name, block.get("args"))
    if kind == "tool_call":
        return parsed_call(block)
    raise Unreadable(Reason.UNKNOWN_MESSAGE)


def function_call(call: Any) -> dict[str, str]:
    """Read a legacy function call."""
    if isinstance(call, dict):
        name, arguments = call.get("name"), call.get("arguments")
        if isinstance(name, str) and isinstance(arguments, str):
            return {"name": name, "arguments": arguments}
    raise Unreadable(Reason.UNKNOWN_MESSAGE)


def arguments_text(arguments: Any, *, is_compact: bool = False) -> str:
    """Write parsed arguments as langchain-openai sends them; compact ones to the Responses API."""
    try:
        return (_COMPACT_ENCODER if is_compact else _ENCODER).encode(arguments)
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
