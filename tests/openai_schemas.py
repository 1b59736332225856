"""OpenAI's published schemas, for holding answers to them."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema


def _with_nulls(schema: dict[str, Any]) -> dict[str, Any]:
    """OpenAPI's `nullable` in JSON Schema's words."""
    is_nullable = schema.pop("nullable", False) is True
    return {"anyOf": [schema, {"type": "null"}]} if is_nullable else schema


_SCHEMAS = json.loads(
    (Path(__file__).parent / "data" / "openai_schemas.json").read_bytes(), object_hook=_with_nulls
)


@cache
def _validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": _SCHEMAS["$defs"]})


def check_schema(name: str, value: Any) -> None:
    """Fails unless the value is what OpenAI's schema of that name says."""
    faults = [f"{error.json_path}: {error.message}" for error in _validator(name).iter_errors(value)]
    assert not faults, f"no {name}: {faults}"
