"""Secrets, and personal data on request, taken out of a row: each is replaced by a placeholder.

It is the same placeholder wherever it stands in the row. A quick look at the row's bytes tells nearly every
row from one that may hold a secret; only the latter is walked through, string by string. Within a row a
secret that was recognized in one place, as the value of `password=` for instance, is replaced in every other
place too.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import orjson

from langchain_finetune._parsing import loads
from langchain_finetune.converters.redaction.secrets import Secret, find_secrets, may_hold_secrets

_STRUCTURE: Final = frozenset({"role", "type", "id", "tool_call_id", "name", "weight"})
"""Keys whose values are no text of a person's: replacing one would break the row."""

_ANYWHERE_LENGTH: Final = 8
"""From this length on a secret is replaced wherever it stands; a shorter one may also be a common word."""

Row = dict[str, Any]
Rule = Mapping[str, Any]
"""`pattern`, a compiled regular expression, and `replace`, as in the rules of `langsmith.anonymizer`."""


class Finder(Protocol):
    """Finds what has to be taken out of a text."""

    def may_hold(self, part: bytes) -> bool:
        """Say whether the JSON of a part of a row may hold what `find` finds; False is certain."""
        ...

    def find(self, text: str) -> list[Secret]:
        """Return what is found in a text, in order, without overlaps."""
        ...


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
        finders: Further ones, of personal data for instance: what they find has placeholders too.
    """

    is_finding_secrets: bool = True
    rules: tuple[Rule, ...] = ()
    finders: tuple[Finder, ...] = ()

    def is_suspect(self, part: bytes) -> bool:
        """Say of the JSON of a part of a row whether the row has to be searched; False is certain."""
        return bool(self.rules) or self._may_hold(part)

    def _may_hold(self, part: bytes) -> bool:
        return (self.is_finding_secrets and may_hold_secrets(part)) or any(
            finder.may_hold(part) for finder in self.finders
        )

    def __call__(self, row: Row) -> Redacted:
        """Return the row itself where there is nothing to take out, else a copy without its secrets."""
        counts: Counter[str] = Counter()
        if self.rules:
            row = _mapped(row, lambda text: self._by_rules(text, counts))
        if self._may_hold(orjson.dumps(row)):
            placeholders = _Placeholders(
                find_secrets if self.is_finding_secrets else _find_none, self.finders
            )
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


def _find_none(_text: str) -> list[Secret]:
    return []


class _Placeholders:
    """What is taken out of one row, numbered by kind in the order in which it comes."""

    def __init__(self, find: Callable[[str], list[Secret]], finders: tuple[Finder, ...]) -> None:
        self._find = find
        self._finders = finders
        self._by_secret: dict[str, str] = {}
        self._known: dict[str, list[Secret]] = {}
        """What the finders find, by text: each is asked more than once about the same one."""
        self.counts: Counter[str] = Counter()

    def __bool__(self) -> bool:
        return bool(self._by_secret)

    def learn(self, text: str) -> None:
        found = self._find(text)
        if self._finders:
            # In JSON, an escape may stand right before a value: what is found is a value, or within one.
            leaves = list(_leaves(text))
            found += [it for leaf in leaves for it in self._further(leaf)]
            if leaves != [text]:
                values = set(leaves)
                found += [it for it in self._further(text) if it.text in values]
        for secret in found:
            if secret.text not in self._by_secret:
                self.counts[secret.kind] += 1
                self._by_secret[secret.text] = f"[{secret.kind.upper()}_{self.counts[secret.kind]}]"

    def _further(self, text: str) -> list[Secret]:
        """Return what the finders find beside the secrets of a text."""
        if not self._finders:
            return []
        if (known := self._known.get(text)) is not None:
            return known
        taken, found = [(it.start, it.end) for it in self._find(text)], []
        for finder in self._finders:
            for it in finder.find(text):
                if all(it.end <= start or end <= it.start for start, end in taken):
                    taken.append((it.start, it.end))
                    found.append(it)
        self._known[text] = found
        return found

    def replace(self, text: str) -> str:
        replaced = self._replaced(text)
        if (value := _parsed(text)) is None:
            return replaced
        if (after := _parsed(replaced)) is not None:
            value, text = after, replaced
            if not any(map(self._further, _leaves(value))):
                return text
        # A number was one, or what looks like two values to a person is one to JSON.
        return json.dumps(self._in_json(value), ensure_ascii=False)

    def _in_json(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self._replaced(key): self._in_json(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._in_json(inner) for inner in value]
        if isinstance(value, str):
            return self._by_secret.get(value) or self.replace(value)
        text = json.dumps(value)
        replaced = self._replaced(text)
        return value if replaced == text else replaced

    def _at_their_places(self, text: str) -> list[Secret]:
        found = self._find(text)
        return sorted(found + self._further(text)) if self._finders and _parsed(text) is None else found

    def _replaced(self, text: str) -> str:
        # What was found here goes by its place: what is found elsewhere too may be short.
        pieces, end = [], 0
        for secret in self._at_their_places(text):
            pieces += [text[end : secret.start], self._by_secret.get(secret.text, secret.text)]
            end = secret.start + len(secret.text)
        text = "".join([*pieces, text[end:]]) if pieces else text
        for secret_text in sorted(self._by_secret, key=len, reverse=True):
            if len(secret_text) >= _ANYWHERE_LENGTH and secret_text in text:
                text = text.replace(secret_text, self._by_secret[secret_text])
        return text


def _leaves(value: Any) -> Iterator[str]:
    """Yield a text itself; of JSON, and of JSON in JSON, its keys, its strings and its numbers."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif isinstance(value, str):
        parsed = _parsed(value)
        if parsed is None:
            yield value
        else:
            yield from _leaves(parsed)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield json.dumps(value)


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
