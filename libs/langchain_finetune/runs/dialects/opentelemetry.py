"""Calls recorded by OpenTelemetry, where only the span's flat attributes hold them whole.

Ingestion turns most spans into the shapes of other dialects. Where there is one attribute a field, such as
`gen_ai.completion.0.tool_calls.0.name`, tool calls are lost on the way: where the metadata keeps the
attributes, the call is read from there.
"""

from dataclasses import replace

from langchain_finetune.runs.call import Call, SessionFields
from langchain_finetune.runs.dialects import openai_chat
from langchain_finetune.runs.spans import COMPLETIONS, inputs_of, outputs_of


def recognizes(call: Call) -> bool:
    """Say whether the answer's attributes lie in the metadata."""
    metadata = call.metadata
    return any(str(key).startswith(COMPLETIONS) for key in metadata)


def read(call: Call) -> SessionFields:
    """Read a call from a span's attributes.

    Raises:
        Unreadable: It cannot be trained on.
    """
    attributes = call.metadata
    inputs, outputs = inputs_of(attributes) or call.inputs, outputs_of(attributes) or call.outputs
    found = replace(call, inputs=inputs, outputs=outputs)
    return openai_chat.read(found)
