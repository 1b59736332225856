"""What an answer must look like, as an llguidance grammar; llama.cpp and transformers both decode by it.

Calls are written as the template writes them, with the same separators, so that a tuned model stays on the
text it has learned. The format: https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from finetune_server.rendering.messages import dump_json
from finetune_server.rendering.tool_calls import CLOSING, OPENING

Calls = Literal["none", "allowed", "required"]
"""Whether the answer may, or must, call tools."""

_MAX_CALLS = 8
"""In one answer that must call: an untuned model otherwise repeats itself to the end of its context."""

_AS_RENDERED = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
# As JavaScript and pydantic write it. A model keeps to the one or the other, as it has learned. Patterns for
# spaces do not serve: llama.cpp reads a separator literally, and repeats a `whitespace_pattern` without end.
_COMPACT = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}
_AFTER_ARGUMENTS = "}\n" + CLOSING
_TEXT_RULES = (
    f"TEXT: /(?s:.+)/ & ~/(?s:.*{OPENING}.*)/",
    f'before_calls[suffix="{OPENING}"]: /(?s:.*)/',
)
_NO_ARGUMENTS = {"type": "object", "properties": {}, "additionalProperties": False}
_SCHEMA_LISTS = ("anyOf", "oneOf", "prefixItems")
_SCHEMA_MAPS = ("properties", "$defs", "definitions")
_SCHEMA_KEYS = ("items", "additionalProperties")


def answer_grammar(
    *,
    tools: Sequence[Mapping[str, Any]],
    calls: Calls,
    is_single_call: bool,
    schema: Mapping[str, Any] | None = None,
    is_strict: bool = False,
) -> str | None:
    """Return the grammar that an answer must follow; None where any text will do.

    Args:
        tools: The tools that may be called.
        calls: Whether they may or must be.
        is_single_call: At most one call, where calls are required.
        schema: What an answer that is no call must be.
        is_strict: Whether all of `schema` must be kept, or only what llguidance can keep.
    """
    answer = _answer_rules(schema, is_strict=is_strict) if schema is not None else []
    call_rules = _call_rules(tools, max_calls=1 if is_single_call else _MAX_CALLS)
    if calls == "required":
        return _grammar(f'"{OPENING}" calls', call_rules)
    if calls == "allowed" and answer:
        return _grammar(f'answer | "{OPENING}" calls', [*answer, *call_rules])
    if calls == "allowed" and any(tool["function"].get("strict") for tool in tools):
        return _grammar("TEXT | before_calls calls", [*_TEXT_RULES, *call_rules])
    return _grammar("answer", answer) if answer else None


def schema_grammar(schema: Mapping[str, Any], *, is_strict: bool) -> str:
    """Return the grammar of one schema alone, to learn whether llguidance can keep it."""
    return _grammar("answer", _answer_rules(schema, is_strict=is_strict))


def parameters_of(function: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a function's arguments; without one, there are no arguments."""
    parameters = function.get("parameters")
    return {"type": "object", **parameters} if parameters is not None else _NO_ARGUMENTS


def _grammar(start: str, rules: Sequence[str]) -> str:
    return "\n".join(["%llguidance {}", f"start: {start}", *rules])


def _answer_rules(schema: Mapping[str, Any], *, is_strict: bool) -> list[str]:
    return [
        "answer: spaced | compact",
        f"spaced: {_json_rule(schema, _AS_RENDERED, is_strict=is_strict)}",
        f"compact: {_json_rule(schema, _COMPACT, is_strict=is_strict)}",
    ]


def _call_rules(tools: Sequence[Mapping[str, Any]], *, max_calls: int) -> list[str]:
    more = f' ("\\n{OPENING}" call){{0,{max_calls - 1}}}' if max_calls > 1 else ""
    rules = [f"calls: call{more}"]
    rules.append("call: " + " | ".join(f"call_{index}" for index in range(len(tools))))
    for index, tool in enumerate(tools):
        function = tool["function"]
        before = f'\n{{"name": {dump_json(function["name"])}, "arguments": '
        arguments = _json_rule(parameters_of(function), _AS_RENDERED, is_strict=bool(function.get("strict")))
        rules.append(f"call_{index}: {_literal(before)} arguments_{index} {_literal(_AFTER_ARGUMENTS)}")
        rules.append(f"arguments_{index}: {arguments}")
    return rules


def _literal(text: str) -> str:
    # llguidance takes the one control character amiss that JSON leaves as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _json_rule(schema: Mapping[str, Any], spacing: Mapping[str, Any], *, is_strict: bool) -> str:
    closed = schema if _combines(schema) else _closed(schema)
    return "%json " + dump_json({**closed, "x-guidance": {**spacing, "lenient": not is_strict}})


def _combines(schema: Any) -> bool:
    """Whether schemas are joined with `allOf`, where closing one shuts out the properties of the other."""
    if isinstance(schema, Mapping):
        return "allOf" in schema or any(_combines(value) for value in schema.values())
    return isinstance(schema, list) and any(_combines(value) for value in schema)


def _closed(schema: Any) -> Any:
    """Return the schema with no properties beyond the named ones, where it leaves that open.

    What it then allows, it allowed before; an untuned model would go on inventing properties.
    """
    if not isinstance(schema, Mapping):
        return schema
    closed = dict(schema)
    for key in _SCHEMA_MAPS:
        if isinstance(schema.get(key), Mapping):
            closed[key] = {name: _closed(value) for name, value in schema[key].items()}
    for key in _SCHEMA_LISTS:
        if isinstance(schema.get(key), list):
            closed[key] = [_closed(value) for value in schema[key]]
    for key in _SCHEMA_KEYS:
        if key in schema:
            closed[key] = _closed(schema[key])
    if "properties" in schema and "patternProperties" not in schema:
        closed.setdefault("additionalProperties", False)
    return closed
