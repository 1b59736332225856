"""A list of recorded messages, of any wire, as OpenAI chat messages."""

from collections.abc import Mapping
from typing import Any, Final

from langchain_finetune.runs.bounds import refuse_many
from langchain_finetune.runs.content import content_of, text_of
from langchain_finetune.runs.messages import ROLES, is_langchain_message, message_of, read_plain, recorded
from langchain_finetune.runs.rejections import Reason, Unreadable
from langchain_finetune.runs.responses_items import Items, is_item
from langchain_finetune.runs.role_messages import Message, read_role_message

_PAIR: Final = 2
_PAIR_ROLES: Final = frozenset({"user", "assistant", *ROLES})


def read_conversation(elements: list[Any]) -> list[Message]:
    """Read the messages of a prompt.

    Elements are LangChain messages (constructors, `{"type", "data"}`, dumps), messages with a role, pairs of
    role and text, and items of the Responses API.

    Raises:
        Unreadable: One of them is of no such kind, or there are too many.
    """
    refuse_many(elements)
    messages: list[Message] = []
    for element in elements:
        if (plain := read_plain(element)) is not None:
            messages.append(plain)
        elif not isinstance(element, dict):
            messages.append(_of_pair(element))
        elif is_langchain_message(element):
            role, fields = recorded(element)
            if role == "user" and _has_tool_results(fields):
                messages += _tool_results(fields["content"])
            else:
                messages.append(message_of(role, fields))
        elif is_item(element):
            return _messages_of_items(elements)
        elif _has_tool_results(element):
            messages += _tool_results(element["content"])
        else:
            messages.append(read_role_message(element))
    return messages


def _messages_of_items(elements: list[Any]) -> list[Message]:
    items = Items().read(elements)
    if items.added_tools:  # only the Responses API itself has them: its dialect reads them
        raise Unreadable(Reason.UNSUPPORTED_CONTENT)
    return items.messages


def join_texts(messages: list[Message]) -> None:
    """Write the texts of assistant messages as one, for wires that have no other form than blocks."""
    for message in messages:
        if message["role"] == "assistant" and isinstance(message["content"], list):
            message["content"] = text_of(message["content"])


def is_pair(element: Any) -> bool:
    """Say whether a value is a pair of role and text, LangChain's short form of a message."""
    return (
        isinstance(element, list)
        and len(element) == _PAIR
        and all(isinstance(part, str) for part in element)
        and element[0] in _PAIR_ROLES
    )


def _of_pair(element: Any) -> Message:
    if not is_pair(element):
        raise Unreadable(Reason.UNKNOWN_MESSAGE)
    role, text = element
    if role in ("user", "assistant"):
        return {"role": role, "content": text}
    return message_of(ROLES[role], {"content": text})


def _has_tool_results(fields: Mapping[str, Any]) -> bool:
    content = fields.get("content")
    return isinstance(content, list) and any(map(_is_tool_result, content))


def _is_tool_result(block: Any) -> bool:
    return isinstance(block, dict) and block.get("type") == "tool_result"


def _tool_results(blocks: list[Any]) -> list[Message]:
    """Split one of Anthropic's user messages: each result is a tool message, the rest the user's."""
    messages: list[Message] = []
    said: list[Any] = []
    for block in blocks:
        if not _is_tool_result(block):
            said.append(block)
            continue
        _end_saying(said, messages)
        if not isinstance(call_id := block.get("tool_use_id"), str):
            raise Unreadable(Reason.UNKNOWN_MESSAGE)
        content = content_of(block.get("content"))
        messages.append({"role": "tool", "content": content, "tool_call_id": call_id})
    _end_saying(said, messages)
    return messages


def _end_saying(said: list[Any], messages: list[Message]) -> None:
    if said:
        messages.append({"role": "user", "content": content_of(said)})
        said.clear()
