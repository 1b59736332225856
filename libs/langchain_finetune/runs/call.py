"""One call of a model as a dialect gets it, and the session that it becomes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from langchain_finetune.handles import SPOOL_VERSION
from langchain_finetune.runs.bounds import refuse_deep, refuse_deep_values, refuse_large
from langchain_finetune.runs.envelope import (
    extra_of,
    feedback_of,
    mapping,
    node_of,
    own_metadata,
    tags_of,
    thread_id_of,
    trace_id_of,
    usage_of,
)
from langchain_finetune.runs.reasoning import take_reasoning
from langchain_finetune.runs.rejections import Reason, Unreadable
from langchain_finetune.runs.spans import TOOLS
from langchain_finetune.runs.tools import schemas_of, tools_of

_UNREPEATABLE: Final = frozenset({"conversation", "previous_response_id", "web_search_options"})

Fields = Mapping[str, Any]
Message = dict[str, Any]

SessionFields = dict[str, Any]
"""All fields of a `RecordedSession`, in their order: what is written needs no object first."""


@dataclass(slots=True)  # one a run: a frozen one takes three times as long to make
class Call:
    """What a recorder wrote down of a call."""

    run_id: str
    run: Fields
    inputs: Fields
    outputs: Fields
    extra: Fields
    parameters: Fields
    """`extra.invocation_params`: what LangChain's tracer keeps of the request."""
    metadata: Fields


def call_of(run_id: str, run: Fields, inputs: Fields, outputs: Fields) -> Call:
    """Return the call of a run."""
    extra = extra_of(run)
    parameters = mapping(extra.get("invocation_params"))
    return Call(run_id, run, inputs, outputs, extra, parameters, mapping(extra.get("metadata")))


def refuse_unrepeatable(*requests: Fields) -> None:
    """Refuse a request whose history, or whose search, lies at the model's host.

    Raises:
        Unreadable: It continues a stored response or conversation, or searches the web.
    """
    for request in requests:
        if _UNREPEATABLE.isdisjoint(request):  # as in most
            continue
        conversation = request.get("conversation")  # an id, or an object with one; a list is messages
        if request.get("previous_response_id") or (conversation and isinstance(conversation, str | dict)):
            raise Unreadable(Reason.PREVIOUS_RESPONSE_ID)
        if request.get("web_search_options"):
            raise Unreadable(Reason.BUILTIN_TOOL)


def schemas(call: Call, *requests: Fields) -> dict[str, Any]:
    """Return `tools` and `functions`: the tracer's, the request's, those of LangChain's options, the span's.

    Raises:
        Unreadable: A tool has no JSON schema, or the schemas are nested too deeply.
    """
    found = schemas_of(call.parameters, *requests, mapping(call.extra.get("options")))
    if found["tools"] is None and TOOLS in call.metadata:
        found["tools"] = tools_of(call.metadata[TOOLS])
    return found


def session_of(  # noqa: PLR0913  # a field of the session each
    call: Call,
    messages: list[Message],
    answer: Message,
    *,
    candidates: list[Message],
    schemas: dict[str, Any],
    models: Iterable[Any],
    usages: Iterable[Any] = (),
    response_format: dict[str, Any] | None = None,
    parallel_tool_calls: bool | None = None,
    turn_tools: list[list[str]] | None = None,
) -> SessionFields:
    """Return the session of a call: what the dialect read, and what stands around it.

    Raises:
        Unreadable: It is empty, too large or too deep.
    """
    if not messages:
        raise Unreadable(Reason.HIDDEN_INPUTS)
    reasoning = take_reasoning(messages, answer)
    for candidate in candidates:
        take_reasoning([], candidate)
    refuse_large([*messages, answer, *candidates])
    metadata = own_metadata(call.metadata, call.parameters)
    refuse_deep_values(metadata)
    if response_format:
        refuse_deep(response_format)
    return {
        "run_id": call.run_id,
        "messages": messages,
        "answer": answer,
        "correction": None,
        "candidates": candidates,
        "reasoning": reasoning,
        "tools": schemas["tools"],
        "turn_tools": turn_tools,
        "functions": schemas["functions"],
        "parallel_tool_calls": parallel_tool_calls,
        "response_format": response_format,
        "model": _first_name(models),
        "usage": usage_of(*usages, call.run),
        "trace_id": trace_id_of(call.run),
        "thread_id": thread_id_of(call.run, call.metadata),
        "node": node_of(call.metadata),
        "tags": tags_of(call.run),
        "metadata": metadata,
        "feedback": feedback_of(call.run),
        "version": SPOOL_VERSION,
    }


def _first_name(names: Iterable[Any]) -> str | None:
    for name in names:
        if name and isinstance(name, str):
            return name
    return None
