"""OpenAI's published schemas for one line of a training file, for holding rows to them."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

_DATA = Path(__file__).parent / "data"
_NAMES = {
    "supervised": "FineTuneChatRequestInput",
    "dpo": "FineTunePreferenceRequestInput",
    "reinforcement": "FineTuneReinforcementRequestInput",
}


@cache
def _validator(method: str, published: Path | None) -> jsonschema.Draft202012Validator:
    if published:
        schemas = json.loads(published.read_text())["components"]
        reference = f"#/components/schemas/{_NAMES[method]}"
        return jsonschema.Draft202012Validator({"$ref": reference, "components": schemas})
    definitions: dict[str, Any] = {}
    for name in ("openai_schemas.json", "training_line_schemas.json"):
        definitions |= json.loads((_DATA / name).read_text())["$defs"]
    return jsonschema.Draft202012Validator({"$ref": f"#/$defs/{_NAMES[method]}", "$defs": definitions})


def check_line(method: str, row: Any, published: Path | None = None) -> None:
    """Fails unless the row is what OpenAI's schema of the method's lines says.

    The schemas are those of tests/data, closed against unknown keys, or a whole published file of them.
    """
    faults = faults_of(method, row, published)
    assert not faults, f"no line for {method}: {faults}"


def faults_of(method: str, row: Any, published: Path | None = None) -> list[str]:
    """What OpenAI's schema of the method's lines has against a row."""
    errors = _validator(method, published).iter_errors(row)
    return [f"{error.json_path}: {error.message}" for error in errors]
