"""Held-out rows as questions: the prompt as it was, the tools as they were, the answer on record. Pure."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, BaseMessage, convert_to_messages
from langchain_core.output_parsers.openai_tools import make_invalid_tool_call, parse_tool_call

from langchain_finetune.errors import TrainingDataError
from langchain_finetune.evaluators.tool_calls import Answer, most_tokens, recorded_answer

_BOUND: Final = ("tools", "functions", "parallel_tool_calls")
_SPARE_TOKENS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One held-out row."""

    row: int
    """0-based in the test file."""
    messages: list[BaseMessage]
    settings: Mapping[str, Any]
    """What the recorded call had bound: tools or functions."""
    expected: Answer
    most_tokens: int
    """More than the recorded answer can have."""


class Batch(NamedTuple):
    """Questions that are asked with the same tools."""

    settings: Mapping[str, Any]
    questions: list[Question]


def questions_from(rows: Iterable[Mapping[str, Any]]) -> list[Question]:
    """Read the rows of a test file.

    Raises:
        TrainingDataError: A row does not end with an assistant's message.
    """
    return [_question(number, row) for number, row in enumerate(rows)]


def batches(questions: Iterable[Question]) -> list[Batch]:
    """Put questions with the same tools together, in the order of their first."""
    groups: dict[str, Batch] = {}
    for question in questions:
        key = json.dumps(question.settings, sort_keys=True)
        groups.setdefault(key, Batch(question.settings, [])).questions.append(question)
    return list(groups.values())


def token_limit(questions: Iterable[Question]) -> int:
    """Return how many tokens an answer may have: room for the longest on record, so rambling is cheap."""
    return max(question.most_tokens for question in questions) + _SPARE_TOKENS


def _question(number: int, row: Mapping[str, Any]) -> Question:
    messages = row.get("messages")
    if not isinstance(messages, list) or not messages or _role(messages[-1]) != "assistant":
        msg = (
            f"row {number} of the test file does not end with an assistant's message: convert the runs again."
        )
        raise TrainingDataError(msg)
    return Question(
        row=number,
        messages=list(_to_messages(messages[:-1])),
        settings={name: row[name] for name in _BOUND if row.get(name) is not None},
        expected=recorded_answer(messages[-1]),
        most_tokens=most_tokens(messages[-1]),
    )


def _role(message: Any) -> Any:
    return message.get("role") if isinstance(message, Mapping) else None


def _to_messages(messages: Iterable[Mapping[str, Any]]) -> Iterator[BaseMessage]:
    for message in messages:
        if message.get("role") == "assistant":
            yield _assistant_message(message)
        else:
            yield from convert_to_messages([{"content": None, **message}])


def _assistant_message(message: Mapping[str, Any]) -> AIMessage:
    """Convert an answer of the history; core's own conversion stops at arguments that are no JSON."""
    valid, invalid = [], []
    for call in message.get("tool_calls") or []:
        try:
            valid.append(parse_tool_call(call, return_id=True))
        except OutputParserException as e:
            invalid.append(make_invalid_tool_call(call, str(e)))
    extra = {name: message[name] for name in ("function_call", "refusal") if message.get(name)}
    return AIMessage(
        content=message.get("content") or "",
        name=message.get("name"),
        tool_calls=valid,
        invalid_tool_calls=invalid,
        additional_kwargs=extra,
    )
