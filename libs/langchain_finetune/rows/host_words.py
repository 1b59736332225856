"""What is wrong with a row in OpenAI's own words, where they are known: what people search the web for.

The sentences were seen in jobs that failed; hosts that speak OpenAI's protocol use them too. What they repeat
of a row is left out. Rules whose sentence nobody has written down have none.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from langchain_finetune.rows.rules import Problem
from langchain_finetune.runs import Reason

_MESSAGE: Final = re.compile(r"messages\[(\d+)\]")


class HostWords(NamedTuple):
    """What OpenAI says when a job fails because of a row."""

    code: str
    """Of the failed job."""

    message: str
    """With `{row}` and `{message}`, both counted from 1, and `{key}`."""

    source: str
    """Where it was seen."""


_PHP: Final = "https://github.com/openai-php/client, tests/Fixtures/File.php"
_JOB: Final = "a job of 2024-02-26 that failed, quoted in public notebooks"
_QUOTED: Final = "jobs that failed, quoted in public repositories"
_FORUM: Final = (
    "https://community.openai.com/t/fine-tuning-with-the-result-of-a-function-call-tool-role/965584"
)
_LLMCOMP: Final = "https://github.com/johny-b/llmcomp/issues/59"

NOT_JSON: Final = HostWords(
    "invalid_training_file", "Example {row} cannot be parsed. Error: line contains invalid json", _PHP
)
NO_MESSAGES: Final = HostWords("invalid_training_file", "Example {row} is missing key 'messages'", _QUOTED)
NO_INPUT: Final = HostWords("invalid_training_file", "Example {row} is missing key 'input'", _QUOTED)
EXTRA_KEY: Final = HostWords("invalid_file_format", 'Example {row} contains an extra "{key}".', _QUOTED)
NO_ROLE: Final = HostWords(
    "invalid_training_file", "Example {row}, message {message} Discriminator 'role' is missing in value", _JOB
)
SYSTEM: Final = HostWords(
    "invalid_training_file", "System messages are not supported in 'reinforcement' examples", _QUOTED
)
CONTENT: Final = HostWords(
    "invalid_training_file",
    'Line {row}, message {message}, key "content": Input should be a valid string',
    _FORUM,
)
TOKEN: Final = HostWords("invalid_file_format", "Example {row} message contains an invalid token", _LLMCOMP)
TOO_FEW: Final = HostWords(
    "invalid_n_examples",
    "Training file has {row} example(s), but must have at least {least} examples",
    _QUOTED,
)


def in_host_words(
    problem: Problem, number: int, row: Mapping[str, Any] | None = None, method: str = "supervised"
) -> str | None:
    """Return what OpenAI says of a row's problem; None where that is not known.

    Args:
        problem: The problem.
        number: The row's line, counted from 1.
        row: The row, None where it is no object.
        method: Method of training that the row is for.
    """
    words = _words_on(problem, row or {}, method)
    if words is None:
        return None
    place = _MESSAGE.search(problem.field)
    message = int(place[1]) + 1 if place else None
    return words.message.format(row=number, message=message, key=problem.field)


def _words_on(problem: Problem, row: Mapping[str, Any], method: str) -> HostWords | None:
    reason, field = problem
    if reason is Reason.UNKNOWN_KEY:
        # The sentence that was seen is about a key of the row itself, not of a message.
        return EXTRA_KEY if field.isidentifier() else None
    if reason is Reason.NO_MESSAGES:
        key, words = ("input", NO_INPUT) if method == "dpo" else ("messages", NO_MESSAGES)
        return words if key not in row else None
    if reason in (Reason.UNKNOWN_ROLE, Reason.UNSUPPORTED_CONTENT):
        message = _message_at(field, row, method)
        return None if message is None else _words_on_message(reason, message, method)
    return {Reason.NOT_JSON: NOT_JSON, Reason.SPECIAL_TOKEN: TOKEN}.get(reason)


def _words_on_message(reason: Reason, message: Mapping[str, Any], method: str) -> HostWords | None:
    if reason is Reason.UNSUPPORTED_CONTENT:
        return None if isinstance(message.get("content"), str | list) else CONTENT
    if "role" not in message:
        return NO_ROLE
    return SYSTEM if message["role"] == "system" and method == "reinforcement" else None


def _message_at(field: str, row: Mapping[str, Any], method: str) -> Mapping[str, Any] | None:
    place = _MESSAGE.search(field)
    chat = row.get("input") if method == "dpo" else row
    messages = chat.get("messages") if isinstance(chat, dict) else None
    if place is None or not isinstance(messages, list) or int(place[1]) >= len(messages):
        return None
    message = messages[int(place[1])]
    return message if isinstance(message, dict) else None
