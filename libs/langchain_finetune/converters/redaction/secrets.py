"""What a secret looks like: keys by their issuers' prefixes, values by the names they are given, cards."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from langchain_finetune.converters.redaction.quick_look import may_hold_secrets
from langchain_finetune.converters.redaction.secret_forms import (
    API_KEY,
    CARD,
    HEADER,
    JSON_WEB_TOKEN,
    LOGIN,
    NAMED,
    PRIVATE_KEY,
    STAND_IN,
    is_card,
)

__all__ = ["Secret", "find_secrets", "may_hold_secrets"]


class Secret(NamedTuple):
    """A secret in a text."""

    start: int
    end: int
    kind: str
    """`api_key`, `token`, `password`, `private_key` or `card_number`."""
    text: str


_LEAST_RANDOM: Final = 8
_LEAST_LONG: Final = 20


def _kind_of(name: str) -> str:
    name = name.lower()
    if name.startswith("pass") or name == "pwd":
        return "password"
    return "api_key" if name.endswith("key") else "token"


def _is_secret(value: str, kind: str, *, is_quoted: bool) -> bool:
    """Say whether a value is one, and no stand-in for it, no type and no prose."""
    if STAND_IN.fullmatch(value):
        return False
    is_mixed = any(it.isdigit() for it in value) and not value.replace(".", "").replace("%", "").isdigit()
    if kind == "password":
        return (is_quoted and " " not in value) or is_mixed or any(it in "!#@$%^*+?" for it in value)
    return " " not in value and len(value) >= (_LEAST_RANDOM if is_mixed else _LEAST_LONG)


def _named(text: str) -> Iterator[Secret]:
    for match in NAMED.finditer(text):
        group = match.lastgroup or "bare"
        value, kind = match[group], _kind_of(match["name"])
        if group == "bare":
            value = value.rstrip(".:!?") if kind != "password" else value.rstrip(".")
        if _is_secret(value, kind, is_quoted=group != "bare"):
            yield Secret(match.start(group), match.start(group) + len(value), kind, value)


# --- all of them ----------------------------------------------------------------------------------------


def _found(text: str) -> Iterator[Secret]:
    for kind, pattern in (("private_key", PRIVATE_KEY), ("api_key", API_KEY), ("token", JSON_WEB_TOKEN)):
        for match in pattern.finditer(text):
            yield Secret(match.start(), match.end(), kind, match[0])
    for kind, pattern in (("token", HEADER), ("password", LOGIN)):
        for match in pattern.finditer(text):
            if not STAND_IN.fullmatch(match["value"]) and (
                kind == "password" or re.search(r"\d", match["value"])
            ):
                yield Secret(*match.span("value"), kind, match["value"])
    yield from _named(text)
    for match in CARD.finditer(text):
        if is_card(match[0]):
            yield Secret(match.start(), match.end(), "card_number", match[0])


def find_secrets(text: str) -> list[Secret]:
    """Return the secrets of a text, in order; of those that overlap, the one of the more certain form."""
    free = bytearray(len(text))
    kept = []
    for secret in _found(text):
        if not any(free[secret.start : secret.end]):
            free[secret.start : secret.end] = b"\1" * (secret.end - secret.start)
            kept.append(secret)
    return sorted(kept)
