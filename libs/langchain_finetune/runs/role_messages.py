"""One message with a role, as OpenAI's and Anthropic's clients send it, in OpenAI chat form.

Keys that clients fill in beside the message (`annotations`, `parsed`, null fields) are left out; so is the
`index` of streamed tool calls. Anthropic's `tool_use` and `thinking` blocks are taken out of the content.
"""

from collections.abc import Mapping
from typing import Any, Final

from langchain_finetune.runs.answers import as_answer
from langchain_finetune.runs.content import Aside, content_of
from langchain_finetune.runs.reasoning import REASONING, beside
from langchain_finetune.runs.rejections import Reason, Unreadable
from langchain_finetune.runs.tools import call_of_block, function_call, openai_tool_call

Message = dict[str, Any]

_ROLES: Final = {"human": "user", "ai": "assistant", "model": "assistant"}
_INSTEAD_OF_TEXT: Final = ("tool_calls", "function_call", "refusal")


def read_role_message(message: Any) -> Message:
    """Read one message.

    Raises:
        Unreadable: It is no message of a kind that OpenAI's chat completions take.
    """
    if not isinstance(message, dict) or not isinstance(role := message.get("role"), str):
        raise Unreadable(Reason.UNKNOWN_MESSAGE)
    role = _ROLES.get(role, role)
    if role == "assistant":
        return _assistant(message)
    if "content" not in message or message.get("tool_calls"):  # only a model calls
        raise Unreadable(Reason.UNKNOWN_MESSAGE)
    read: Message = {"role": role, "content": content_of(message["content"])}
    if isinstance(name := message.get("name"), str):
        read["name"] = name
    if isinstance(call_id := message.get("tool_call_id"), str):
        read["tool_call_id"] = call_id
    return read


def read_role_answer(message: Any) -> Message:
    """Read the message that a model gave, where the role may be missing.

    Raises:
        Unreadable: It is no assistant message, is empty, is spoken, or calls a tool with broken JSON.
    """
    if not isinstance(message, dict):
        raise Unreadable(Reason.NO_ANSWER)
    if message.get("audio"):
        raise Unreadable(Reason.UNSUPPORTED_CONTENT)
    if not isinstance(message.get("role"), str):
        message = {**message, "role": "assistant"}
    return as_answer(read_role_message(message))


def _assistant(message: Mapping[str, Any]) -> Message:
    aside = Aside()
    read: Message = {"role": "assistant", "content": content_of(message.get("content"), aside)}
    if message.get("audio") and not read["content"]:
        raise Unreadable(Reason.UNSUPPORTED_CONTENT)
    if isinstance(name := message.get("name"), str):
        read["name"] = name
    _add_calls(read, message, aside)
    if isinstance(refusal := message.get("refusal"), str) and refusal:
        read["refusal"] = refusal
    if reasoning := "\n\n".join(aside.reasoning) or beside(message):
        read[REASONING] = reasoning
    if not read["content"] and not read.keys().isdisjoint(_INSTEAD_OF_TEXT):
        read["content"] = None
    elif "content" not in message and not reasoning:
        raise Unreadable(Reason.UNKNOWN_MESSAGE)
    return read


def _add_calls(read: Message, message: Mapping[str, Any], aside: Aside) -> None:
    if calls := message.get("tool_calls"):
        if not isinstance(calls, list):
            raise Unreadable(Reason.UNKNOWN_MESSAGE)
        read["tool_calls"] = [openai_tool_call(call) for call in calls]
    elif aside.calls:
        read["tool_calls"] = [call_of_block(block) for block in aside.calls]
    elif call := message.get("function_call"):
        read["function_call"] = function_call(call)
