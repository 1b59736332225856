"""How many near duplicates are found, and how many of those found are some: against every pair compared.

Two rows without a shingle in common are not alike, so that only pairs with one are compared: the result is
that of comparing all of them.
"""

import random
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from converter_source import WORDS

_QUESTION_WORDS: Final = 60
_ANSWER_WORDS: Final = 40
_FAMILY: Final = 4
_MOST_CHANGES: Final = 8
_CLOSE: Final = 0.9


class Found(NamedTuple):
    """What was found."""

    num_rows: int
    num_near: int
    """Rows that are near an earlier one, by every pair compared."""
    recall: float
    """Share of them that were found."""
    recall_of_close: float
    """Share found of those whose similarity is 0.9 and more: an estimate errs about the threshold itself."""
    precision: float
    """Share of the rows found that are near the one that they were found with."""
    lowest: float
    """Least similarity of a row found to the one that it was found with."""


def make_rows(num_rows: int) -> Iterator[dict[str, Any]]:
    """Yield rows in families: three of four are the first one with up to eight words replaced, in any place.

    A word of a hundred is in three of about ninety-six shingles, so that the families lie on both sides of
    the threshold of 0.8.
    """
    choose = random.Random(0)
    for number in range(num_rows):
        if number % _FAMILY == 0:
            first = choose.choices(WORDS, k=_QUESTION_WORDS + _ANSWER_WORDS)
        words = [*first]
        if number % _FAMILY:
            for place in choose.sample(range(len(words)), choose.randint(0, _MOST_CHANGES)):
                words[place] = choose.choice(WORDS)
        question, answer = " ".join(words[:_QUESTION_WORDS]), " ".join(words[_QUESTION_WORDS:])
        yield {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def measure(num_rows: int) -> Found:
    """Find near duplicates by their signatures, and by comparing every pair."""
    from langchain_finetune.converters.duplicates.conversation_text import read_text, similarity  # noqa: PLC0415
    from langchain_finetune.converters.duplicates.near_duplicates import THRESHOLD, NearDuplicates  # noqa: PLC0415

    rows = [*make_rows(num_rows)]
    texts = [read_text(row) for row in rows]
    near = NearDuplicates()
    firsts = [near.first_of(row, position) for position, row in enumerate(rows)]
    found = {position for position, first in enumerate(firsts) if first != position}
    likeness = [similarity(texts[position], texts[firsts[position]]) for position in sorted(found)]

    truly, close, seen = set(), set(), defaultdict[str, list[int]](list)
    for position, text in enumerate(texts):
        others = {other for shingle in text.last_turn for other in seen[shingle]}
        likeliest = max((similarity(text, texts[other]) for other in others), default=0.0)
        if likeliest >= _CLOSE:
            close.add(position)
        if likeliest >= THRESHOLD:
            truly.add(position)  # and is no first one of others, as it would not be kept
        else:
            for shingle in text.last_turn:
                seen[shingle].append(position)
    return Found(
        num_rows,
        len(truly),
        len(found & truly) / len(truly),
        len(found & close) / len(close),
        sum(each >= THRESHOLD for each in likeness) / len(found),
        min(likeness),
    )
