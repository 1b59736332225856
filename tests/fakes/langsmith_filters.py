"""LangSmith's filter language, as far as the loader speaks it: parsed, and tried on runs."""

import json
import re
from datetime import UTC, datetime
from typing import Any

TOKEN = re.compile(r'\s*(?:(\w+)\(|("(?:[^"\\]|\\.)*")|([\w.\-+]+)|([,)\[\]]))')


def instant(text: Any) -> datetime:
    value = datetime.fromisoformat(str(text))
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def parsed(text: str | None) -> list[Any] | None:
    """Parse `and(eq(name, "x"), in(id, ["y"]))` into nested lists."""
    if text is None:
        return None
    stack: list[list[Any]] = [[]]
    position = 0
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            raise ValueError(position)
        position = match.end()
        call, string, word, sign = match.groups()
        if call or sign == "[":
            stack.append([call or "list"])
        elif sign in (")", "]"):
            done = stack.pop()
            stack[-1].append(done)
        elif sign is None:
            stack[-1].append(json.loads(string) if string else word)
    if not len(stack) == len(stack[0]) == 1:
        raise ValueError(text)
    expression: list[Any] = stack[0][0]
    return expression


def holds(expression: list[Any] | None, run: dict[str, Any]) -> bool:
    metadata = (run.get("extra") or {}).get("metadata") or {}
    match expression:
        case None:
            is_so = True
        case ["and", ["eq", "feedback_key", key], ["gte", "feedback_score", least]]:
            average = ((run.get("feedback_stats") or {}).get(key) or {}).get("avg")
            is_so = average is not None and average >= float(least)
        case ["and", ["eq", "metadata_key", key], ["eq", "metadata_value", value]]:
            is_so = metadata.get(key) == value
        case ["and", ["in", "metadata_key", ["list", *keys]], ["in", "metadata_value", ["list", *values]]]:
            is_so = any(metadata.get(key) in values for key in keys)
        case ["and", *conditions]:
            is_so = all(holds(condition, run) for condition in conditions)
        case ["eq", name, value]:
            is_so = run[name] == value
        case ["in", name, ["list", *values]]:
            is_so = run[name] in values
        case ["has", name, value]:
            is_so = value in (run.get(name) or ())
        case ["lt", "start_time", value]:
            is_so = instant(run["start_time"]) < instant(value)
        case _:
            raise ValueError(expression)
    return is_so
