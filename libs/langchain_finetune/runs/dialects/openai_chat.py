"""Chat completions as the client got them: `wrap_openai`, the JavaScript one too, and whoever returns them.

The request stands in the inputs as it was sent. Spans of OpenTelemetry that carry events are ingested in this
shape as well: the history's later messages beside the choices, and a choice's tool calls beside its message.
"""

from collections.abc import Mapping
from typing import Any

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
from langchain_finetune.runs.chunks import merged_choices
from langchain_finetune.runs.conversation import read_conversation
from langchain_finetune.runs.finish import refuse_cut_off
from langchain_finetune.runs.prompt import read_prompt, request_of
from langchain_finetune.runs.rejections import Reason, Unreadable
from langchain_finetune.runs.response_format import response_format_of
from langchain_finetune.runs.role_messages import read_role_answer
from langchain_finetune.runs.tools import parallel_tool_calls_of


def recognizes(call: Call) -> bool:
    """Say whether the answers are choices."""
    return "choices" in call.outputs


def read(call: Call) -> SessionFields:
    """Read a chat completion.

    Raises:
        Unreadable: It cannot be trained on.
    """
    choices = call.outputs.get("choices")
    if not isinstance(choices, list):
        raise Unreadable(Reason.UNKNOWN_SHAPE)
    if not choices:
        raise Unreadable(Reason.NO_ANSWER)
    choices = merged_choices(choices)
    answer = _answer(choices[0])
    request = request_of(call.inputs)
    refuse_unrepeatable(request)
    messages = read_prompt(request)
    _add_history(messages, call.outputs.get("messages"))
    return session_of(
        call,
        messages,
        answer,
        candidates=further_answers(choices[1:], _answer),
        schemas=schemas(call, request, call.inputs),
        parallel_tool_calls=parallel_tool_calls_of(request, call.parameters),
        response_format=response_format_of(request),
        models=(
            request.get("model"),
            call.inputs.get("model"),
            call.parameters.get("model"),
            call.outputs.get("model"),
            call.metadata.get("ls_model_name"),
        ),
        usages=(call.outputs.get("usage_metadata"), call.outputs.get("usage")),
    )


def _add_history(messages: list[Message], later: Any) -> None:
    if not isinstance(later, list) or not later:
        return
    # What stood between the questions cannot be told where there was more than one.
    if sum(message["role"] == "user" for message in messages) > 1:
        raise Unreadable(Reason.UNKNOWN_SHAPE)
    messages += read_conversation(later)


def _answer(choice: Any) -> Message:
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        is_completion = isinstance(choice, dict) and isinstance(choice.get("text"), str)
        raise Unreadable(Reason.NOT_CHAT_MODEL if is_completion else Reason.NO_ANSWER)
    refuse_cut_off(choice.get("finish_reason"))
    return read_role_answer(_with_calls(message, choice))


def _with_calls(message: Fields, choice: Mapping[str, Any]) -> Fields:
    calls = choice.get("tool_calls")
    return {**message, "tool_calls": calls} if calls and not message.get("tool_calls") else message
