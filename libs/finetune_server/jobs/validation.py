"""Whether a training file can be trained on: OpenAI's rules for supervised rows, row by row.

Pure: reads lines, raises `InvalidFileError` at the first fault, in OpenAI's words and with the example's
number, which is its line's number. A message names keys and places, never what a row says.
"""

import re
from collections.abc import Iterable
from typing import Any, Literal, NoReturn

import orjson

from finetune_server.jobs.validation_tools import (
    RowFault,
    check_tool_answers,
    check_tool_calls,
    check_tools,
    reject,
)

FileParam = Literal["training_file", "validation_file"]

_WORDS: dict[FileParam, str] = {"training_file": "training file", "validation_file": "validation file"}
_ROW_KEYS = {"messages", "tools", "functions", "parallel_tool_calls"}
_MESSAGE_KEYS = {
    "system": {"role", "content", "name"},
    "user": {"role", "content", "name"},
    "assistant": {"role", "content", "name", "tool_calls", "function_call", "refusal", "weight", "audio"},
    "tool": {"role", "content", "name", "tool_call_id"},
    "function": {"role", "content", "name"},
}
_SPECIAL = re.compile(
    r"<\|(?:im_start|im_end|im_sep|endoftext|endofprompt|fim_prefix|fim_middle|fim_suffix)\|>"
)
_BOM = b"\xef\xbb\xbf"


class InvalidFileError(ValueError):
    """A file that cannot be trained on, with the fields of a failed job's `error`."""

    def __init__(self, code: str, message: str, param: FileParam) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


def check_file(
    lines: Iterable[bytes], param: FileParam, *, min_examples: int, max_examples: int, max_bytes: int
) -> int:
    """Checks every line, none longer than `max_bytes`, and gives the number of examples.

    Raises:
        InvalidFileError: At the first line that breaks a rule, or for too few or too many lines.
    """
    num_examples = 0
    for num_examples, line in enumerate(lines, start=1):
        if num_examples > max_examples:
            _raise_count(f"more than the {max_examples} examples that this server takes", param)
        try:
            if len(line) > max_bytes:
                reject(f" is longer than the {max_bytes} bytes that this server takes")
            check_row(parse_line(line, is_first=num_examples == 1))
        except RowFault as fault:
            raise _invalid_file(fault, num_examples, param) from None
    if num_examples < min_examples:
        few = f"{num_examples} example(s), but must have at least {min_examples} examples"
        _raise_count(few, param)
    return num_examples


def parse_line(line: bytes, *, is_first: bool = False) -> dict[str, Any]:
    """The JSON object in a line; a byte order mark is allowed at the start of the file.

    Raises:
        RowFault: For what is no JSON object.
    """
    text = line.removeprefix(_BOM) if is_first else line
    try:
        row = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        reason = str(error) if text.strip() else "the line is empty"
        reject(f" cannot be parsed. Error: line contains invalid json: {reason}")
    if not isinstance(row, dict):
        reject(" is not a JSON object")
    return row


def check_row(row: dict[str, Any]) -> None:
    """Checks one example.

    Raises:
        RowFault: For the first rule it breaks.
    """
    if "messages" not in row:
        reject(" is missing key 'messages'")
    _check_keys(row, _ROW_KEYS, "")
    names = check_tools(row)
    messages = row["messages"]
    if not isinstance(messages, list) or not messages:
        reject(", key 'messages' must be a list with at least one message")
    for number, message in enumerate(messages, start=1):
        _check_message(message, f", message {number}")
        if message["role"] == "assistant":
            check_tool_calls(message, f", message {number}", names)
    check_tool_answers(messages)
    _check_ending(messages)
    _check_special_tokens(row)


def _check_message(message: Any, place: str) -> None:
    if not isinstance(message, dict):
        reject(f"{place} is not a JSON object")
    if "role" not in message:
        reject(f"{place} Discriminator 'role' is missing in value")
    role = message["role"]
    if not isinstance(role, str) or role not in _MESSAGE_KEYS:
        expected = ", ".join(f"'{known}'" for known in _MESSAGE_KEYS)
        reject(f"{place} 'role' does not match any of the expected tags: {expected}")
    _check_keys(message, _MESSAGE_KEYS[role], place)
    _check_content(message, role, place)
    if "name" in message and not isinstance(message["name"], str | None):
        reject(f"{place}, key 'name' must be a string")
    weight = message.get("weight")
    if weight is not None and (isinstance(weight, bool) or weight not in (0, 1)):
        reject(f"{place}, key 'weight' must be 0 or 1", code="invalid_file_format")


def _check_content(message: dict[str, Any], role: str, place: str) -> None:
    content = message.get("content")
    if content is None and (role == "assistant" or (role == "function" and "content" in message)):
        return
    if isinstance(content, list):
        for part in content:
            _check_part(part, role, place)
    elif not isinstance(content, str):
        reject(f"{place}, key 'content' must be a string or a list of parts")


def _check_part(part: Any, role: str, place: str) -> None:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "refusal" and role == "assistant" and isinstance(part.get("refusal"), str):
        return
    if kind in {"image_url", "input_audio", "file"}:
        reject(f"{place} has a part of type '{kind}': this server trains on text only")
    if kind != "text" or not isinstance(part.get("text"), str):
        reject(f"{place}, each part of 'content' must be of type 'text' with a string 'text'")


def _check_keys(value: dict[str, Any], known: set[str], place: str) -> None:
    for key in value:
        if key not in known:
            reject(f'{place} contains an extra "{key[:40]}"', code="invalid_file_format")


def _check_ending(messages: list[dict[str, Any]]) -> None:
    last = messages[-1]
    if last["role"] != "assistant":
        reject(" must end with an assistant message, the completion to learn")
    if not any(last.get(key) for key in ("content", "tool_calls", "function_call", "refusal")):
        reject(" ends with an assistant message that says nothing and calls nothing")


def _check_special_tokens(value: Any) -> None:
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.keys()
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str) and (found := _SPECIAL.search(value)):
            reject(f" message contains an invalid token: {found[0]}", code="invalid_file_format")


def _raise_count(fault: str, param: FileParam) -> NoReturn:
    code, message = "invalid_n_examples", f"{_WORDS[param].capitalize()} has {fault}"
    raise InvalidFileError(code, message, param)


def _invalid_file(fault: RowFault, number: int, param: FileParam) -> InvalidFileError:
    words = _WORDS[param]
    where = f"Invalid file format. Example {number}{fault}."
    if fault.code == "invalid_file_format":
        message = f"The job failed due to a file format error in the {words}. {where}"
        return InvalidFileError(fault.code, message, param)
    code = f"invalid_{param}"
    return InvalidFileError(code, f"The job failed due to an invalid {words}. {where}", param)
