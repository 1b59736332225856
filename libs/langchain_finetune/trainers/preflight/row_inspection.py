"""What is in a file of training rows, and what is wrong with it; no network, and no host in particular."""

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from langchain_finetune.handles import Handle, Method
from langchain_finetune.hosts import OPENAI, Host
from langchain_finetune.rows import estimate_tokens, read_chat
from langchain_finetune.trainers.preflight.row_check import RowProblem, check_files, read_rows

_MOST_NAMES: Final = 20


class RowsInspection(Handle):
    """What was found. Names and counts; nothing of what stands in the rows but names of tools."""

    method: Method
    num_rows: int
    num_bytes: int
    num_readable: int
    """Rows of the right shape; the figures below are theirs."""

    num_messages: int
    num_trained: int
    """Answers that are trained on: assistant messages that have no weight of 0."""

    num_with_tools: int
    tools: Mapping[str, int]
    """Tools called in them, by name."""

    num_tokens: int
    """About, by the length of the text."""

    longest_tokens: int
    problems: tuple[RowProblem, ...]
    """The first ones, by the host's rules."""

    num_errors: int
    num_warnings: int


def inspect_rows(
    path: str | os.PathLike[str],
    *,
    method: Method | None = None,
    host: Host = OPENAI,
    is_held_out: bool = False,
) -> RowsInspection:
    """Read a file of training rows, and say what is there.

    Args:
        path: JSON Lines.
        method: What they are for; None is what the first row looks like.
        host: Whose rules they are held to.
        is_held_out: Whether they are not trained on: then a few are enough.

    Raises:
        SourceNotFoundError: There is no such file.
    """
    file = Path(path)
    chosen = method or _method_of(file)
    check = check_files(file, None, host, method=chosen)
    # What the file lacks beside itself is not its own fault.
    others = ("no_validation_rows", *(("not_enough_rows",) if is_held_out else ()))
    problems = [problem for problem in check.problems if problem.code not in others]
    num_others = len(check.problems) - len(problems)
    tally = Counter[str]()
    tools, longest = Counter[str](), 0
    for _, _, row in read_rows(file):
        if row is None or (chat := read_chat(row, chosen)) is None:
            continue
        tokens = estimate_tokens(chat)
        longest = max(longest, tokens)
        tally.update(readable=1, tokens=tokens, tools=bool(chat.get("tools") or chat.get("functions")))
        for message in chat["messages"]:
            tally["messages"] += 1
            if message["role"] == "assistant":
                tally["trained"] += message.get("weight") != 0
                tools.update(_called(message))
    return RowsInspection(
        method=chosen,
        num_rows=check.num_rows["train"],
        num_bytes=check.num_bytes["train"],
        num_readable=tally["readable"],
        num_messages=tally["messages"],
        num_trained=tally["trained"],
        num_with_tools=tally["tools"],
        tools=dict(tools.most_common(_MOST_NAMES)),
        num_tokens=tally["tokens"],
        longest_tokens=longest,
        problems=tuple(problems),
        num_errors=check.num_errors - num_others,
        num_warnings=check.num_warnings,
    )


def _method_of(path: Path) -> Method:
    first = next((row for _, _, row in read_rows(path) if row is not None), {})
    if "preferred_output" in first:
        return "dpo"
    messages = first.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    # Whatever else stands beside a question that nobody has answered is for the grader.
    is_question = isinstance(last, dict) and last.get("role") == "user"
    return "reinforcement" if is_question else "supervised"


def _called(message: Mapping[str, Any]) -> list[str]:
    calls = [call["function"] for call in message.get("tool_calls") or []]
    calls += [message["function_call"]] if message.get("function_call") else []
    return [str(call["name"]) for call in calls]
