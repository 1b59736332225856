"""A span of OpenTelemetry as a run: LangSmith's SDK, the GenAI conventions, OpenLLMetry, OpenInference.

Attributes are flat: a JSON text (`gen_ai.prompt`, `input.value`, `gen_ai.input.messages`), or one attribute a
field (`gen_ai.prompt.0.content`, `llm.input_messages.0.message.content`).
"""

from collections.abc import Mapping
from typing import Any, Final

from langchain_finetune._parsing import loads
from langchain_finetune.runs.bounds import refuse_many
from langchain_finetune.runs.rejections import Reason, Unreadable

Attributes = Mapping[Any, Any]

TOOLS: Final = "gen_ai.tool.definitions"
COMPLETIONS: Final = ("gen_ai.completion.", "llm.output_messages.")
_PROMPTS: Final = ("gen_ai.prompt.", "llm.input_messages.")
_OPERATIONS: Final = frozenset({"chat", "generate_content", "text_completion"})
_METADATA: Final = "langsmith.metadata."
_OF_A_RUN: Final = ("inputs", "outputs", "extra", "run_type")
_VALUES: Final = ("stringValue", "intValue", "doubleValue", "boolValue")


def is_span(record: Mapping[str, Any]) -> bool:
    """Say whether a record is a span and no run."""
    return "attributes" in record and record.keys().isdisjoint(_OF_A_RUN)


def run_of_span(span: Mapping[str, Any]) -> dict[str, Any]:
    """Return a span as a run of LangSmith.

    Raises:
        Unreadable: It is no call of a model.
    """
    attributes = attributes_of(span.get("attributes"))
    if not _is_model_call(attributes):
        raise Unreadable(Reason.NOT_AN_LLM_RUN)
    status = span.get("status")
    code = status.get("status_code", status.get("code")) if isinstance(status, dict) else None
    metadata = {
        key[len(_METADATA) :]: value for key, value in attributes.items() if key.startswith(_METADATA)
    }
    return {
        "id": span_id_of(span),
        "trace_id": span.get("trace_id") or span.get("traceId"),
        "run_type": "llm",
        "end_time": span.get("end_time") or span.get("endTimeUnixNano") or "unknown",
        "error": "error" if code in ("ERROR", "STATUS_CODE_ERROR", 2) else None,
        "inputs": inputs_of(attributes),
        "outputs": outputs_of(attributes),
        "extra": {"metadata": metadata, "invocation_params": _parameters(attributes)},
        "total_tokens": attributes.get("gen_ai.usage.total_tokens"),
        "prompt_tokens": attributes.get("gen_ai.usage.input_tokens"),
        "completion_tokens": attributes.get("gen_ai.usage.output_tokens"),
    }


def span_id_of(span: Mapping[str, Any]) -> Any:
    """Return the id under which a span is known."""
    context = span.get("context")
    places = (span, context if isinstance(context, dict) else {})
    names = ("id", "span_id", "spanId")
    return next((value for place in places for name in names if (value := place.get(name))), None)


def attributes_of(value: Any) -> dict[str, Any]:
    """Return attributes as a mapping, also from the list of keys and values that OTLP's JSON has."""
    if isinstance(value, dict):
        return {key: each for key, each in value.items() if isinstance(key, str)}
    attributes: dict[str, Any] = {}
    for pair in value if isinstance(value, list) else ():
        if isinstance(pair, dict) and isinstance(key := pair.get("key"), str):
            held = pair.get("value")
            if isinstance(held, dict):
                held = next((held[kind] for kind in _VALUES if kind in held), None)
            attributes[key] = held
    return attributes


def _is_model_call(attributes: Attributes) -> bool:
    kind = attributes.get("langsmith.span.kind") or attributes.get("openinference.span.kind")
    if isinstance(kind, str):
        return kind.lower() == "llm"
    operation = attributes.get("gen_ai.operation.name")
    return (isinstance(operation, str) and operation in _OPERATIONS) or "llm.request.type" in attributes


def _parameters(attributes: Attributes) -> dict[str, Any]:
    given = _parsed(attributes.get("llm.invocation_parameters"))
    parameters = dict(given) if isinstance(given, dict) else {}
    if model := attributes.get("gen_ai.request.model") or attributes.get("llm.model_name"):
        parameters["model"] = model
    if tools := _tools(attributes):
        parameters["tools"] = tools
    return parameters


def _tools(attributes: Attributes) -> Any:
    if (definitions := attributes.get(TOOLS)) is not None:
        return _parsed(definitions)
    functions = _indexed(attributes, "llm.request.functions.")
    if functions:
        return [
            {**each, "type": "function", "parameters": _parsed(each.get("parameters"))} for each in functions
        ]
    return [_parsed(_inner(each, "tool").get("json_schema")) for each in _indexed(attributes, "llm.tools.")]


# --- inputs and outputs ---------------------------------------------------------------------------------


def inputs_of(attributes: Attributes) -> dict[str, Any]:
    """Return a span's prompt as a run's inputs; empty where it has none."""
    if messages := _parsed(attributes.get("gen_ai.input.messages")):
        return {"messages": [*_system_instructions(attributes), *_messages_of_parts(messages)]}
    for prefix in _PROMPTS:
        if found := _indexed(attributes, prefix):
            return {"messages": [_message(each) for each in found]}
    return _value(attributes, ("gen_ai.prompt", "input.value"), "input")


def outputs_of(attributes: Attributes) -> dict[str, Any]:
    """Return a span's answers as a run's outputs; empty where it has none."""
    if messages := _parsed(attributes.get("gen_ai.output.messages")):
        return {"choices": [_choice(each) for each in _messages_of_parts(messages)]}
    for prefix in COMPLETIONS:
        if found := _indexed(attributes, prefix):
            return {"choices": [_choice(_message(each)) for each in found]}
    return _value(attributes, ("gen_ai.completion", "output.value"), "text")


def _choice(message: dict[str, Any]) -> dict[str, Any]:
    return {"message": message, "finish_reason": message.get("finish_reason")}


def _value(attributes: Attributes, names: tuple[str, ...], key: str) -> dict[str, Any]:
    value = next((value for name in names if (value := attributes.get(name))), None)
    parsed = _parsed(value)
    if isinstance(parsed, dict):
        return parsed
    if isinstance(parsed, list):
        return {"messages": parsed}
    return {key: value} if isinstance(value, str) else {}


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return loads(value)
    except (ValueError, RecursionError):
        return None


# --- one attribute a field ------------------------------------------------------------------------------


def _indexed(attributes: Attributes, prefix: str) -> list[dict[str, Any]]:
    """Collect `prefix.<number>.<field>` into one object of fields a number."""
    found: dict[int, dict[str, Any]] = {}
    for key, value in attributes.items():
        if isinstance(key, str) and key.startswith(prefix):
            number, _, name = key[len(prefix) :].partition(".")
            if number.isdecimal() and name:
                found.setdefault(int(number[:9]), {})[name] = value
    refuse_many([*found])
    return [found[number] for number in sorted(found)]


def _inner(fields: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the fields below a name, or the fields themselves where the convention does not nest them."""
    prefix = f"{name}."
    inner = {key[len(prefix) :]: value for key, value in fields.items() if key.startswith(prefix)}
    return inner or fields


def _message(flat: dict[str, Any]) -> dict[str, Any]:
    fields = _inner(flat, "message")
    keys = ("role", "content", "name", "tool_call_id", "finish_reason", "refusal")
    message = {key: fields[key] for key in keys if fields.get(key) is not None}
    message.setdefault("role", "assistant")
    content = message.get("content")
    if isinstance(content, str) and content.startswith('[{"'):
        parts = _parsed(content)
        message["content"] = parts if _are_parts(parts) else content
    if parts := [_content_part(_inner(each, "message_content")) for each in _indexed(fields, "contents.")]:
        message["content"] = parts
    if calls := [_tool_call(_inner(each, "tool_call")) for each in _indexed(fields, "tool_calls.")]:
        message["tool_calls"] = calls
    return message


def _are_parts(parts: Any) -> bool:
    return isinstance(parts, list) and all(isinstance(part, dict) and "type" in part for part in parts)


def _content_part(fields: dict[str, Any]) -> dict[str, Any]:
    if fields.get("type") == "image":
        return {"type": "image_url", "image_url": fields.get("image.image.url")}
    return fields


def _tool_call(fields: dict[str, Any]) -> dict[str, Any]:
    function = _inner(fields, "function")
    return {
        "id": fields.get("id"),
        "type": "function",
        "function": {"name": function.get("name"), "arguments": function.get("arguments")},
    }


# --- messages of parts: the GenAI conventions -----------------------------------------------------------


def _system_instructions(attributes: Attributes) -> list[dict[str, Any]]:
    parts = _parsed(attributes.get("gen_ai.system_instructions"))
    return _messages_of_parts([{"role": "system", "parts": parts}]) if parts else []


def _messages_of_parts(messages: Any) -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = []
    for message in messages if isinstance(messages, list) else ():
        parts = message.get("parts") if isinstance(message, dict) else None
        if not isinstance(parts, list):
            read.append(message)
            continue
        blocks = [_block(part) for part in parts]
        results = [block for block in blocks if block.get("role") == "tool"]
        others = [block for block in blocks if block.get("role") != "tool"]
        read += results
        if others or not results:
            finish = {"finish_reason": message["finish_reason"]} if message.get("finish_reason") else {}
            read.append({"role": message.get("role"), "content": _one_text(others), **finish})
    return read


def _block(part: Any) -> dict[str, Any]:
    if not isinstance(part, dict):
        raise Unreadable(Reason.UNKNOWN_MESSAGE)
    kind = part.get("type")
    if kind == "text":
        return {"type": "text", "text": part.get("content")}
    if kind == "reasoning":
        return {"type": "reasoning", "reasoning": part.get("content")}
    if kind == "tool_call":
        arguments = part.get("arguments")
        name = "input" if isinstance(arguments, dict) else "partial_json"
        return {"type": "tool_use", "id": part.get("id"), "name": part.get("name"), name: arguments}
    if kind == "tool_call_response":
        answer = part.get("response", part.get("result"))
        return {"role": "tool", "tool_call_id": part.get("id"), "content": answer}
    return part


def _one_text(blocks: list[dict[str, Any]]) -> Any:
    only = blocks[0] if len(blocks) == 1 else {}
    return only["text"] if only.get("type") == "text" else blocks
