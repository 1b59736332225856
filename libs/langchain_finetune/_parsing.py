"""Parsing JSON as it is found in exports."""

import json
from typing import Any

import orjson


def loads(text: bytes | str) -> Any:
    """Parse JSON, also what Python's own `json` writes beyond the standard (NaN, lone surrogates).

    Raises:
        ValueError: The text is no JSON.
        RecursionError: It is nested too deeply.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)
