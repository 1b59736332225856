"""Items of OpenAI's Responses API as OpenAI chat messages.

The API writes what chat completions put into one assistant message as several items: reasoning, texts and
function calls. Those that stand together are one turn of the model.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from langchain_finetune.runs.content import content_of, text_of
from langchain_finetune.runs.reasoning import REASONING, reasoning_text
from langchain_finetune.runs.rejections import Reason, Unreadable
from langchain_finetune.runs.role_messages import read_role_message
from langchain_finetune.runs.tools import Tool, call_of_block, tools_of

Message = dict[str, Any]

MAX_ADDITIONS: Final = 100
"""Most times that a history may add tools."""

_OF_THE_MODEL: Final = frozenset({"message", "function_call", "reasoning"})
_OF_THE_HISTORY: Final = frozenset({"item_reference", "compaction"})
_KINDS: Final = _OF_THE_MODEL | _OF_THE_HISTORY | {"function_call_output", "additional_tools"}
_OTHER_KINDS: Final = ("_call", "_call_output", "_list_tools", "_approval_request", "_approval_response")


def is_item(element: Any) -> bool:
    """Say whether a value is an item that only the Responses API has."""
    kind = element.get("type") if isinstance(element, dict) else None
    return isinstance(kind, str) and (kind in _KINDS or kind.endswith(_OTHER_KINDS))


class Items:
    """Reads items one after the other into messages."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.added_tools: list[tuple[int, list[Tool]]] = []
        """Tools that the history adds, each list with the number of assistant turns before it."""
        self._turn: Message | None = None

    def read(self, items: Iterable[Any]) -> "Items":
        """Read items.

        Raises:
            Unreadable: One of them cannot be said in chat messages.
        """
        for item in items:
            self._read(item)
        self._end_turn()
        return self

    def _read(self, item: Any) -> None:
        if not isinstance(item, dict):
            raise Unreadable(Reason.UNKNOWN_MESSAGE)
        kind = item.get("type")
        if kind == "function_call":
            self._assistant().setdefault("tool_calls", []).append(call_of_block(item))
        elif kind == "reasoning":
            self._reason(reasoning_text(item))
        elif kind == "function_call_output":
            self._end_turn()
            self.messages.append(_tool_message(item))
        elif kind == "additional_tools":
            self._end_turn()
            self.added_tools.append((self._num_turns(), tools_of(item.get("tools")) or []))
            if len(self.added_tools) > MAX_ADDITIONS:
                raise Unreadable(Reason.TOO_LARGE)
        elif isinstance(item.get("role"), str):
            self._say(read_role_message(item))
        elif is_item(item):
            raise Unreadable(Reason.PREVIOUS_RESPONSE_ID if kind in _OF_THE_HISTORY else Reason.BUILTIN_TOOL)
        else:
            raise Unreadable(Reason.UNKNOWN_MESSAGE)

    def _assistant(self) -> Message:
        if self._turn is None:
            self._turn = {"role": "assistant", "content": ""}
        return self._turn

    def _reason(self, text: str) -> None:
        turn = self._assistant()
        if text:
            turn[REASONING] = "\n\n".join(filter(None, (turn.get(REASONING), text)))

    def _say(self, message: Message) -> None:
        if message["role"] != "assistant":
            self._end_turn()
            self.messages.append(message)
            return
        message["content"] = text_of(message["content"])
        if self._turn is not None and self._turn["content"]:
            self._end_turn()
        if self._turn is None:
            self._turn = message
        else:
            _merge(self._turn, message)

    def _end_turn(self) -> None:
        turn, self._turn = self._turn, None
        if turn is None:
            return
        if "tool_calls" in turn:
            turn["content"] = turn["content"] or None
        elif not turn["content"] and "refusal" not in turn and REASONING not in turn:
            return  # encrypted reasoning that led to nothing recorded
        self.messages.append(turn)

    def _num_turns(self) -> int:
        return sum(message["role"] == "assistant" for message in self.messages)


def read_output(items: list[Any]) -> Message:
    """Read the items that a model gave as its one answer.

    Raises:
        Unreadable: They hold none, or what cannot be said in a chat message.
    """
    if not items:
        raise Unreadable(Reason.NO_ANSWER)
    reader = Items()
    reader.read(items)
    if not reader.messages:
        raise Unreadable(Reason.EMPTY_ANSWER)
    first, *rest = reader.messages
    for message in rest:  # several texts of one response, such as a comment and the final answer
        _merge(first, message)
    return first


def _merge(turn: Message, message: Message) -> None:
    if message["role"] != "assistant":
        raise Unreadable(Reason.UNKNOWN_MESSAGE)
    before, after = turn["content"], message["content"]
    if before and after:
        if not (isinstance(before, str) and isinstance(after, str)):
            raise Unreadable(Reason.UNSUPPORTED_CONTENT)
        turn["content"] = f"{before}\n\n{after}"
    else:
        turn["content"] = before or after
    if calls := message.get("tool_calls"):
        turn.setdefault("tool_calls", []).extend(calls)
    if reasoning := message.get(REASONING):
        turn[REASONING] = "\n\n".join(filter(None, (turn.get(REASONING), reasoning)))
    if refusal := message.get("refusal"):
        turn["refusal"] = refusal


def _tool_message(item: Mapping[str, Any]) -> Message:
    call_id = item.get("call_id")
    if not isinstance(call_id, str):
        raise Unreadable(Reason.UNKNOWN_MESSAGE)
    return {"role": "tool", "content": content_of(item.get("output")), "tool_call_id": call_id}
