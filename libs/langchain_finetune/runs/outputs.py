"""What a function returned, taken out of the wrapper that the tracer put around it."""

from collections.abc import Mapping
from typing import Any, Final

from langchain_finetune.runs.chunks import chunks_of, merged_messages

_BESIDE: Final = frozenset({"output", "usage_metadata", "metadata"})
_CHUNK: Final = "AIMessageChunk"


def unwrapped(outputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the object that a function returned, or the one that its chunks amount to.

    LangSmith puts what is no mapping under `output`: other objects, and the list of what a generator gave.
    """
    output = outputs.get("output")
    if not output or not _BESIDE.issuperset(outputs):
        return outputs
    if isinstance(output, dict):
        return output
    if not isinstance(output, list) or not isinstance(output[0], dict):
        return outputs
    if (choices := chunks_of(output)) is not None:
        return {**{key: output[0][key] for key in ("model", "id") if key in output[0]}, "choices": choices}
    if all(isinstance(chunk, dict) and _is_message_chunk(chunk) for chunk in output):
        return merged_messages([chunk.get("kwargs", chunk) for chunk in output])
    return outputs


def _is_message_chunk(chunk: Mapping[str, Any]) -> bool:
    if not isinstance(chunk.get("kwargs", chunk), dict):
        return False
    path = chunk.get("id")
    return chunk.get("type") == _CHUNK or (isinstance(path, list) and path[-1:] == [_CHUNK])
