"""Calls that an application records itself: `@traceable(run_type="llm")`, `trace`, `RunTree`.

Inputs are the function's arguments under their own names; outputs are whatever it returned: a message or a
list of them, OpenAI's or LangChain's, a pair of role and text, a text, or the pieces of one.
"""

from typing import Any, Final

from langchain_finetune.runs.call import (
    Call,
    Fields,
    Message,
    SessionFields,
    refuse_unrepeatable,
    schemas,
    session_of,
)
from langchain_finetune.runs.conversation import is_pair, read_conversation
from langchain_finetune.runs.envelope import mapping
from langchain_finetune.runs.finish import refuse_cut_off
from langchain_finetune.runs.messages import is_langchain_message, read_answer
from langchain_finetune.runs.prompt import read_prompt, request_of, unnested
from langchain_finetune.runs.rejections import Reason, Unreadable
from langchain_finetune.runs.response_format import response_format_of
from langchain_finetune.runs.role_messages import read_role_answer
from langchain_finetune.runs.tools import parallel_tool_calls_of

_PLACES: Final = ("message", "messages", "output")
_TEXTS: Final = (
    "completion",
    "text",
    "answer",
    "response",
    "result",
    "generated_text",
    "output_text",
    "reply",
)


def recognizes(call: Call) -> bool:  # noqa: ARG001  # the last dialect: every shape is one that somebody made
    """Say yes: what no other dialect recognizes is searched for a message."""
    return True


def read(call: Call) -> SessionFields:
    """Read a call that an application recorded itself.

    Raises:
        Unreadable: It cannot be trained on.
    """
    outputs = call.outputs
    request = request_of(call.inputs)
    refuse_unrepeatable(request, call.parameters)
    refuse_cut_off(outputs.get("finish_reason"), outputs.get("stop_reason"))
    messages = read_prompt(request)
    found = _found(outputs)
    records = _new(found, request, messages) if isinstance(found, list) else [found]
    answers = [_answer(record) for record in records]
    return session_of(
        call,
        messages,
        answers[0],
        candidates=answers[1:],
        schemas=schemas(call, request, call.inputs),
        parallel_tool_calls=parallel_tool_calls_of(request, call.parameters),
        response_format=response_format_of(request),
        models=(
            request.get("model"),
            call.inputs.get("model"),
            call.parameters.get("model"),
            outputs.get("model"),
            call.metadata.get("ls_model_name"),
        ),
        usages=(outputs.get("usage_metadata"), outputs.get("usage"), mapping(found).get("usage_metadata"))
        if isinstance(found, dict)
        else (outputs.get("usage_metadata"), outputs.get("usage")),
    )


def _found(outputs: Fields) -> Any:
    """Return what holds the answer: a message, a list that ends with it, or a text."""
    if "role" in outputs or is_langchain_message(outputs):
        return outputs
    if isinstance(outputs.get("content"), str | list) or outputs.get("tool_calls"):
        return {"role": "assistant", **outputs}
    for key in _PLACES:
        if (value := outputs.get(key)) is not None:
            return _pieces(value) if isinstance(value, list) else value
    for key in _TEXTS:
        if isinstance(value := outputs.get(key), str):
            return value
    texts = [value for value in outputs.values() if isinstance(value, str)]
    if len(texts) == 1:
        return texts[0]
    is_empty = all(value is None for value in outputs.values())
    raise Unreadable(Reason.NO_ANSWER if is_empty else Reason.UNKNOWN_SHAPE)


def _pieces(values: list[Any]) -> Any:
    if is_pair(values):  # before the pieces of a text, which may also be two
        return values
    if values and all(isinstance(value, str) for value in values):
        return "".join(values)
    return values


def _new(values: list[Any], request: Fields, messages: list[Message]) -> list[Any]:
    """Return the records of the answer and of further candidates; what stands before joins the prompt."""
    if is_pair(values):
        return [values]
    if not values:
        raise Unreadable(Reason.NO_ANSWER)
    values = unnested(values)
    prompt = request.get("messages")
    sent = unnested(prompt) if isinstance(prompt, list) and prompt else []
    new = values[len(sent) :] if sent and values[: len(sent)] == sent else values
    if not new:
        raise Unreadable(Reason.NO_ANSWER)
    if len(new) > 1:
        earlier = read_conversation(new[:-1])
        if all(message["role"] == "assistant" and "tool_calls" not in message for message in earlier):
            return new  # OpenTelemetry's completions: several answers to one prompt
        messages += earlier
    return new[-1:]


def _answer(record: Any) -> Message:
    if isinstance(record, str):
        return read_role_answer({"content": record})
    if is_pair(record):
        record = dict(zip(("role", "content"), record, strict=True))
    if not isinstance(record, dict):
        raise Unreadable(Reason.UNKNOWN_SHAPE)
    if is_langchain_message(record):
        response = mapping(mapping(record.get("kwargs", record)).get("response_metadata"))
        refuse_cut_off(response.get("finish_reason"), response.get("stop_reason"))
        return read_answer(record)
    refuse_cut_off(record.get("finish_reason"), record.get("stop_reason"))
    return read_role_answer(record)
