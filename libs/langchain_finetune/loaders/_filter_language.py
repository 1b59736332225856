"""LangSmith's query language, from text to an expression: what the fields are, and where it cannot be read.

```text
expression := and(expression, ...) | or(expression, ...) | not(expression)
            | search("text") | comparator(field, value)
value      := "text" | 'text' | number | true | false | null | [value, ...]
```

The comparators and fields are those of LangSmith's
[trace query syntax](https://docs.langchain.com/langsmith/trace-query-syntax).
"""

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, NoReturn

from langchain_finetune.errors import SelectionError

Combinator = Literal["and", "or", "not"]
Family = Literal["metadata", "input", "output", "feedback"]
"""What a run has several of, each with a key and a value: `metadata_key` and `metadata_value`."""

_ORDER: Final = ("eq", "neq", "gt", "gte", "lt", "lte")
_TEXT: Final = ("eq", "neq", "in", "search")
_NUMBER: Final = (*_ORDER, "in")

COMPARATORS: Final[dict[str, tuple[str, ...]]] = {
    "id": _TEXT,
    "name": _TEXT,
    "run_type": _TEXT,
    "status": _TEXT,
    "error": _TEXT,
    "thread_id": _TEXT,
    "trace_id": _TEXT,
    "start_time": _ORDER,
    "end_time": _ORDER,
    "latency": _NUMBER,
    "total_tokens": _NUMBER,
    "execution_order": _NUMBER,
    "is_root": ("eq", "neq"),
    "tags": ("has", "in"),
    "metadata": ("has",),
    "metadata_key": _TEXT,
    "metadata_value": (*_ORDER, "in", "search"),
    "input_key": _TEXT,
    "input_value": (*_ORDER, "in", "search"),
    "output_key": _TEXT,
    "output_value": (*_ORDER, "in", "search"),
    "feedback_key": _TEXT,
    "feedback_score": _NUMBER,
}
"""What each field can be compared by."""

_COMBINATORS: Final = ("and", "or", "not")
_ALL_COMPARATORS: Final = (*_ORDER, "has", "search", "in")
_TIMES: Final = ("start_time", "end_time")
_NUMBERS: Final = ("latency", "total_tokens", "execution_order", "feedback_score")
_SCALARS: Final = ("metadata_value", "input_value", "output_value")
_DEPTH: Final = 50
_LENGTH: Final = 100_000
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}

_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<number>-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])
      | (?P<word>[A-Za-z_]\w*)
      | (?P<sign>[()\[\],])
    )""",
    re.VERBOSE | re.DOTALL,
)
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")


@dataclass(frozen=True, slots=True)
class Condition:
    """`comparator(field, value)`; times and durations are seconds already, `search("text")` has no field."""

    comparator: str
    field: str
    value: Any

    @property
    def family(self) -> Family | None:
        """The pairs that the condition is about, if it is about one."""
        name, _, part = self.field.partition("_")
        if part in ("key", "value", "score") and name in ("metadata", "input", "output", "feedback"):
            return name  # type: ignore[return-value]
        return None

    @property
    def is_on_key(self) -> bool:
        """Whether the condition names the key of a pair."""
        return self.field.endswith("_key")


@dataclass(frozen=True, slots=True)
class Combination:
    """`and`, `or`, `not` of what is in `parts`."""

    word: Combinator
    parts: tuple["Expression", ...]


Expression = Condition | Combination


def parse(text: str, name: str = "filter") -> Expression:
    """Parse a filter.

    Args:
        text: The filter.
        name: What it is called in an error: `filter`, `trace_filter` or `tree_filter`.

    Raises:
        SelectionError: It is not of this language; names the position, counted from 1.
    """
    return _Parser(text, name).whole()


class _Parser:
    def __init__(self, text: str, name: str) -> None:
        self._text, self._name = text, name
        self._at = 0
        """Where the next token begins."""
        self._depth = 0

    def whole(self) -> Expression:
        if len(self._text) > _LENGTH:
            self._refuse(0, f"it is longer than {_LENGTH:,} characters")
        expression = self._expression()
        if rest := self._text[self._at :].lstrip():
            self._refuse(len(self._text) - len(rest), "nothing may follow the closing parenthesis")
        return expression

    # --- the grammar ---

    def _expression(self) -> Expression:
        at, word = self._take("word", "a comparator or a combinator")
        if word not in (*_COMBINATORS, *_ALL_COMPARATORS):
            self._refuse(at, f"unknown word {word!r}: {', '.join((*_COMBINATORS, *_ALL_COMPARATORS))}")
        self._sign("(")
        self._depth += 1
        if self._depth > _DEPTH:
            self._refuse(at, f"it is nested more than {_DEPTH} deep")
        made = self._combination(at, word) if word in _COMBINATORS else self._condition(word)
        self._sign(")")
        self._depth -= 1
        return made

    def _combination(self, at: int, word: str) -> Expression:
        parts = [self._expression()]
        while self._is_next(","):
            parts.append(self._expression())
        if word == "not" and len(parts) > 1:
            self._refuse(at, "`not` takes one condition")
        return Combination(word, tuple(parts))  # type: ignore[arg-type]  # one of _COMBINATORS

    def _condition(self, word: str) -> Expression:
        if word == "search" and self._peek() == "string":
            _, text = self._take("string", "a text")
            return Condition(word, "", self._string(text))
        at, field = self._take("word", "a field")
        if field not in COMPARATORS:
            self._refuse(at, f"unknown field {field!r}: {', '.join(COMPARATORS)}")
        if word not in COMPARATORS[field]:
            allowed = ", ".join(COMPARATORS[field])
            self._refuse(at, f"{field} cannot be compared by {word!r}, only by {allowed}")
        self._sign(",")
        at, value = self._value()
        return Condition(word, field, self._typed(at, word, field, value))

    def _value(self) -> tuple[int, Any]:
        if self._is_next("["):
            at = self._at - 1
            values = [] if self._is_next("]") else [self._scalar()[1]]
            while values and not self._is_next("]"):
                self._sign(",")
                values.append(self._scalar()[1])
            return at, values
        return self._scalar()

    def _scalar(self) -> tuple[int, Any]:
        kind = self._peek()
        if kind == "string":
            at, text = self._take("string", "a value")
            return at, self._string(text)
        if kind == "number":
            at, text = self._take("number", "a value")
            return at, self._number(at, text)
        at, word = self._take("word", "a value: a text in quotes, a number, true, false or null")
        if word not in ("true", "false", "null"):
            self._refuse(at, f"a text stands in quotes, got {word!r}")
        return at, {"true": True, "false": False, "null": None}[word]

    def _number(self, at: int, text: str) -> int | float:
        number = float(text)
        if not math.isfinite(number):
            self._refuse(at, "the number is too large")
        return int(text) if text.lstrip("-").isdigit() and len(text) < 20 else number  # noqa: PLR2004

    def _string(self, quoted: str) -> str:
        inner = quoted[1:-1]
        if quoted[0] == "'":
            inner = re.sub(r'\\(.)|"', lambda m: {"'": "'"}.get(m[1], m[0]) if m[1] else '\\"', inner)
        try:
            return str(json.loads(f'"{inner}"', strict=False))
        except ValueError:
            self._refuse(self._at - len(quoted), "the text has an escape that JSON does not know")

    # --- the values that a field takes ---

    def _typed(self, at: int, word: str, field: str, value: Any) -> Any:
        if (word == "in") != isinstance(value, list):
            need = "a list in brackets" if word == "in" else "one value"
            self._refuse(at, f"{word!r} takes {need}")
        if word == "in":
            return tuple(self._one(at, "eq", field, each) for each in value)
        return self._one(at, word, field, value)

    def _one(self, at: int, word: str, field: str, value: Any) -> Any:
        if value is None:
            if word not in ("eq", "neq"):
                self._refuse(at, f"null is compared by eq and neq, not by {word!r}")
            return None
        if field in _TIMES:
            return self._instant(at, field, value)
        if field == "is_root":
            is_right = isinstance(value, bool)
        elif field in _NUMBERS:
            value = self._seconds(value) if field == "latency" else value
            is_right = isinstance(value, int | float) and not isinstance(value, bool)
        elif field == "metadata":
            return self._blob(at, value)
        else:
            is_right = isinstance(value, str) or (field in _SCALARS and word != "search")
        if not is_right:
            self._refuse(at, f"{field} is not compared with {json.dumps(value)}")
        return value

    def _instant(self, at: int, field: str, value: Any) -> float:
        try:
            time = datetime.fromisoformat(value)
            return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
        except (TypeError, ValueError, OverflowError):
            self._refuse(at, f'{field} is compared with a time such as "2026-11-24T12:00:00Z"')

    def _seconds(self, value: Any) -> Any:
        if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
            return float(match[1]) * _SECONDS[match[2] or "s"]
        return value

    def _blob(self, at: int, value: Any) -> tuple[tuple[str, Any], ...]:
        try:
            blob = json.loads(value)
            return tuple(blob.items())
        except (TypeError, ValueError, AttributeError, RecursionError):
            self._refuse(at, "metadata is compared with a JSON object in quotes")

    # --- the tokens ---

    def _next(self) -> re.Match[str] | None:
        return _TOKEN.match(self._text, self._at)

    def _peek(self) -> str | None:
        match = self._next()
        return match.lastgroup if match else None

    def _take(self, kind: str, wanted: str) -> tuple[int, str]:
        match = self._next()
        if match is None or match.lastgroup != kind:
            rest = self._text[self._at :]
            self._refuse(len(self._text) - len(rest.lstrip()), f"expected {wanted}")
        self._at = match.end()
        return match.start(kind), match[kind]

    def _is_next(self, sign: str) -> bool:
        match = self._next()
        if match is None or match["sign"] != sign:
            return False
        self._at = match.end()
        return True

    def _sign(self, sign: str) -> None:
        if not self._is_next(sign):
            rest = self._text[self._at :].lstrip()
            self._refuse(len(self._text) - len(rest), f"expected {sign!r}")

    def _refuse(self, at: int, reason: str) -> NoReturn:
        msg = (
            f"this {self._name} cannot be read at position {at + 1}: {reason}. "
            "Its language is LangSmith's: https://docs.langchain.com/langsmith/trace-query-syntax."
        )
        raise SelectionError(msg)
