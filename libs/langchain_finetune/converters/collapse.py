"""Growing histories: the calls of one thread or agent loop, each of which repeats the ones before it.

A call whose prompt and answer are how another call's prompt begins is *continued* by that call. What is
continued becomes no row of its own: its answer is trained on where it stands in the history of the row that
continues it. What a row's history holds beyond that, examples that every prompt brings along for instance, or
an answer that was not selected, has the weight 0. Branches stay apart, and what they share is trained on in
one of them.
"""

import hashlib
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from langchain_finetune._parsing import loads

_SIZE: Final = 16
_NOT_ENTERED: Final = bytes(_SIZE)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Merges:
    """Which rows became part of others, by position."""

    into: dict[int, int] = field(default_factory=dict)
    """The row that continues a row, all the way."""
    targets: dict[int, frozenset[int]] = field(default_factory=dict)
    """The answers in a row's history that are trained on there: the first assistant message is 0."""


class Trajectories:
    """Finds the rows that others continue; keeps hashes only, 16 bytes an answer."""

    def __init__(self) -> None:
        self._ends = bytearray()
        self._histories: dict[int, bytes] = {}
        """Hashes of what a row begins with, up to each answer of its history, one behind the other."""

    def enter(self, row: Row, scope: str) -> None:
        """Enter the next row.

        Args:
            row: The row, its answer last.
            scope: Rows of different scopes do not continue each other: a thread's id, or nothing.
        """
        *history, end = _answers(row, scope)
        if history:
            self._histories[len(self._ends) // _SIZE] = b"".join(history)
        self._ends += end

    def skip(self) -> None:
        """Enter a row that is left out: it continues nothing."""
        self._ends += _NOT_ENTERED

    def merges(self) -> Merges:
        """Return which rows are continued, and by which."""
        continued = {it for history in self._histories.values() for it in _split(history)}
        waiting: defaultdict[bytes, deque[int]] = defaultdict(deque)
        for position, end in enumerate(_split(self._ends)):
            if end in continued and end != _NOT_ENTERED:
                waiting[end].append(position)
        merged = {position for positions in waiting.values() for position in positions}
        merges = Merges()
        last: dict[bytes, int] = {}
        for position, history in self._histories.items():
            if position not in merged:
                merges.targets[position] = self._claim(position, history, waiting, merges.into, last)
        # Equal rows that no further branch is left for: the answer is trained on once, in the last branch.
        merges.into.update((it, last[end]) for end, positions in waiting.items() for it in positions)
        return merges

    def _claim(
        self,
        position: int,
        history: bytes,
        waiting: Mapping[bytes, deque[int]],
        into: dict[int, int],
        last: dict[bytes, int],
    ) -> frozenset[int]:
        targets = set()
        for number, end in enumerate(_split(history)):
            if end in waiting:
                last[end] = position
                if waiting[end]:
                    into[waiting[end].popleft()] = position
                    targets.add(number)
        return frozenset(targets)


def weighted(row: Row, targets: frozenset[int]) -> Row:
    """Return a row that is trained on in its answer and in those answers of its history, and nowhere else.

    A row that has weights of its own, as datasets and chats do, says itself what is trained on.
    """
    if any("weight" in message for message in row["messages"]):
        return row
    num_answers = sum(message["role"] == "assistant" for message in row["messages"])
    if len(targets) == num_answers - 1:
        return row  # all of them: what a row without weights means
    trained = {*targets, num_answers - 1}
    messages, number = [], 0
    for message in row["messages"]:
        if message["role"] == "assistant":
            message = {**message, "weight": int(number in trained)}  # noqa: PLW2901  # the weighted one
            number += 1
        messages.append(message)
    return {**row, "messages": messages}


def _split(hashes: bytes | bytearray) -> list[bytes]:
    return [bytes(hashes[start : start + _SIZE]) for start in range(0, len(hashes), _SIZE)]


def _answers(row: Row, scope: str) -> list[bytes]:
    """Return a hash of all that a row holds up to each of its answers, the schemas of its call included."""
    settings = {key: value for key, value in row.items() if key != "messages"}
    hashed = hashlib.blake2b(_json([scope, settings]), digest_size=_SIZE)
    ends = []
    for message in row["messages"]:
        is_answer = message["role"] == "assistant"
        hashed.update(_json(_canonical(message) if is_answer else message))
        if is_answer:
            ends.append(hashed.digest())
    return ends


def _canonical(answer: Mapping[str, Any]) -> Any:
    """Return an answer in one form: an application sends it back without nulls, its arguments rewritten."""
    content = answer.get("content") or ""
    if isinstance(content, list) and len(content) == 1 and content[0]["type"] == "text":
        content = content[0]["text"]
    calls = [
        (call["id"], call["function"]["name"], _arguments(call["function"]["arguments"]))
        for call in answer.get("tool_calls") or ()
    ]
    function = answer.get("function_call")
    return content, calls, function and (function["name"], _arguments(function["arguments"]))


def _arguments(text: str) -> Any:
    try:
        return loads(text)
    except (ValueError, RecursionError):
        return text


def _json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
