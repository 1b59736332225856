"""From a request to what the engine is to do. Pure."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from llguidance import LLMatcher

from finetune_server.chat.choice import ToolUse, tool_use
from finetune_server.chat.request import ChatRequest, check_parameters
from finetune_server.errors import ApiError
from finetune_server.inference.completion import CompletionRequest, EngineFacts, Sampling
from finetune_server.rendering.grammar import answer_grammar, parameters_of, schema_grammar
from finetune_server.rendering.messages import UnreadableMessageError
from finetune_server.rendering.render import END_OF_TURN, Segment, render_prompt_segments
from finetune_server.rendering.tool_calls import CLOSING

DEFAULT_MAX_TOKENS = 2048
"""Of an answer whose request sets no bound: a small model that does not end would go on for minutes."""

_ANY_OBJECT: Mapping[str, Any] = {"type": "object"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to answer a request."""

    segments: tuple[Segment, ...]
    """The prompt."""
    tools: ToolUse
    grammar: str | None
    stop: tuple[str, ...]
    sampling: Sampling
    num_logprobs: int | None
    max_tokens: int
    num_choices: int


def plan_answer(request: ChatRequest) -> Plan:
    """Decide how to answer a request.

    Raises:
        ApiError: The request asks for what this server or a text model cannot do.
    """
    check_parameters(request)
    tools = tool_use(request)
    return Plan(
        segments=_segments(request, tools),
        tools=tools,
        grammar=_grammar(request, tools),
        stop=_stop(request, tools),
        sampling=_sampling(request),
        num_logprobs=(request.top_logprobs or 0) if request.logprobs else None,
        max_tokens=request.max_completion_tokens or request.max_tokens or DEFAULT_MAX_TOKENS,
        num_choices=request.n or 1,
    )


def check_engine(request: ChatRequest, facts: EngineFacts) -> None:
    """Refuse what the engine of this model cannot do.

    Raises:
        ApiError: It names the parameter.
    """
    for name in sorted(facts.unsupported):
        if getattr(request, name):
            message = (
                f"Unsupported parameter: '{name}' is not supported with this model, which the {facts.name} "
                "engine serves. Leave it out."
            )
            raise ApiError(400, message, param=name, code="unsupported_parameter")


def completion_requests(plan: Plan, prompt: tuple[int, ...], facts: EngineFacts) -> list[CompletionRequest]:
    """Return one request to the engine for each choice.

    Raises:
        ApiError: The prompt leaves no room for an answer.
    """
    room = facts.context_length - len(prompt)
    if room < 1:
        message = (
            f"This model's maximum context length is {facts.context_length} tokens. However, your messages "
            f"resulted in {len(prompt)} tokens. Please reduce the length of the messages."
        )
        raise ApiError(400, message, param="messages", code="context_length_exceeded")
    return [
        CompletionRequest(
            prompt=prompt,
            max_tokens=min(plan.max_tokens, room),
            sampling=_of_choice(plan.sampling, index),
            stop=plan.stop,
            grammar=plan.grammar,
            num_logprobs=plan.num_logprobs,
        )
        for index in range(plan.num_choices)
    ]


def _segments(request: ChatRequest, tools: ToolUse) -> tuple[Segment, ...]:
    try:
        return tuple(render_prompt_segments(request.messages, tools.offered))
    except UnreadableMessageError as error:
        raise unreadable(error, is_legacy=tools.is_legacy) from error


def unreadable(error: UnreadableMessageError, *, is_legacy: bool = False) -> ApiError:
    """Return the answer for messages or tools that cannot be rendered."""
    message, param = str(error), error.param
    if is_legacy and param.startswith("tools["):
        # A legacy function has its keys where a tool has those of its `function`.
        message, param = (
            text.replace(".function", "").replace("tools[", "functions[") for text in (message, param)
        )
    return ApiError(400, message, param=param, code="invalid_value")


def _grammar(request: ChatRequest, tools: ToolUse) -> str | None:
    schema, is_strict = _answer_schema(request)
    grammar = answer_grammar(
        tools=tools.callable_now,
        calls=tools.calls,
        is_single_call=tools.is_single_call,
        schema=schema,
        is_strict=is_strict,
    )
    # llama.cpp leaves out a grammar that it cannot read, and says so in its log only.
    if grammar is None or not _grammar_fault(grammar):
        return grammar
    if schema is not None:
        _check_schema(schema, "response_format.json_schema.schema", is_strict=is_strict)
    for tool in tools.callable_now:
        function = tool["function"]
        is_strict = bool(function.get("strict"))
        _check_schema(parameters_of(function), _place_of(tool, tools), is_strict=is_strict)
    message = f"The tools and the response format cannot be enforced together: {_grammar_fault(grammar)}."
    raise ApiError(400, message, param="tools", code="invalid_value")


def _answer_schema(request: ChatRequest) -> tuple[Mapping[str, Any] | None, bool]:
    wanted = request.response_format
    if wanted is None or wanted.type == "text":
        return None, False
    if wanted.type == "json_object":
        return _ANY_OBJECT, False
    if wanted.json_schema is None:
        message = "Missing required parameter: 'response_format.json_schema'."
        raise ApiError(400, message, param="response_format", code="missing_required_parameter")
    schema = wanted.json_schema.schema_
    return (_ANY_OBJECT if schema is None else schema), bool(wanted.json_schema.strict)


def _place_of(tool: Mapping[str, Any], tools: ToolUse) -> str:
    index = next(index for index, offered in enumerate(tools.offered) if offered is tool)
    return f"functions[{index}].parameters" if tools.is_legacy else f"tools[{index}].function.parameters"


def _check_schema(schema: Mapping[str, Any], param: str, *, is_strict: bool) -> None:
    fault = _grammar_fault(schema_grammar(schema, is_strict=is_strict))
    if fault:
        message = f"Invalid schema for '{param}': {fault}."
        raise ApiError(400, message, param=param, code="invalid_json_schema")


@functools.lru_cache(maxsize=64)
def _grammar_fault(grammar: str) -> str:
    """Return why the grammar cannot be followed, empty when it can."""
    first_line = LLMatcher.validate_grammar(grammar).partition("\n")[0]
    return str(first_line.partition("failed to compile JSON schema: ")[2] or first_line)


def _stop(request: ChatRequest, tools: ToolUse) -> tuple[str, ...]:
    stop = [request.stop] if isinstance(request.stop, str) else request.stop or []
    # A vocabulary in which the end of a turn is no token of its own needs it as a text.
    ends = [END_OF_TURN, CLOSING] if tools.calls != "none" and tools.is_single_call else [END_OF_TURN]
    return (*(text for text in stop if text), *ends)


def _sampling(request: ChatRequest) -> Sampling:
    return Sampling(
        temperature=1.0 if request.temperature is None else request.temperature,
        top_p=1.0 if request.top_p is None else request.top_p,
        seed=request.seed,
        presence_penalty=request.presence_penalty or 0.0,
        frequency_penalty=request.frequency_penalty or 0.0,
        logit_bias=request.logit_bias or {},
    )


def _of_choice(sampling: Sampling, index: int) -> Sampling:
    """Return the sampling of one choice: the same seed would write the same answer each time."""
    return sampling if sampling.seed is None else replace(sampling, seed=sampling.seed + index)
