"""What a row says that is its own: the words that two rows are compared by, and what may not differ at all.

System prompts and tools are no part of it, as all rows of an application have them. The last turn, from the
last question on, is compared apart from the history before it: a history that many rows share, such as
examples, would make them all near, and a last turn alone ("yes" and "done") says too little.

Numbers and calls are what rows of a template differ in, and what a model has to get right: rows whose answers
call other tools, or with other arguments, or have other numbers in their text are never near duplicates. The
same answer to a question with other numbers in it is one, where nearly all other words are the same.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import orjson

from langchain_finetune._parsing import loads

Row = Mapping[str, Any]

_WORD: Final = re.compile(r"\w+")
_NUMBER: Final = re.compile(r"\w*\d\w*(?:[.,:/-]\w+)*")
_SHINGLE_WORDS: Final = 3
_SHINGLE_CHARACTERS: Final = 5
_LONGEST_WORD: Final = 12
"""Where words are longer on average, the script has no spaces: shingles of characters, then."""
_NOT_COMPARED: Final = frozenset({"messages", "tools", "functions", "parallel_tool_calls", "response_format"})


class ConversationText(NamedTuple):
    """What rows are compared by."""

    guard: bytes
    """A hash of what has to be the same: calls and numbers of the answers, and further fields of the row."""
    last_turn: set[str]
    """Shingles of the last question and all that follows."""
    history: set[str]
    """Shingles of what came before, empty where nothing did."""


def read_text(row: Row) -> ConversationText:
    """Return what a row of any method is compared by."""
    messages, guarded = _conversation(row)
    own = [it for it in messages if it["role"] not in ("system", "developer")]
    start = max((number for number, it in enumerate(own) if it["role"] == "user"), default=0)
    answers = [it for it in own[start:] if it["role"] == "assistant"]
    guarded += [_calls(answer) for answer in answers]
    guarded += [_NUMBER.findall(text) for answer in answers for text in _texts(answer)]
    text = orjson.dumps(guarded, option=orjson.OPT_SORT_KEYS)
    return ConversationText(
        hashlib.blake2b(text, digest_size=8).digest(), _shingles(own[start:]), _shingles(own[:start])
    )


def similarity(left: ConversationText, right: ConversationText) -> float:
    """Return the Jaccard similarity of two rows: of their last turns or their histories, the lower one."""
    if left.guard != right.guard:
        return 0.0
    return min(_jaccard(left.last_turn, right.last_turn), _jaccard(left.history, right.history))


def _jaccard(left: set[str], right: set[str]) -> float:
    together = len(left & right)
    return together / (len(left) + len(right) - together) if left or right else 1.0


def _conversation(row: Row) -> tuple[list[Any], list[Any]]:
    if "input" in row:
        pair = (row.get("preferred_output", ()), row.get("non_preferred_output", ()))
        return [*row["input"]["messages"], *(it for output in pair for it in output)], []
    fields = {key: value for key, value in row.items() if key not in _NOT_COMPARED}
    return row["messages"], [fields] if fields else []


def _calls(answer: Row) -> list[tuple[str, str]]:
    functions = [call["function"] for call in answer.get("tool_calls") or ()]
    functions += [answer["function_call"]] if answer.get("function_call") else []
    return [(it["name"], _canonical(it["arguments"])) for it in functions]


def _canonical(arguments: str) -> str:
    try:
        return orjson.dumps(loads(arguments), option=orjson.OPT_SORT_KEYS).decode()
    except (ValueError, TypeError, RecursionError):  # no JSON, or such as the standard does not have
        return arguments


def _texts(message: Row) -> Iterator[str]:
    content = message.get("content")
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        yield from (
            part[key] for part in content for key in ("text", "refusal") if isinstance(part.get(key), str)
        )
    if isinstance(refusal := message.get("refusal"), str):
        yield refusal


def _shingles(messages: Iterable[Row]) -> set[str]:
    shingles: set[str] = set()
    for message in messages:
        role = message["role"]
        for text in _texts(message):
            shingles.update(_shingles_of(text.casefold(), role))
        for name, arguments in _calls(message):
            shingles.update(_shingles_of(f"{name} {arguments}".casefold(), role))
    return shingles


def _shingles_of(text: str, role: str) -> Iterable[str]:
    words: list[str] = _WORD.findall(text)
    if sum(map(len, words)) > _LONGEST_WORD * len(words):
        joined = " ".join(words)
        return (joined[at : at + _SHINGLE_CHARACTERS] for at in range(len(joined) - _SHINGLE_CHARACTERS + 1))
    if len(words) < _SHINGLE_WORDS:
        # A short text is one shingle, its role's: "yes" to a question is another one than "yes" as an answer.
        return (f"{role}: {' '.join(words)}",)
    return map(" ".join, zip(words, words[1:], words[2:], strict=False))
