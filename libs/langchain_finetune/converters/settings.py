"""How to convert: what the person asked for, as the steps take it."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from langchain_finetune.converters.balance import Balance
from langchain_finetune.converters.redaction.redact import Redactor
from langchain_finetune.converters.rendering.examples import Rendering
from langchain_finetune.converters.splitting.pins import Pins
from langchain_finetune.converters.target import Target
from langchain_finetune.handles import Split

Collapse = Literal["trajectory", "last", "none"]
Deduplicate = Literal["exact", "near", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to convert."""

    rendering: Rendering
    collapse: Collapse
    """`"none"` for all methods but the supervised one."""
    redactor: Redactor
    target: Target
    max_tokens: int | None
    """Most tokens of a row; None where there is no limit."""
    is_raising: bool
    deduplicate: Deduplicate
    balance: Balance
    fractions: dict[Split, float]
    seed: int
    min_examples: int
    pins: Pins | None
    told: dict[str, Any]
    """The settings as the person named them, for the card of the data set."""


_ALWAYS_TOLD: Final = frozenset(
    {
        *("method", "collapse", "redact", "deduplicate"),
        *("min_examples", "seed", "validation_fraction", "test_fraction"),
    }
)


def told(stage: Any) -> dict[str, Any]:
    """Return the settings of the stage that differ from their defaults, and those that a reader asks for."""
    differing: dict[str, Any] = {}
    for name, field in type(stage).model_fields.items():
        value = getattr(stage, name)
        if name in _ALWAYS_TOLD or value != field.get_default(call_default_factory=True):
            differing[name] = value
    if "redaction_rules" in differing:
        differing["redaction_rules"] = len(stage.redaction_rules)
    if differing.get("pinned") is not None:
        differing["pinned"] = getattr(stage.pinned, "fingerprint", None) or str(stage.pinned)
    return differing
