"""Secrets taken out of a row: each is replaced by a placeholder, the same one wherever it stands in the row.

A quick look at the row's bytes tells nearly every row from one that may hold a secret; only the latter is
walked through, string by string. Within a row a secret that was recognized in one place, as the value of
`password=` for instance, is replaced in every other place too.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from langchain_finetune._parsing import loads
from langchain_finetune.converters.secrets import find_secrets, may_hold_secrets

_STRUCTURE: Final = frozenset({"role", "type", "id", "tool_call_id", "name", "weight"})
"""Keys whose values are no text of a person's: replacing one would break the row."""

_ANYWHERE_LENGTH: Final = 8
"""From this length on a secret is replaced wherever it stands; a shorter one may also be a common word."""

Row = dict[str, Any]
Rule = Mapping[str, Any]
"""`pattern`, a compiled regular expression, and `replace`, as in the rules of `langsmith.anonymizer`."""


@dataclass(frozen=True, slots=True)
class Redacted:
    """A row without its secrets."""

    row: Row
    counts: Counter[str] = field(default_factory=Counter)
    """Different secrets by kind, such as `api_key`; what own rules replaced counts as `rule`."""


@dataclass(frozen=True, slots=True)
class Redactor:
    """Takes secrets out of rows.

    Args:
        is_finding_secrets: Whether the built-in rules are used.
        rules: Own rules, applied before them.
    """

    is_finding_secrets: bool = True
    rules: tuple[Rule, ...] = ()

    def is_suspect(self, part: bytes) -> bool:
        """Say of the JSON of a part of a row whether the row has to be searched; False is certain."""
        return bool(self.rules) or (self.is_finding_secrets and may_hold_secrets(part))

    def __call__(self, row: Row) -> Redacted:
        """Return the row itself where there is nothing to take out, else a copy without its secrets."""
        counts: Counter[str] = Counter()
        if self.rules:
            row = _mapped(row, lambda text: self._by_rules(text, counts))
        if self.is_finding_secrets and may_hold_secrets(orjson.dumps(row)):
            placeholders = _Placeholders()
            for text in _strings(row):
                placeholders.learn(text)
            if placeholders:
                row = _mapped(row, placeholders.replace)
                counts += placeholders.counts
        return Redacted(row, counts)

    def _by_rules(self, text: str, counts: Counter[str]) -> str:
        for rule in self.rules:
            text, number = rule["pattern"].subn(rule.get("replace", "[redacted]"), text)
            if number:
                counts["rule"] += number
        return text


class _Placeholders:
    """The secrets of one row, numbered by kind in the order in which they come."""

    def __init__(self) -> None:
        self._by_secret: dict[str, str] = {}
        self.counts: Counter[str] = Counter()

    def __bool__(self) -> bool:
        return bool(self._by_secret)

    def learn(self, text: str) -> None:
        for secret in find_secrets(text):
            if secret.text not in self._by_secret:
                self.counts[secret.kind] += 1
                self._by_secret[secret.text] = f"[{secret.kind.upper()}_{self.counts[secret.kind]}]"

    def replace(self, text: str) -> str:
        replaced = self._replaced(text)
        if replaced == text or (value := _parsed(text)) is None or _parsed(replaced) is not None:
            return replaced
        # A number was one, or what looks like two values to a person is one to JSON.
        return json.dumps(self._in_json(value), ensure_ascii=False)

    def _in_json(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self._replaced(key): self._in_json(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._in_json(inner) for inner in value]
        if isinstance(value, str):
            return self._replaced(value)
        text = json.dumps(value)
        replaced = self._replaced(text)
        return value if replaced == text else replaced

    def _replaced(self, text: str) -> str:
        # What was found here goes by its place: what is found elsewhere too may be short.
        pieces, end = [], 0
        for secret in find_secrets(text):
            pieces += [text[end : secret.start], self._by_secret.get(secret.text, secret.text)]
            end = secret.start + len(secret.text)
        text = "".join([*pieces, text[end:]]) if pieces else text
        for secret_text in sorted(self._by_secret, key=len, reverse=True):
            if len(secret_text) >= _ANYWHERE_LENGTH and secret_text in text:
                text = text.replace(secret_text, self._by_secret[secret_text])
        return text


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if not _is_data(value):
            yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key not in _STRUCTURE or not isinstance(inner, str):
                yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return value if _is_data(value) else change(value)
    if isinstance(value, dict):
        return {
            key: inner if key in _STRUCTURE and isinstance(inner, str) else _mapped(inner, change)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_mapped(inner, change) for inner in value]
    return value


def _parsed(text: str) -> Any:
    """Return the JSON object or list that a text is as a whole; None where it is none."""
    if not text.startswith(("{", "[")):
        return None
    try:
        return loads(text)
    except (ValueError, RecursionError):
        return None


def _is_data(text: str) -> bool:
    """Say whether a string is an image's bytes, not text."""
    return text.startswith("data:")


def read_rules(rules: Iterable[Any]) -> tuple[Rule, ...]:
    """Return rules as they are applied.

    Raises:
        ValueError: One has no compiled pattern, or a replacement that is no string.
    """
    for number, rule in enumerate(given := tuple(rules), start=1):
        if not (
            isinstance(rule, Mapping)
            and isinstance(rule.get("pattern"), re.Pattern)
            and isinstance(rule.get("replace", ""), str)
        ):
            msg = (
                f"redaction rule {number} is none: give {{'pattern': re.compile(...), 'replace': '...'}}, "
                "as to langsmith.anonymizer."
            )
            raise ValueError(msg)  # noqa: TRY004  # pydantic tells it as an error of the setting
    return given
