"""How many tokens the training rows have: exactly where that can be had, else estimated, and marked."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from langchain_finetune._spool import read_jsonl
from langchain_finetune.errors import AuthenticationFailedError, HostError
from langchain_finetune.handles import Handle, TrainingData
from langchain_finetune.rows import count_tokens, estimate_tokens, read_chat, tiktoken_counter
from langchain_finetune.rows.tokens import BYTES_PER_TOKEN, CountText
from langchain_finetune.trainers.exchange import Exchange
from langchain_finetune.trainers.hosts.account import tokenize
from langchain_finetune.trainers.preflight.row_check import read_rows

Basis = Literal["tokenizer", "tiktoken", "recorded", "characters"]

MOST_TOKENIZED: Final = 1000
"""Rows that the embedded server is asked about; of more, evenly spread ones stand for the rest."""


class TokenCount(Handle):
    """Tokens of the training rows, tools included, each row once; of a row of preferences both outputs."""

    num_tokens: int
    """Of all rows, none longer than the host takes."""

    mean: float
    """Of one row."""

    longest: int
    longest_row: int
    """The line of the longest row, counted from 1."""

    num_too_long: int = 0
    """Rows that have more tokens than the host takes; they are cut off at their end."""

    basis: Basis
    """What counted: the base's own `tokenizer`, `tiktoken` by OpenAI's cookbook, the usage `recorded` in the
    runs, or a division of the text's length, `characters`. tiktoken counts where its encoding is on this
    machine: `tiktoken.get_encoding("o200k_base")` fetches it once, `TIKTOKEN_CACHE_DIR` says where to."""

    is_exact: bool
    """Whether every row was counted by the base's own tokenizer."""


def count_offline(data: TrainingData, base: str, max_row_tokens: int | None) -> TokenCount:
    """Count without a network: by tiktoken, by the recorded usage, or by the text's length.

    Args:
        data: The training data.
        base: The base model, or a tuned one that is trained further.
        max_row_tokens: Tokens of one row that the host takes.
    """
    if count_text := tiktoken_counter(base):
        counts = [_count(line, row, data.method, count_text) for _, line, row in read_rows(data.train)]
        return _summary(counts, max_row_tokens, "tiktoken")
    # A recorded run has one answer and not two, and a row for a grader has none.
    recorded = _recorded(data) if data.method == "supervised" else {}
    counts, num_recorded = [], 0
    for number, line, row in read_rows(data.train):
        usage = recorded.get(number - 1)
        num_recorded += usage is not None
        counts.append(_count(line, row, data.method, None) if usage is None else usage)
    is_recorded = num_recorded > 0 and num_recorded == len(counts)
    return _summary(counts, max_row_tokens, "recorded" if is_recorded else "characters")


def count_by_server(
    path: Path, base: str, max_row_tokens: int | None, method: str = "supervised"
) -> Exchange[TokenCount | None]:
    """Let the embedded server count with the base's own tokenizer and prompt; None where it does not.

    Args:
        path: The training rows.
        base: The base, known to the server.
        max_row_tokens: Tokens of one row that the base takes.
        method: Method of training that the rows are for.
    """
    lengths = [len(line) for _, line, _ in read_rows(path)]
    every = max(1, -(-len(lengths) // MOST_TOKENIZED))
    counts: dict[int, int] = {}
    for number, _, row in read_rows(path):
        if (number - 1) % every or row is None or (chat := read_chat(row, method)) is None:
            continue
        try:
            counts[number - 1] = yield from tokenize(base, chat)
        except AuthenticationFailedError:
            raise
        except HostError:
            return None
    if not counts:
        return None
    # A row that was not counted has as many tokens for its bytes as those that were.
    share = sum(counts.values()) / max(1, sum(lengths[index] for index in counts))
    filled = [counts.get(index, round(length * share)) for index, length in enumerate(lengths)]
    return _summary(filled, max_row_tokens, "tokenizer", is_exact=len(counts) == len(lengths))


def _count(line: bytes, row: dict[str, Any] | None, method: str, count_text: CountText | None) -> int:
    chat = None if row is None else read_chat(row, method)
    if chat is None:
        return round(len(line) / BYTES_PER_TOKEN)
    return count_tokens(chat, count_text) if count_text else estimate_tokens(chat)


def _recorded(data: TrainingData) -> Mapping[int, int]:
    """Return the recorded tokens by the row of the training file, counted from 0."""
    if data.report is None or not data.report.exists():
        return {}
    return {
        line["row"]: line["tokens"]
        for line in read_jsonl(data.report, having=b'"kept"')
        if line.get("split") == "train" and line.get("status") == "kept" and _is_count(line.get("tokens"))
    }


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and value > 0


def _summary(counts: Iterable[int], limit: int | None, basis: Basis, *, is_exact: bool = False) -> TokenCount:
    total = num_rows = longest = longest_row = num_too_long = 0
    for number, count in enumerate(counts, start=1):
        num_rows = number
        num_too_long += limit is not None and count > limit
        total += count if limit is None else min(count, limit)
        if count > longest:
            longest, longest_row = count, number
    return TokenCount(
        num_tokens=total,
        mean=round(total / num_rows, 1) if num_rows else 0.0,
        longest=longest,
        longest_row=longest_row,
        num_too_long=num_too_long,
        basis=basis,
        is_exact=is_exact,
    )
