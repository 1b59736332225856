"""The card of a data set: for a person who finds the files and asks what they are. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from langchain_finetune._version import __version__
from langchain_finetune.converters.target import TokenSource
from langchain_finetune.handles import ChatSessionFile, Method, RunSelection
from langchain_finetune.runs import SENTENCES, Reason

CARD_NAME: Final = "DATASET_CARD.md"
_METHODS: Final = {
    "supervised": "supervised fine-tuning",
    "dpo": "direct preference optimization",
    "reinforcement": "reinforcement fine-tuning",
}
_COUNTED_BY: Final[Mapping[TokenSource, str]] = {
    "tokenizer": "As the base's own tokenizer counts the row.",
    "tiktoken": "As tiktoken counts the row, with the encoding of the base.",
    "recorded": "As the host of the model that answered counted them: an estimate for another model.",
}
_BAR: Final = 40
_FEWEST_TOKENS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a card tells."""

    sessions: ChatSessionFile
    method: Method
    settings: Mapping[str, Any]
    splits: Mapping[str, tuple[int, str]]
    """Rows and SHA-256 of each split that has rows."""
    num_merged: int
    num_duplicates: int
    num_dropped: int
    rejected_by_reason: Mapping[str, int]
    redactions: Mapping[str, int]
    tokens: Counter[int]
    """Rows by their tokens, rounded down to a power of two."""
    token_source: TokenSource


def render_card(facts: Facts) -> str:
    """Return the card as Markdown; the same data give the same card."""
    return "\n".join(_lines(facts)) + "\n"


def bucket_of(num_tokens: int) -> int:
    """Return the least number of tokens of the histogram's bar that a row belongs to."""
    return 0 if num_tokens < _FEWEST_TOKENS else 1 << (num_tokens.bit_length() - 1)


def _lines(facts: Facts) -> Iterator[str]:
    sessions, num_rows = facts.sessions, sum(number for number, _ in facts.splits.values())
    source = sessions.source or str(sessions.path)
    yield "# Training data"
    yield ""
    yield f"{num_rows:,} rows for {_METHODS[facts.method]}, from {sessions.num_runs:,} runs of {source}."
    yield from _table(
        "Splits",
        ("split", "rows", "SHA-256 of the file"),
        (
            (f"`{split}.jsonl`", f"{number:,}", f"`{sha256}`")
            for split, (number, sha256) in facts.splits.items()
        ),
    )
    yield from _table("What became of the runs", ("", "runs"), _account(facts, num_rows))
    yield from _table(
        "Rejected runs",
        ("reason", "runs", "meaning"),
        (
            (f"`{reason}`", f"{number:,}", SENTENCES[Reason(reason)])
            for reason, number in facts.rejected_by_reason.items()
        ),
    )
    yield from _table(
        "Taken out of the rows",
        ("kind", "secrets"),
        ((f"`{kind}`", f"{number:,}") for kind, number in facts.redactions.items()),
    )
    yield from _histogram(facts.tokens, _COUNTED_BY[facts.token_source])
    yield from _table("Where it comes from", ("", ""), _lineage(facts))


def _account(facts: Facts, num_rows: int) -> Iterator[Sequence[str]]:
    yield "rows of their own", f"{num_rows:,}"
    yield "part of the row of a later run", f"{facts.num_merged:,}"
    yield "equal to an earlier row", f"{facts.num_duplicates:,}"
    if facts.num_dropped:
        yield "dropped, over a cap or not in the sample", f"{facts.num_dropped:,}"
    yield "rejected", f"{sum(facts.rejected_by_reason.values()):,}"
    yield "left out by the selection", f"{facts.sessions.num_unselected:,}"


def _lineage(facts: Facts) -> Iterator[Sequence[str]]:
    sessions = facts.sessions
    yield "source", sessions.source or str(sessions.path)
    yield "selection", _selection(sessions.selection)
    yield "SHA-256 of the sessions", f"`{sessions.sha256}`"
    yield "settings", _code(facts.settings)
    yield "made with", f"langchain-finetune {__version__}"


def _selection(selection: RunSelection | None) -> str:
    named = selection.model_dump(exclude_defaults=True) if selection else {}
    return _code(named) if named else "all"


def _code(value: Mapping[str, Any]) -> str:
    text = orjson.dumps(dict(value), default=str, option=orjson.OPT_SORT_KEYS).decode()
    return f"`{text.replace('`', ' ')}`"


def _table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    listed = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    if listed:
        yield from ("", f"## {title}", "", f"| {' | '.join(header)} |", "|" + "---|" * len(header))
        yield from (f"| {' | '.join(row)} |" for row in listed)


def _histogram(tokens: Counter[int], counted_by: str) -> Iterator[str]:
    if not tokens:
        return
    yield from ("", "## Tokens of a row", "", counted_by, "", "```text")
    most = max(tokens.values())
    for start in sorted(tokens):
        end = max(2 * start, _FEWEST_TOKENS) - 1
        bar = "█" * max(1, round(_BAR * tokens[start] / most))
        yield f"{start:>9,} to {end:>9,}  {bar} {tokens[start]:,}"
    yield "```"
