"""Recorded runs as JSON: nothing is lost on the way, neither large integers nor lone surrogates."""

import json
import re
from typing import Any, Final

import orjson

from langchain_finetune._parsing import loads as parse

_LARGE_INTEGER: Final = re.compile(rb"\d{19}")


def loads(text: bytes) -> Any:
    """Parse JSON.

    Raises:
        ValueError: The text is no JSON.
        RecursionError: It is nested too deeply.
    """
    # orjson makes floats of integers beyond 64 bits.
    return json.loads(text) if _LARGE_INTEGER.search(text) else parse(text)


def dumps(value: Any) -> bytes:
    """Return JSON.

    Raises:
        TypeError: The value is none of JSON's.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode()
