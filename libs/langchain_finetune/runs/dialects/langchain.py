"""Runs of LangChain's tracer: every age since 0.0.335, Python and JavaScript, every provider's chat model.

The prompt is `inputs.messages`, a list in a list (flat in what the first servers gave back); the answers are
`outputs.generations`, the same; the schemas stand in `extra.invocation_params`.
"""

from typing import Any, Final

from langchain_finetune.runs.answers import further_answers
from langchain_finetune.runs.call import (
    Call,
    Fields,
    Message,
    SessionFields,
    refuse_unrepeatable,
    schemas,
    session_of,
)
from langchain_finetune.runs.conversation import join_texts, read_conversation
from langchain_finetune.runs.envelope import mapping
from langchain_finetune.runs.finish import refuse_cut_off, refuse_unfinished
from langchain_finetune.runs.messages import read_answer
from langchain_finetune.runs.prompt import unnested
from langchain_finetune.runs.rejections import Reason, Unreadable
from langchain_finetune.runs.response_format import response_format_of
from langchain_finetune.runs.tools import parallel_tool_calls_of

_FINISH_REASONS: Final = ("finish_reason", "stop_reason", "stopReason", "done_reason")


def recognizes(call: Call) -> bool:
    """Say whether the answers are generations."""
    return "generations" in call.outputs


def read(call: Call) -> SessionFields:
    """Read a run of LangChain's tracer.

    Raises:
        Unreadable: It cannot be trained on.
    """
    parameters = call.parameters
    options = mapping(call.extra.get("options"))
    refuse_unrepeatable(parameters)
    generations = _generations(call.outputs)
    answer = _answer(generations[0])
    fields = mapping(mapping(generations[0]["message"]).get("kwargs"))
    response = mapping(fields.get("response_metadata"))
    output = mapping(call.outputs.get("llm_output") or call.outputs.get("llmOutput"))
    return session_of(
        call,
        _prompt(call, response),
        answer,
        candidates=further_answers(generations[1:], _answer),
        schemas=schemas(call, call.inputs),
        parallel_tool_calls=parallel_tool_calls_of(parameters),
        response_format=response_format_of(parameters, options=options),
        models=(
            parameters.get("model"),
            parameters.get("model_name"),
            call.metadata.get("ls_model_name"),
            response.get("model_name"),
        ),
        usages=(fields.get("usage_metadata"), output.get("token_usage") or output.get("tokenUsage")),
    )


def _prompt(call: Call, response: Fields) -> list[Message]:
    inputs, parameters = call.inputs, call.parameters
    if "messages" not in inputs:
        raise Unreadable(Reason.NOT_CHAT_MODEL if "prompts" in inputs else Reason.UNKNOWN_SHAPE)
    elements = inputs["messages"]
    if not isinstance(elements, list):
        raise Unreadable(Reason.UNKNOWN_SHAPE)
    messages = read_conversation(unnested(elements))
    if _is_in_blocks(parameters, response):
        join_texts(messages)
        for message in messages:
            message.pop("name", None)  # neither API takes names: they were not sent
    if isinstance(instructions := parameters.get("instructions"), str) and instructions:
        messages.insert(0, {"role": "system", "content": instructions})
    return messages


def _is_in_blocks(parameters: Fields, response: Fields) -> bool:
    """Say whether the call went over the Responses API, or to Anthropic: there, all content is blocks."""
    kind = parameters.get("_type")
    return response.get("object") == "response" or (isinstance(kind, str) and kind.startswith("anthropic"))


def _generations(outputs: Fields) -> list[Fields]:
    generations = outputs.get("generations")
    if isinstance(generations, list) and generations and isinstance(generations[0], list):
        generations = generations[0]
    if not isinstance(generations, list):
        raise Unreadable(Reason.UNKNOWN_SHAPE)
    if not generations:
        raise Unreadable(Reason.NO_ANSWER)
    for generation in generations:
        if not isinstance(generation, dict):
            raise Unreadable(Reason.UNKNOWN_SHAPE)
    return generations


def _answer(generation: Any) -> Message:
    message = generation.get("message")
    if message is None:
        raise Unreadable(Reason.NOT_CHAT_MODEL)
    details = mapping(generation.get("generation_info") or generation.get("generationInfo"))
    refuse_cut_off(details.get("finish_reason"))
    if response := mapping(mapping(mapping(message).get("kwargs", message)).get("response_metadata")):
        refuse_cut_off(*(response.get(key) for key in _FINISH_REASONS))
        refuse_unfinished(response)
    return read_answer(message)
