"""The rules for a row of preferences (`dpo`): one conversation and two answers to it, one of them preferred.

The format is `FineTunePreferenceRequestInput` of OpenAI's specification. The guide adds that everything is
text (https://developers.openai.com/api/docs/guides/direct-preference-optimization, 2026-11-22).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from langchain_finetune.rows import rules, shape
from langchain_finetune.rows.arguments import find_misfits
from langchain_finetune.rows.rules import Problem
from langchain_finetune.runs import Reason

_OUTPUTS: Final = ("preferred_output", "non_preferred_output")
_ROW_KEYS: Final = frozenset({"input", *_OUTPUTS})
_INPUT_KEYS: Final = frozenset({"messages", "tools", "parallel_tool_calls"})
_IMAGES: Final = frozenset({Reason.INVALID_IMAGE, Reason.TOO_MANY_IMAGES})


def find_misshapes(row: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what keeps a row from being read as a conversation with two answers."""
    yield from shape.find_unknown_keys(row, _ROW_KEYS)
    asked = row.get("input")
    if isinstance(asked, dict):
        yield from shape.find_unknown_keys(asked, _INPUT_KEYS, "input")
        for problem in shape.find_chat_misshapes(asked):
            yield Problem(problem.reason, f"input.{problem.field}")
    else:
        yield Problem(Reason.NO_MESSAGES, "input")
    for name in _OUTPUTS:
        yield from _output_misshapes(row.get(name), name)


def find_problems(row: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield every rule that a row breaks."""
    asked = row["input"]
    yield from _text_problems(asked["messages"], "input.messages")
    for problem in rules.find_chat_problems(asked):
        if problem.reason not in _IMAGES:
            yield Problem(problem.reason, f"input.{problem.field}")
    for name, chat in answered(row):
        yield from _text_problems(row[name], name)
        yield from _output_problems(row, name, chat)
    if row[_OUTPUTS[0]] == row[_OUTPUTS[1]]:
        yield Problem(Reason.SAME_OUTPUTS, _OUTPUTS[1])


def find_notes(row: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is odd about a row without a problem, and keeps no host from training on it."""
    asked = row["input"]
    for problem in find_misfits(asked):
        yield Problem(problem.reason, f"input.{problem.field}")
    for name in _OUTPUTS:
        for problem in find_misfits({**asked, "messages": row[name]}):
            yield Problem(problem.reason, f"{name}{problem.field.removeprefix('messages')}")


def answered(row: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the conversation as each output ends it, with the output's key."""
    asked = row["input"]
    for name in _OUTPUTS:
        yield name, {**asked, "messages": [*asked["messages"], *row[name]]}


def field_of(row: Mapping[str, Any], name: str, field: str) -> str:
    """Return the row's field that a field of the conversation, as one output ends it, stands for."""
    end = f"messages[{len(row['input']['messages'])}]"
    return f"{name}[0]{field.removeprefix(end)}" if field.startswith(end) else f"input.{field}"


def as_chat(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return all that stands in a row as one chat, each text once, to be counted."""
    asked = row["input"]
    return {**asked, "messages": [*asked["messages"], *row[_OUTPUTS[0]], *row[_OUTPUTS[1]]]}


def _output_misshapes(output: Any, name: str) -> Iterator[Problem]:
    [message] = output if isinstance(output, list) and len(output) == 1 else [None]
    if not isinstance(message, dict) or message.get("role") != "assistant":
        yield Problem(Reason.INVALID_OUTPUT, name)
        return
    yield from shape.find_message_misshapes(message, f"{name}[0]")


def _output_problems(row: Mapping[str, Any], name: str, chat: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong with one answer, as the end of the conversation."""
    for problem in rules.find_problems(chat):
        field = field_of(row, name, problem.field)
        if field.startswith(name) and problem.reason not in _IMAGES:
            yield Problem(problem.reason, field)


def _text_problems(messages: list[Any], place: str) -> Iterator[Problem]:
    for index, message in enumerate(messages):
        if rules.has_image(message):
            yield Problem(Reason.UNSUPPORTED_CONTENT, f"{place}[{index}].content")
