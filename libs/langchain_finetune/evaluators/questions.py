"""Held-out rows as questions: the prompt as it was, the tools as they were, the answer on record. Pure.

A row asks as many questions as it has trained answers: every assistant turn whose `weight` is not 0, with all
that comes before it as the prompt. So the rows of collapsed sessions are replayed turn by turn, each turn on
the recorded history.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, BaseMessage, convert_to_messages
from langchain_core.output_parsers.openai_tools import make_invalid_tool_call, parse_tool_call

from langchain_finetune.errors import TrainingDataError
from langchain_finetune.evaluators.metrics.example import Example
from langchain_finetune.evaluators.tool_calls import most_tokens, recorded_answer
from langchain_finetune.rows.rules import Problem
from langchain_finetune.rows.shape import find_chat_misshapes
from langchain_finetune.runs import Reason

_BOUND: Final = ("tools", "functions", "parallel_tool_calls")
_SPARE_TOKENS: Final = 16
_HARMLESS: Final = (Reason.UNKNOWN_KEY, Reason.NO_MESSAGES)
"""No reason not to ask; that there are no messages is told in plain words."""


@dataclass(frozen=True, kw_only=True)
class Question(Example):
    """One trained answer of a held-out row, to be asked for."""

    settings: Mapping[str, Any]
    """What the recorded call had bound: tools or functions."""
    most_tokens: int
    """More than the recorded answer can have."""

    @cached_property
    def key(self) -> str:
        """SHA-256 over all that a model is asked: the same question has the same one in any file."""
        asked = json.dumps([self.prompt, self.settings], sort_keys=True)
        return hashlib.sha256(asked.encode()).hexdigest()

    @cached_property
    def messages(self) -> list[BaseMessage]:
        """The prompt as LangChain's messages."""
        return list(_to_messages(self.prompt))


class Batch(NamedTuple):
    """Questions that are asked with the same tools."""

    settings: Mapping[str, Any]
    questions: list[Question]


class Origin(NamedTuple):
    """What the report of the training data says about a row."""

    run_ids: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


def questions_from(
    rows: Iterable[Mapping[str, Any]], origins: Mapping[int, Origin] | None = None
) -> list[Question]:
    """Read the rows of a test file: supervised rows, and preferences by their preferred answer.

    Args:
        rows: The rows.
        origins: Where rows come from, by their number in the file.

    Raises:
        TrainingDataError: A row does not end with an assistant's message, or cannot be asked.
    """
    questions: list[Question] = []
    for number, row in enumerate(rows):
        origin = (origins or {}).get(number, Origin())
        questions += _readable(number, _as_chat(row), origin)
    return questions


def origins_from(report: Iterable[Mapping[str, Any]], split: str = "test") -> dict[int, Origin]:
    """Read the report of training data: run ids, and tags where its lines have them, by row of a split."""
    found: dict[int, Origin] = {}
    for line in report:
        row, run_id = line.get("row"), line.get("run_id")
        if line.get("split") == split and isinstance(row, int) and isinstance(run_id, str):
            before, tags = found.get(row, Origin()), line.get("tags")
            more = tuple(str(tag) for tag in tags) if isinstance(tags, list) else ()
            found[row] = Origin((*before.run_ids, run_id), tuple(dict.fromkeys((*before.tags, *more))))
    return found


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


def _as_chat(row: Mapping[str, Any]) -> Mapping[str, Any]:
    asked, preferred = row.get("input"), row.get("preferred_output")
    if not (isinstance(asked, Mapping) and isinstance(preferred, list)):
        return row
    history = [
        {**message, "weight": 0} if _role(message) == "assistant" else message
        for message in asked.get("messages") or []
    ]
    return {**asked, "messages": [*history, *preferred]}


def _readable(number: int, row: Mapping[str, Any], origin: Origin) -> list[Question]:
    """Return the questions of a row, of which every message and tool can be sent."""
    problem = next((it for it in find_chat_misshapes(row) if it.reason not in _HARMLESS), None)
    try:
        questions = [] if problem else list(_questions(number, row, origin))
        for question in questions:
            _ = question.messages, question.key
    except (ValueError, TypeError, NotImplementedError) as e:
        if isinstance(e, TrainingDataError):
            raise
        problem = Problem(Reason.UNKNOWN_MESSAGE, "messages")
    if problem:
        msg = f"row {number} of the test file cannot be asked: {problem.reason.value} ({problem.field})."
        raise TrainingDataError(msg)
    return questions


def _questions(number: int, row: Mapping[str, Any], origin: Origin) -> Iterator[Question]:
    messages = row.get("messages")
    if not isinstance(messages, list) or not messages or _role(messages[-1]) != "assistant":
        msg = (
            f"row {number} of the test file does not end with an assistant's message: convert the runs again."
        )
        raise TrainingDataError(msg)
    settings = {name: row[name] for name in _BOUND if row.get(name) is not None}
    answers = [turn for turn, message in enumerate(messages) if _role(message) == "assistant"]
    # A row without a trained answer would vanish from the count: its last one is asked for.
    for turn in [turn for turn in answers if messages[turn].get("weight", 1) != 0] or answers[-1:]:
        yield Question(
            row=number,
            turn=turn,
            prompt=tuple(_as_sent(each) for each in messages[:turn]),
            tools=_tools_of(settings),
            expected=recorded_answer(messages[turn]),
            run_ids=origin.run_ids,
            tags=(*origin.tags, *_kinds(messages[turn], messages[:turn])),
            settings=settings,
            most_tokens=most_tokens(messages[turn]),
        )


def _as_sent(message: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name != "weight"}


def _tools_of(settings: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    functions = [{"type": "function", "function": function} for function in settings.get("functions") or ()]
    return (*(settings.get("tools") or ()), *functions)


def _kinds(message: Mapping[str, Any], before: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield tags of what is asked for: they are there whatever the runs carried."""
    calls = recorded_answer(message).calls
    for name in dict.fromkeys(call.name for call in calls):
        yield f"tool:{name}"
    if len(calls) > 1:
        yield "parallel calls"
    if not calls:
        yield "text"
    if any(_role(each) == "assistant" for each in before):
        yield "later turn"


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
