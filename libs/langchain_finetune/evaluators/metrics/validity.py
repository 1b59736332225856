"""Whether what was written can be used: calls that fit the tools' schemas, JSON where JSON was recorded."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from langchain_finetune.evaluators.metrics.example import Example
from langchain_finetune.evaluators.metrics.json_schema import fits
from langchain_finetune.evaluators.metrics.metric import Metric
from langchain_finetune.evaluators.tool_calls import Answer, ToolCall


@dataclass(frozen=True, kw_only=True)
class Validity(Metric):
    """1 where an application can use the answer, right or wrong.

    Calls have to name a declared tool, with arguments that are JSON and fit its schema. Where the recorded
    answer calls, an answer without a call is 0. Where the recorded text is a JSON object or list, the text
    has to be one. Of other answers it says nothing.
    """

    name: str = "valid"

    def score(self, example: Example, answer: Answer) -> bool | None:
        """Return whether the answer can be used, None where there is nothing to check."""
        if answer.calls:
            schemas = {name: schema for name, schema in map(_declared, example.tools) if name}
            return all(_is_valid(call, schemas) for call in answer.calls)
        if example.expected.calls:
            return False
        return _is_json(answer.text) if _is_json(example.expected.text) else None


def _declared(tool: Mapping[str, Any]) -> tuple[str, Any]:
    function = tool.get("function")
    named = function if isinstance(function, Mapping) else {}
    return str(named.get("name") or ""), named.get("parameters")


def _is_valid(call: ToolCall, schemas: Mapping[str, Any]) -> bool:
    # Arguments that are a text were no JSON.
    return (
        call.name in schemas
        and isinstance(call.arguments, Mapping)
        and fits(call.arguments, schemas[call.name])
    )


def _is_json(text: str) -> bool:
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
