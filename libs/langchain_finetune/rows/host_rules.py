"""What each host takes in a row beyond OpenAI's rules, as data by the host's name, and what breaks it. Pure.

Nothing stands here that no source says: what is None, or empty, is not known, and the host judges by itself.
The sizes of files and the numbers of rows that hold for every method are in `hosts.py`.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import orjson

from langchain_finetune.base_names import base_of, without_date
from langchain_finetune.hosts import AZURE, CUSTOM, FIREWORKS, LOCAL, NEBIUS, OPENAI, TOGETHER, Host
from langchain_finetune.rows.formats import FORMATS, Row
from langchain_finetune.rows.rules import Message, Problem, has_image, has_special_token
from langchain_finetune.runs import Reason

_HARMLESS: Final = frozenset(
    {
        Reason.INVALID_TOOL_ARGUMENTS,
        Reason.ARGUMENTS_OFF_SCHEMA,
        Reason.REFUSAL,
        Reason.NOTHING_TO_LEARN,
        Reason.SAME_OUTPUTS,
        Reason.TOO_LONG,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRules:
    """What one host takes in a row, and how many rows; by default nothing is known of it."""

    max_row_bytes: int | None = None
    max_row_tokens: Mapping[str, int] = field(default_factory=dict)
    """Tokens of one row by base, with or without its date; what is longer is cut off at its end."""

    max_rows: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Most rows of a file by method and split, where a method has a limit of its own."""

    max_image_rows: int | None = None
    """Most rows of a file that hold images."""

    needs_validation: frozenset[str] = frozenset()
    """Methods that train only with a validation file."""

    takes_images: bool = True
    """Whether any base of the host is trained on images."""

    text_bases: frozenset[str] = frozenset()
    """Bases that are not, without their date, where others of the host are."""

    has_system_first: bool = False
    """Whether a system message has to be the first one."""

    has_turns_in_order: bool = False
    """Whether user and assistant have to take turns, the user first."""

    has_unique_call_ids: bool = False
    """Whether the calls of one message need ids of their own."""

    message_keys: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Keys of a message by its role, where the host has fewer than the format."""

    refuses_special_tokens_anywhere: bool = False
    """Whether special tokens are refused in names and schemas of tools too."""

    harmless: frozenset[Reason] = _HARMLESS
    """Rules whose breach is told and does not keep the host from training."""

    def max_tokens_of(self, base: str) -> int | None:
        """Return the most tokens of one row on a base, None where that is not known."""
        name = base_of(base)
        return self.max_row_tokens.get(name) or self.max_row_tokens.get(without_date(name))

    def trains_on_images(self, base: str) -> bool:
        """Tell whether a base may be trained on images, as far as that is known."""
        return self.takes_images and not (self.text_bases and _is_among(base, self.text_bases))

    def max_rows_of(self, host: Host, method: str, split: str) -> int | None:
        """Return the most rows of a split's file, None where no limit is known."""
        return self.max_rows.get((method, split), host.max_examples)


@lru_cache(maxsize=64)
def _is_among(base: str, names: frozenset[str]) -> bool:
    name = base_of(base)
    return name in names or without_date(name) in names


# The section on token limits of https://developers.openai.com/api/docs/guides/supervised-fine-tuning, and
# Azure's fine-tune-models page, 2026-11-22: the same figures.
_GPT_ROW_TOKENS: Final = {
    "gpt-4o": 65_536,
    "gpt-4o-mini": 65_536,
    "gpt-4.1": 65_536,
    "gpt-4.1-mini": 65_536,
    "gpt-4.1-nano": 32_768,
    "gpt-3.5-turbo": 16_385,
    "gpt-3.5-turbo-0125": 16_385,
    "gpt-3.5-turbo-1106": 16_385,
}
# https://developers.openai.com/api/docs/guides/reinforcement-fine-tuning, 2026-11-22
_GRADED_ROWS: Final = {
    ("reinforcement", "train"): 50_000,
    ("reinforcement", "validation"): 1_000,
}
# https://developers.openai.com/api/docs/guides/vision-fine-tuning, 2026-11-22, names gpt-4o alone; Azure's
# fine-tune-supported-models page of the same day has gpt-4.1 besides.
_TEXT_ONLY: Final = frozenset(
    {
        *("gpt-4o-mini", "gpt-4.1-mini", "gpt-4.1-nano"),
        *("gpt-3.5-turbo", "gpt-3.5-turbo-0125", "gpt-3.5-turbo-1106"),
    }
)
_IMAGE_ROWS: Final = 50_000

_SPOKEN: Final = frozenset({"role", "content", "name"})

HOST_RULES: Final[Mapping[str, HostRules]] = {
    OPENAI.name: HostRules(
        max_row_tokens=_GPT_ROW_TOKENS,
        max_rows=_GRADED_ROWS,
        max_image_rows=_IMAGE_ROWS,
        text_bases=_TEXT_ONLY | {"gpt-4.1"},
        needs_validation=frozenset({"reinforcement"}),
    ),
    # libs/finetune_server: config.Limits, jobs/validation.py, jobs/validation_tools.py
    LOCAL.name: HostRules(
        max_row_bytes=8 * 2**20,
        takes_images=False,
        has_unique_call_ids=True,
        message_keys={
            "system": _SPOKEN,
            "user": _SPOKEN,
            "assistant": _SPOKEN | {"tool_calls", "function_call", "refusal", "weight", "audio"},
            "tool": _SPOKEN | {"tool_call_id"},
            "function": _SPOKEN,
        },
        refuses_special_tokens_anywhere=True,
        harmless=frozenset({Reason.INVALID_TOOL_ARGUMENTS, Reason.ARGUMENTS_OFF_SCHEMA, Reason.REFUSAL}),
    ),
    # https://github.com/MicrosoftDocs/azure-ai-docs, articles/foundry/fine-tuning, 2026-11-22
    AZURE.name: HostRules(
        max_row_tokens=_GPT_ROW_TOKENS,
        max_rows=_GRADED_ROWS,
        max_image_rows=_IMAGE_ROWS,
        text_bases=_TEXT_ONLY,
        needs_validation=frozenset({"reinforcement"}),
    ),
    # https://docs.tokenfactory.nebius.com/api-reference/introduction, 2026-11-22: no limit of a row's tokens.
    NEBIUS.name: HostRules(),
    # https://docs.together.ai/docs/fine-tuning/data-preparation, "Conversational data", 2026-11-24
    TOGETHER.name: HostRules(has_system_first=True, has_turns_in_order=True),
    # https://docs.fireworks.ai/fine-tuning/fine-tuning-models, "Prepare a dataset", 2026-11-24; a limit of
    # their tokens is not told.
    FIREWORKS.name: HostRules(has_system_first=True),
    CUSTOM.name: HostRules(),
}
"""By the host's name."""

_UNKNOWN: Final = HostRules()


def rules_of(host: Host) -> HostRules:
    """Return what is known of a host's rules for rows; nothing of one that is not listed."""
    return HOST_RULES.get(host.name, _UNKNOWN)


def is_too_large(num_bytes: int, rules: HostRules) -> bool:
    """Tell whether a row's line has more bytes than the host takes."""
    return rules.max_row_bytes is not None and num_bytes > rules.max_row_bytes


def find_host_problems(
    row: Row, rules: HostRules, base: str, method: str = "supervised"
) -> Iterator[Problem]:
    """Yield the rules of a host, beyond OpenAI's, that a row of the right shape breaks.

    Args:
        row: The row.
        rules: The host's.
        base: The base model, or a tuned one that is trained further; it may be empty.
        method: Method of training that the row is for.
    """
    told: list[Problem] = []
    for chat, rename in FORMATS[method].chats(row):
        for reason, field_of_chat in _chat_problems(chat, rules, base):
            problem = Problem(reason, rename(field_of_chat))
            if problem not in told:
                told.append(problem)
    return iter(told)


def line_of(value: Any) -> bytes:
    """Return a row, or a part of it, as it stands in a file."""
    try:
        return orjson.dumps(value)
    except TypeError:  # half of a surrogate pair, or a number of more than 64 bits
        return json.dumps(value).encode()


def _chat_problems(chat: Row, rules: HostRules, base: str) -> list[Problem]:
    messages = chat["messages"]
    problems: list[Problem] = []
    if rules.refuses_special_tokens_anywhere and b"<|" in line_of(chat):
        problems += _special_tokens(chat)
    if not rules.trains_on_images(base):
        problems += [
            Problem(Reason.UNSUPPORTED_CONTENT, f"messages[{index}].content")
            for index, message in enumerate(messages)
            if has_image(message)
        ]
    if rules.has_system_first:
        problems += [
            Problem(Reason.MISPLACED_SYSTEM, f"messages[{index}].role")
            for index, message in enumerate(messages)
            if index and message["role"] == "system"
        ]
    if rules.has_unique_call_ids or rules.message_keys:
        for index, message in enumerate(messages):
            problems += _message_problems(message, index, rules)
    if rules.has_turns_in_order:
        problems += _turn_problems(messages)
    return problems


def _special_tokens(chat: Row) -> Iterator[Problem]:
    """Look where OpenAI's rules do not: beside texts and arguments."""
    for key in ("tools", "functions"):
        if chat.get(key) and has_special_token(line_of(chat[key]).decode()):
            yield Problem(Reason.SPECIAL_TOKEN, key)
    for index, message in enumerate(chat["messages"]):
        if has_special_token(line_of(_beside_texts(message)).decode()):
            yield Problem(Reason.SPECIAL_TOKEN, f"messages[{index}]")


def _beside_texts(message: Message) -> Message:
    content, legacy = message.get("content"), message.get("function_call")
    calls = [(call, call["function"]) for call in message.get("tool_calls") or ()]
    parts = content if isinstance(content, list) else []
    return {
        **message,
        "content": [{**part, "text": None, "refusal": None} for part in parts],
        "tool_calls": [{**call, "function": {**called, "arguments": None}} for call, called in calls],
        "function_call": {**legacy, "arguments": None} if legacy else None,
    }


def _turn_problems(messages: list[Message]) -> Iterator[Problem]:
    before = "assistant"  # the user has the first turn
    for index, message in enumerate(messages):
        role = message["role"]
        if role in ("user", "assistant"):
            if role == before:
                yield Problem(Reason.NOT_ALTERNATING, f"messages[{index}].role")
            before = role
        elif role in ("tool", "function"):
            before = "tool"


def _message_problems(message: Message, index: int, rules: HostRules) -> Iterator[Problem]:
    known = rules.message_keys.get(message["role"])
    if known is not None and not known >= message.keys():
        for key in message:
            if key not in known:
                yield Problem(Reason.UNKNOWN_KEY, f"messages[{index}].{key}")
    calls = message.get("tool_calls")
    if rules.has_unique_call_ids and calls and len({call["id"] for call in calls}) < len(calls):
        yield Problem(Reason.REPEATED_CALL_ID, f"messages[{index}].tool_calls")
