"""Calls of OpenAI's Responses API as the client got them: `wrap_openai`, and the Agents SDK's spans.

The request is `inputs.input`, a text or a list of items, with `instructions` before it; the answer is
`outputs.output`, a list of items, or the events of a stream that nobody put together.
"""

from typing import Any

from langchain_finetune.runs.answers import as_answer
from langchain_finetune.runs.call import Call, Fields, SessionFields, refuse_unrepeatable, schemas, session_of
from langchain_finetune.runs.finish import refuse_unfinished
from langchain_finetune.runs.prompt import request_of
from langchain_finetune.runs.rejections import Reason, Unreadable
from langchain_finetune.runs.response_format import response_format_of
from langchain_finetune.runs.responses_items import Items, is_item, read_output
from langchain_finetune.runs.tools import Tool, parallel_tool_calls_of

_EVENT = "response."
_ENDS = ("response.completed", "response.incomplete", "response.failed")


def recognizes(call: Call) -> bool:
    """Say whether the answer is a response with items, or the events of one."""
    output = call.outputs.get("output")
    if call.outputs.get("object") == "response":
        return True
    return isinstance(output, list) and bool(output) and (is_item(output[0]) or _is_event(output[0]))


def read(call: Call) -> SessionFields:
    """Read a call of the Responses API.

    Raises:
        Unreadable: It cannot be trained on.
    """
    response = _response(call.outputs)
    request = request_of(call.inputs)
    refuse_unrepeatable(request, response)
    if request.get("prompt"):
        raise Unreadable(Reason.HIDDEN_INPUTS)  # a template that is stored at OpenAI
    refuse_unfinished(response)
    items = Items().read(_input(request, response))
    output = response.get("output")
    if not isinstance(output, list):
        raise Unreadable(Reason.NO_ANSWER)
    answer = as_answer(read_output(output))
    found = schemas(call, request, call.inputs, response)
    turn_tools = _add_tools(found, items)
    metadata = call.metadata
    return session_of(
        call,
        items.messages,
        answer,
        candidates=[],
        schemas=found,
        turn_tools=turn_tools,
        parallel_tool_calls=parallel_tool_calls_of(request),
        response_format=response_format_of(response) or response_format_of(request),
        models=(request.get("model"), response.get("model"), metadata.get("ls_model_name")),
        usages=(response.get("usage_metadata"), response.get("usage")),
    )


def _is_event(value: Any) -> bool:
    kind = value.get("type") if isinstance(value, dict) else None
    return isinstance(kind, str) and kind.startswith(_EVENT)


def _response(outputs: Fields) -> Fields:
    output = outputs.get("output")
    if not isinstance(output, list) or not output or not _is_event(output[0]):
        return outputs
    for event in reversed(output):
        if _is_event(event) and event["type"] in _ENDS and isinstance(event.get("response"), dict):
            response: Fields = event["response"]
            return response
    raise Unreadable(Reason.TRUNCATED)


def _input(request: Fields, response: Fields) -> list[Any]:
    given = request.get("input", request.get("messages"))
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if not isinstance(items, list):
        raise Unreadable(Reason.UNKNOWN_SHAPE if request else Reason.HIDDEN_INPUTS)
    if not items or given == "":
        raise Unreadable(Reason.HIDDEN_INPUTS)
    instructions = request.get("instructions") or response.get("instructions")
    if isinstance(instructions, list):
        return [*instructions, *items]
    return [{"role": "system", "content": instructions}, *items] if instructions else items


def _add_tools(found: dict[str, Any], items: Items) -> list[list[str]] | None:
    """Add the tools that came in with the history; return which ones each turn had."""
    if not items.added_tools:
        return None
    tools: list[Tool] = list(found["tools"] or ())
    known = [_name(tool) for tool in tools]
    num_turns = 1 + sum(message["role"] == "assistant" for message in items.messages)
    turns = [list(known) for _ in range(num_turns)]
    for first_turn, added in items.added_tools:
        for tool in added:
            name = _name(tool)
            if name not in known:
                tools.append(tool)
                known.append(name)
            for turn in turns[first_turn:]:
                if name not in turn:
                    turn.append(name)
    found["tools"] = tools or None
    return turns if any(turn != turns[-1] for turn in turns) else None


def _name(tool: Tool) -> str:
    name = tool["function"].get("name")
    return name if isinstance(name, str) else ""
