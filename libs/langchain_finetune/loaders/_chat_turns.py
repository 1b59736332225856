"""A chat among people, or with a bot, as sessions that end with a turn of the AI: pure.

Chat exports do not know an AI: every message is a human's, with its sender in `additional_kwargs`, as
langchain-community's loaders write them. `map_ai_messages` and `merge_chat_runs` of its
`chat_loaders.utils` are what `ai_sender` and `merge_runs` do here, in this order: in an iMessage export both
sides have the same sender, and can only be told apart when the AI's turns are known.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Literal

from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, SystemMessage, ToolMessage
from pydantic import BaseModel, Field

from langchain_finetune.handles import Handle, RecordedSession
from langchain_finetune.runs import Reason, Rejection, read_chat_session

_DELIMITER: Final = "\n\n"
_CARRIERS: Final = ("function_call", "refusal", "audio")

AISender = str | tuple[str, ...] | Callable[[BaseMessage], bool]


class ChatFields(BaseModel):
    """How chats become sessions: written once for the loader's constructor and for its input."""

    ai_sender: AISender | None = Field(default=None, exclude=True, repr=False)
    """Who is the AI: the sender in the export, several of them, or a predicate on the message. None where
    the loader itself gives AI messages."""

    merge_runs: bool = True
    """Whether messages that one sender wrote in a row become one, two newlines between them."""

    targets: Literal["all", "last"] = "all"
    """Which turns of the AI are trained on: all of a session, or its last one (the others get `weight` 0)."""

    max_messages: int | None = Field(default=None, ge=2)
    """Most messages of a session, system messages aside; a longer chat becomes several, each of which ends
    with a turn of the AI. None: one session a chat, which may be more tokens than a host takes."""


class ChatSettings(ChatFields, Handle):
    """How chats become sessions."""


def read_chat(chat: Any, settings: ChatSettings, chat_id: str) -> Iterator[RecordedSession | Rejection]:
    """Yield the sessions of a chat, or why there are none; never raises for what the chat holds.

    What stands after the AI's last turn has no answer and is left out. The sessions of a chat carry its id
    as their thread, so that they always fall into the same split.
    """
    messages = chat.get("messages") if isinstance(chat, dict) else None
    if not isinstance(messages, Sequence):
        yield Rejection(chat_id, Reason.UNKNOWN_SHAPE)
        return
    turns = _turns(messages, settings)
    if not any(map(_is_ai, turns)):
        yield Rejection(chat_id, Reason.NO_ANSWER)
        return
    sessions = list(_sessions(turns, settings.max_messages))
    for number, session in enumerate(sessions, start=1):
        session_id = chat_id if len(sessions) == 1 else f"{chat_id}.{number}"
        read = read_chat_session({**chat, "messages": session}, session_id)
        yield _weighted(read, chat_id, settings) if isinstance(read, RecordedSession) else read


def _weighted(session: RecordedSession, chat_id: str, settings: ChatSettings) -> RecordedSession:
    weight = int(settings.targets == "all")
    messages = [{**it, "weight": weight} if it["role"] == "assistant" else it for it in session.messages]
    fields = {name: getattr(session, name) for name in session.__dataclass_fields__}
    return RecordedSession(**{**fields, "messages": messages, "thread_id": chat_id})


# --- turns ----------------------------------------------------------------------------------------------


def _turns(messages: Sequence[Any], settings: ChatSettings) -> list[Any]:
    turns: list[Any] = []
    for message in messages:
        if not isinstance(message, BaseMessage):
            turns.append(message)
            continue
        turn = _cast(_flattened(message), settings.ai_sender)
        if _is_empty(turn):
            continue
        if settings.merge_runs and turns and _is_one_run(turns[-1], turn):
            text = f"{turns[-1].content}{_DELIMITER}{turn.content}".strip()
            turns[-1] = turns[-1].model_copy(update={"content": text})
        else:
            turns.append(turn)
    return turns


def _sender(message: Any) -> Any:
    return message.additional_kwargs.get("sender") if isinstance(message, BaseMessage) else None


def _flattened(message: BaseMessage) -> BaseMessage:
    # Telegram writes a text with links or bold words as a list of pieces.
    content = message.content
    if _sender(message) is None or not isinstance(content, list):
        return message
    pieces = [piece.get("text") if isinstance(piece, dict) else piece for piece in content]
    return message.model_copy(update={"content": "".join(it for it in pieces if isinstance(it, str))})


def _cast(message: BaseMessage, ai_sender: AISender | None) -> BaseMessage:
    if isinstance(message, AIMessage) or not _is_the_ai(message, ai_sender):
        return message
    return AIMessage(content=message.content, additional_kwargs=dict(message.additional_kwargs))


def _is_the_ai(message: BaseMessage, ai_sender: AISender | None) -> bool:
    if isinstance(message, ChatMessage) and message.role == "assistant":
        return True
    if callable(ai_sender):
        return bool(ai_sender(message))
    names = (ai_sender,) if isinstance(ai_sender, str) else ai_sender or ()
    return _sender(message) in names


def _is_ai(message: Any) -> bool:
    return isinstance(message, AIMessage)


def _is_empty(message: BaseMessage) -> bool:
    """Say whether a message of a chat export has no text: a joined member, a sticker, a file left out."""
    return _sender(message) is not None and not message.content and not _carries_more(message)


def _carries_more(message: BaseMessage) -> bool:
    calls = message.tool_calls or message.invalid_tool_calls if isinstance(message, AIMessage) else ()
    return bool(calls) or any(message.additional_kwargs.get(key) for key in _CARRIERS)


def _is_one_run(before: Any, message: BaseMessage) -> bool:
    return (
        type(before) is type(message)
        and _sender(message) is not None
        and _sender(before) == _sender(message)
        and isinstance(before.content, str)
        and isinstance(message.content, str)
        and not _carries_more(before)
        and not _carries_more(message)
    )


# --- sessions -------------------------------------------------------------------------------------------


def _sessions(turns: Sequence[Any], most: int | None) -> Iterator[list[Any]]:
    """Cut a chat after its last turn of the AI, and where it is longer than asked for."""
    last = max(index for index, turn in enumerate(turns) if _is_ai(turn))
    turns = turns[: last + 1]
    if most is None:
        yield list(turns)
        return
    head = [turn for turn in turns if isinstance(turn, SystemMessage)]
    session: list[Any] = []
    for exchange in _exchanges([turn for turn in turns if not isinstance(turn, SystemMessage)]):
        if session and len(session) + len(exchange) > most:
            yield head + session
            session = []
        session += _shortened(exchange, most)
    yield head + session


def _exchanges(turns: Sequence[Any]) -> Iterator[list[Any]]:
    """Part a chat before each human turn that follows one of the AI: no tool call loses its answer."""
    exchange: list[Any] = []
    for turn in turns:
        is_answering = isinstance(turn, AIMessage | ToolMessage)
        if exchange and not is_answering and isinstance(exchange[-1], AIMessage | ToolMessage):
            yield exchange
            exchange = []
        exchange.append(turn)
    yield exchange


def _shortened(exchange: list[Any], most: int) -> list[Any]:
    """Leave out what stands farthest before the answer, where people talk for long among themselves."""
    num_before = next(index for index, turn in enumerate(exchange) if _is_ai(turn))
    too_many = min(len(exchange) - most, num_before - 1)
    return exchange[too_many:] if too_many > 0 else exchange
