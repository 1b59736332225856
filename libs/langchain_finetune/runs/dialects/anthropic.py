"""Messages of Anthropic's API as the client got them: `wrap_anthropic`, and whoever returns them.

`system` stands first among the messages, or beside them. The answer's content is a list of blocks; when it
calls tools, `wrap_anthropic` records its text and tool calls in OpenAI's form instead.
"""

from typing import Final

from langchain_finetune.runs.call import Call, SessionFields, schemas, session_of
from langchain_finetune.runs.conversation import join_texts
from langchain_finetune.runs.finish import refuse_cut_off
from langchain_finetune.runs.prompt import read_prompt, request_of
from langchain_finetune.runs.response_format import response_format_of
from langchain_finetune.runs.role_messages import read_role_answer
from langchain_finetune.runs.tools import parallel_tool_calls_of

_USAGE: Final = ("usage_metadata", "usage")


def recognizes(call: Call) -> bool:
    """Say whether the answer is a message that tells why it stopped."""
    outputs = call.outputs
    return outputs.get("role") == "assistant" and "content" in outputs and "stop_reason" in outputs


def read(call: Call) -> SessionFields:
    """Read a message of Anthropic's API.

    Raises:
        Unreadable: It cannot be trained on.
    """
    outputs = call.outputs
    request = request_of(call.inputs)
    refuse_cut_off(outputs["stop_reason"])
    messages = read_prompt(request)
    join_texts(messages)
    return session_of(
        call,
        messages,
        read_role_answer(outputs),
        candidates=[],
        schemas=schemas(call, request, call.inputs),
        parallel_tool_calls=parallel_tool_calls_of(request, call.parameters),
        response_format=response_format_of(request),
        models=(
            request.get("model"),
            outputs.get("model"),
            call.metadata.get("ls_model_name"),
        ),
        usages=[outputs.get(key) for key in _USAGE],
    )
