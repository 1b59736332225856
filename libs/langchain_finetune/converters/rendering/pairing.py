"""Which runs make a pair of preferences: of one prompt, with different answers and different scores. Pure.

Runs that gave the same answer count as one, with their average score. A prompt's answers are ranked; the best
is paired with the worst, the second best with the second worst, as long as one is better than the other. No
answer is in two pairs. What was corrected is never the preferred one, whatever its score.

Nothing here depends on the order of the runs, but for which of equal answers is taken: the first one.
"""

import hashlib
import math
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, NamedTuple

import orjson

from langchain_finetune.converters.rendering.examples import Message, Row
from langchain_finetune.runs import Reason

_NONE: Final = -1
_PROMPT_SIZE: Final = 16
_ANSWER_SIZE: Final = 8
_NUM_BUCKETS: Final = 1024


class Pair(NamedTuple):
    """A pair, as the earlier of its two runs sees it. Places are those that the runs were entered with."""

    partner: int
    """The run with the other answer."""
    is_preferred: bool
    """Whether the earlier run's own answer is the better one."""
    others: tuple[int, ...]
    """All other runs that gave one of the two answers, the partner among them, in their order."""


class Unpaired(NamedTuple):
    """A run that makes no pair of its own."""

    reason: Reason | None
    """Why; None for a run that is part of another one's pair."""


class _Fate:
    """What became of a run that has no partner, as a number below 0."""

    MERGED: Final = -1
    REASONS: Final = (Reason.NO_PAIR, Reason.TIED, Reason.ENOUGH_PAIRS)

    @classmethod
    def of(cls, reason: Reason) -> int:
        return -2 - cls.REASONS.index(reason)

    @classmethod
    def outcome(cls, fate: int) -> Unpaired:
        return Unpaired(None if fate == cls.MERGED else cls.REASONS[-2 - fate])


@dataclass(slots=True)
class _Answer:
    """One answer to a prompt, by whichever runs."""

    key: int
    score: float
    runs: list[int]
    may_win: bool


@dataclass(frozen=True, slots=True)
class Pairs:
    """The pairs, by the position of the earlier run; 33 bytes a run."""

    positions: "array[int]"
    places: "array[int]"
    partners: "array[int]"
    """By run: its partner, or its fate."""
    fellows: "array[int]"
    """By run: the next run that gave the same answer."""
    preferred: bytearray

    def at(self, position: int) -> Pair | Unpaired | None:
        """Return what became of the run at a position; None for one that was not entered."""
        index = bisect_left(self.positions, position)
        if index == len(self.positions) or self.positions[index] != position:
            return None
        partner = self.partners[index]
        if partner < 0:
            return _Fate.outcome(partner)
        others = sorted([*self._chain(self.fellows[index]), *self._chain(partner)])
        return Pair(
            self.places[partner], bool(self.preferred[index]), tuple(self.places[it] for it in others)
        )

    def _chain(self, index: int) -> Iterator[int]:
        while index != _NONE:
            yield index
            index = self.fellows[index]


@dataclass(slots=True)
class Scores:
    """The runs that have a score; keeps hashes and numbers only, 49 bytes a run."""

    positions: "array[int]" = field(default_factory=lambda: array("Q"))
    places: "array[int]" = field(default_factory=lambda: array("Q"))
    prompts: "tuple[array[int], array[int]]" = field(default_factory=lambda: (array("Q"), array("Q")))
    """The two halves of a hash."""
    answers: "array[int]" = field(default_factory=lambda: array("Q"))
    scores: "array[float]" = field(default_factory=lambda: array("d"))
    corrected: bytearray = field(default_factory=bytearray)

    def enter(  # noqa: PLR0913  # a column each
        self, position: int, place: int, asked: Row, answer: Message, score: float, *, is_corrected: bool
    ) -> None:
        """Enter a run.

        Args:
            position: Its position; runs are entered in order.
            place: A number to find it again by, such as its offset in a file.
            asked: Prompt, tools and settings, as they will stand in the row.
            answer: What the model answered.
            score: How good that was; more is better.
            is_corrected: Whether a person wrote another answer in its place.
        """
        prompt = _hash(_without_ids(asked), _PROMPT_SIZE)
        self.positions.append(position)
        self.places.append(place)
        for half, start in zip(self.prompts, (0, 8), strict=True):
            half.append(int.from_bytes(prompt[start : start + 8]))
        self.answers.append(int.from_bytes(_hash(answer_key(answer), _ANSWER_SIZE)))
        self.scores.append(score)
        self.corrected.append(is_corrected)

    def pairs(self, max_pairs_per_prompt: int) -> Pairs:
        """Return the pairs."""
        num_runs = len(self.positions)
        pairs = Pairs(
            self.positions,
            self.places,
            partners=array("q", [_Fate.MERGED]) * num_runs,
            fellows=array("q", [_NONE]) * num_runs,
            preferred=bytearray(num_runs),
        )
        for runs in self._prompts():
            self._pair(self._answers_of(runs), pairs, max_pairs_per_prompt)
        return pairs

    def _prompts(self) -> Iterator[list[int]]:
        """Yield the runs of each prompt, in their order.

        Grouped bucket by bucket: to sort all of them at once would take 110 bytes a run for a moment.
        """
        upper, lower = self.prompts
        buckets = [array("q") for _ in range(_NUM_BUCKETS)]
        for run, half in enumerate(lower):
            buckets[half % _NUM_BUCKETS].append(run)
        for bucket in buckets:
            by_prompt: dict[tuple[int, int], list[int]] = {}
            for run in bucket:
                by_prompt.setdefault((upper[run], lower[run]), []).append(run)
            yield from by_prompt.values()

    def _answers_of(self, runs: list[int]) -> list[_Answer]:
        """Return the answers to a prompt, the best one first."""
        by_answer: dict[int, list[int]] = {}
        for run in runs:
            by_answer.setdefault(self.answers[run], []).append(run)
        answers = [
            _Answer(
                key,
                math.fsum(self.scores[it] for it in same) / len(same),
                same,
                may_win=not any(self.corrected[it] for it in same),
            )
            for key, same in by_answer.items()
        ]
        return sorted(answers, key=lambda it: (-it.score, it.key))

    @staticmethod
    def _pair(ranked: list[_Answer], pairs: Pairs, max_pairs: int) -> None:
        found: list[tuple[_Answer, _Answer]] = []
        losers = list(ranked)
        taken: set[int] = set()
        for best in ranked:
            while losers and losers[-1].key in taken:
                losers.pop()
            if best.key in taken or not best.may_win:
                continue
            if not losers or losers[-1].score >= best.score:
                break
            worst = losers.pop()
            taken |= {best.key, worst.key}
            found.append((best, worst))
        for best, worst in found[:max_pairs]:
            _note(pairs, best.runs, worst.runs)
        paired = {it.key for both in found[:max_pairs] for it in both}
        left = Reason.NO_PAIR if len(ranked) == 1 else Reason.ENOUGH_PAIRS if found else Reason.TIED
        for answer in ranked:
            for run in answer.runs if answer.key not in paired else ():
                pairs.partners[run] = _Fate.of(left)


def _note(pairs: Pairs, best: list[int], worst: list[int]) -> None:
    for same in (best, worst):
        for run, following in pairwise(same):
            pairs.fellows[run] = following
    first, second = sorted((best[0], worst[0]))
    pairs.partners[first] = second
    pairs.preferred[first] = first == best[0]


def answer_key(answer: Mapping[str, Any]) -> Any:
    """Return what an answer says, the same for every way of writing it: without ids, nulls, order of keys."""
    content = answer.get("content") or ""
    if isinstance(content, list) and len(content) == 1 and content[0]["type"] == "text":
        content = content[0]["text"]
    calls = [call["function"] for call in answer.get("tool_calls") or ()]
    if function := answer.get("function_call"):
        calls.append(function)
    return [content, [[call["name"], _arguments(call["arguments"])] for call in calls]]


def _arguments(text: str) -> str:
    try:
        return orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS).decode()
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):  # no JSON, or nested too deeply to be written
        return text


def _without_ids(asked: Row) -> Row:
    """Return what was asked with the ids of its tool calls numbered: they are drawn anew in every run."""
    numbers: dict[Any, str] = {}
    messages = []
    for message in asked["messages"]:
        if calls := message.get("tool_calls"):
            message = {  # noqa: PLW2901  # the numbered one
                **message,
                "tool_calls": [
                    {**call, "id": numbers.setdefault(call["id"], str(len(numbers)))} for call in calls
                ],
            }
        elif "tool_call_id" in message:
            given = message["tool_call_id"]
            message = {**message, "tool_call_id": numbers.get(given, given)}  # noqa: PLW2901
        messages.append(message)
    return {**asked, "messages": messages}


def _hash(value: Any, size: int) -> bytes:
    text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(text, digest_size=size).digest()
