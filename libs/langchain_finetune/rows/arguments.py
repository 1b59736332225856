"""Whether the arguments of a tool call fit the JSON Schema of the tool. Pure.

A model that answered so did answer so, and a host trains on it all the same: a misfit is told, and rejects
nothing. So a schema gets the benefit of the doubt. `type`, `enum`, `const`, `required`, `properties`,
`additionalProperties`, `items` and `anyOf` are held to their meaning in
[JSON Schema 2020-12](https://json-schema.org/draft/2020-12/json-schema-validation); of any other keyword
nothing is said, so that what is told is wrong in the eyes of every validator.

A schema is read once, whatever the number of rows that bring it along.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

import orjson

from langchain_finetune.rows.rules import Problem
from langchain_finetune.runs import Reason

_MOST_SCHEMAS: Final = 1024
"""Schemas that are kept read."""

_MAX_DEPTH: Final = 32
"""Levels of a schema that are looked at."""

Fits = Callable[[Any], bool]
"""Tells whether a value fits."""


def find_misfits(chat: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield each call of a chat without a problem whose arguments do not fit the schema of its tool."""
    schemas: dict[Any, Any] = {}
    for index, message in enumerate(chat["messages"]):
        calls = message.get("tool_calls")
        legacy = message.get("function_call")
        if not calls and not legacy:
            continue
        if not schemas and not (schemas := _schemas(chat)):
            return
        for number, call in enumerate(calls or ()):
            if not _is_fitting(call["function"], schemas):
                field = f"messages[{index}].tool_calls[{number}].function.arguments"
                yield Problem(Reason.ARGUMENTS_OFF_SCHEMA, field)
        if legacy and not _is_fitting(legacy, schemas):
            yield Problem(Reason.ARGUMENTS_OFF_SCHEMA, f"messages[{index}].function_call.arguments")


def _schemas(chat: Mapping[str, Any]) -> dict[Any, Any]:
    functions = [tool["function"] for tool in chat.get("tools") or ()]
    functions += chat.get("functions") or ()
    return {function.get("name"): function.get("parameters") for function in functions}


def _is_fitting(function: Mapping[str, Any], schemas: Mapping[str, Any]) -> bool:
    schema = schemas.get(function["name"])
    if not schema:
        return True
    try:
        fits = _fits_of(orjson.dumps(schema))
        return fits is None or fits(orjson.loads(function["arguments"]))
    except (TypeError, ValueError, RecursionError):  # a schema, or arguments, that JSON does not have
        return True


@lru_cache(maxsize=_MOST_SCHEMAS)
def _fits_of(schema: bytes) -> Fits | None:
    return _read(orjson.loads(schema), 0)


def _read(schema: Any, depth: int) -> Fits | None:
    """Return what tells whether a value fits a schema; None where every value does."""
    if schema is False:
        return lambda _: False
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        return None
    checks = [
        check
        for keyword, reader in _READERS.items()
        if keyword in schema and (check := reader(schema, depth + 1)) is not None
    ]
    if len(checks) == 1:
        return checks[0]
    return (lambda value: all(check(value) for check in checks)) if checks else None


# --- one keyword each; a value of another type than the keyword speaks of fits ---


def _type(schema: Mapping[str, Any], _: int) -> Fits | None:
    named = schema["type"]
    names = [named] if isinstance(named, str) else named
    if not isinstance(names, list) or not all(isinstance(name, str) and name in _TYPES for name in names):
        return None
    if len(names) == 1:
        return _TYPES[names[0]]
    checks = [_TYPES[name] for name in names]
    return lambda value: any(check(value) for check in checks)


def _enum(schema: Mapping[str, Any], _: int) -> Fits | None:
    choices = schema["enum"]
    if not isinstance(choices, list):
        return None
    known = [_canonical(choice) for choice in choices]
    return lambda value: _canonical(value) in known


def _const(schema: Mapping[str, Any], _: int) -> Fits:
    known = _canonical(schema["const"])
    return lambda value: _canonical(value) == known


def _required(schema: Mapping[str, Any], _: int) -> Fits | None:
    names = schema["required"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    needed = frozenset(names)
    return lambda value: not isinstance(value, dict) or needed <= value.keys()


def _properties(schema: Mapping[str, Any], depth: int) -> Fits | None:
    given = schema["properties"]
    if not isinstance(given, dict):
        return None
    checks = {name: check for name, inner in given.items() if (check := _read(inner, depth)) is not None}

    def fits(value: Any) -> bool:
        if isinstance(value, dict):
            for name, item in value.items():
                check = checks.get(name)
                if check is not None and not check(item):
                    return False
        return True

    return fits if checks else None


def _additional(schema: Mapping[str, Any], depth: int) -> Fits | None:
    check = _read(schema["additionalProperties"], depth)
    named = schema.get("properties", {})
    # Which names a pattern matches is a regular expression's to say, and theirs are not Python's.
    if check is None or "patternProperties" in schema or not isinstance(named, dict):
        return None
    known = frozenset(named)
    return lambda value: (
        not isinstance(value, dict)
        or known >= value.keys()
        or all(name in known or check(value[name]) for name in value)
    )


def _items(schema: Mapping[str, Any], depth: int) -> Fits | None:
    check = _read(schema["items"], depth)
    # With `prefixItems`, `items` speaks of the rest alone.
    if check is None or "prefixItems" in schema:
        return None
    return lambda value: not isinstance(value, list) or all(map(check, value))


def _any_of(schema: Mapping[str, Any], depth: int) -> Fits | None:
    branches = schema["anyOf"]
    if not isinstance(branches, list) or not branches:
        return None
    checks = [_read(branch, depth) for branch in branches]
    known = [check for check in checks if check is not None]
    if len(known) < len(checks):
        return None
    return lambda value: any(check(value) for check in known)


def _canonical(value: Any) -> Any:
    """Return a value that equals another one just where JSON Schema takes them for the same."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, list):
        return ("list", [_canonical(item) for item in value])
    if isinstance(value, dict):
        return ("dict", {name: _canonical(item) for name, item in value.items()})
    return value


def _is_integer(value: Any) -> bool:
    # 1.0 is an integer to JSON Schema, True is none.
    return (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, float) and value.is_integer()
    )


_TYPES: Final[Mapping[str, Fits]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "integer": _is_integer,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}
_READERS: Final[Mapping[str, Callable[[Mapping[str, Any], int], Fits | None]]] = {
    "type": _type,
    "enum": _enum,
    "const": _const,
    "required": _required,
    "properties": _properties,
    "additionalProperties": _additional,
    "items": _items,
    "anyOf": _any_of,
}
