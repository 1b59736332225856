"""Any chat loader of LangChain as the first stage of the pipe."""

import warnings
from collections.abc import Iterator
from typing import Any

from langchain_core.chat_loaders import BaseChatLoader
from langchain_core.chat_sessions import ChatSession
from langchain_core.runnables import RunnableConfig
from pydantic import ConfigDict, Field
from typing_extensions import override

from langchain_finetune._stage import Stage, Steps, adrive, drive, result_of
from langchain_finetune.errors import FineTuneError, SelectionError, SourceError
from langchain_finetune.handles import ChatSessionFile, Handle, RecordedSession
from langchain_finetune.loaders._chat_sessions import chat_sessions
from langchain_finetune.loaders._chat_turns import ChatFields, ChatSettings, read_chat
from langchain_finetune.loaders._session_files import overridden, spool_read
from langchain_finetune.runs import Rejection

ChatLoaderInput = dict[str, Any] | None


class _Chats(Handle):
    """What is read: the input as callbacks see it."""

    source: str
    settings: ChatSettings = Field(exclude=True, repr=False)
    """Holds the name of a person."""
    loader: BaseChatLoader = Field(exclude=True, repr=False)

    model_config = ConfigDict(arbitrary_types_allowed=True)


class ChatLoaderRunnable(ChatFields, Stage[ChatLoaderInput, ChatSessionFile], BaseChatLoader):
    """Lifts any `BaseChatLoader` into the pipe: chat exports, and loaders that give AI messages themselves.

    A chat becomes one session that ends with the AI's last turn, and all of the AI's turns in it are trained
    on; `targets="last"` trains on that one alone, and `max_messages` cuts a long chat into several sessions.
    A chat in which the AI says nothing is a rejection (`no_answer`).

    Args:
        loader: The loader: langchain-community's for Slack, WhatsApp, Telegram, Facebook Messenger and
            iMessage (`pip install "langchain-finetune[community]"`), or one of your own.
        **settings: `ai_sender`, `merge_runs`, `targets`, `max_messages`, and `name` as in every Runnable.

    Raises:
        SelectionError: There is no loader, or it gives no chat.
        SourceError: The loader failed; the error it raised is the cause.

    ```python
    from langchain_community.chat_loaders.slack import SlackChatLoader
    from langchain_finetune import ChatLoaderRunnable, TrainingDataConverter

    loader = ChatLoaderRunnable(SlackChatLoader("export.zip"), ai_sender="U0500003428", max_messages=40)
    data = (loader | TrainingDataConverter()).invoke({})
    ```
    """

    loader: BaseChatLoader | None = Field(default=None, exclude=True, repr=False)
    """The loader whose sessions are read."""

    def __init__(self, loader: BaseChatLoader | None = None, **settings: Any) -> None:
        super().__init__(loader=loader, **settings)

    @override
    def lazy_load(self) -> Iterator[ChatSession]:
        yield from chat_sessions(result_of(self._steps(self._accept(None))).path)

    @override
    def _accept(self, given: Any) -> _Chats:
        if self.loader is None:
            msg = "no chat loader is named: give one, as in ChatLoaderRunnable(SlackChatLoader(path))."
            raise SelectionError(msg)
        settings = overridden(ChatSettings, self, given)
        source = f"the chats of {type(self.loader).__name__}"
        return _Chats(source=source, settings=settings, loader=self.loader)

    @override
    def _run(self, accepted: _Chats, config: RunnableConfig) -> ChatSessionFile:
        return drive(self._steps(accepted), config)

    @override
    async def _arun(self, accepted: _Chats, config: RunnableConfig) -> ChatSessionFile:
        return await adrive(self._steps(accepted), config)

    def _steps(self, accepted: _Chats) -> Steps[ChatSessionFile]:
        sessions = yield from spool_read(_read(accepted), accepted.source)
        if not sessions.num_sessions and set(sessions.rejected_by_reason) == {"no_answer"}:
            warnings.warn(_nobody(accepted, sessions.num_runs), UserWarning, stacklevel=2)
        return sessions


def _read(chats: _Chats) -> Iterator[RecordedSession | Rejection]:
    name = type(chats.loader).__name__
    number = 0
    try:
        for number, chat in enumerate(chats.loader.lazy_load(), start=1):
            yield from read_chat(chat, chats.settings, f"{name}-{number}")
    except FineTuneError:
        raise
    except Exception as e:  # a loader, or a predicate, raises what it likes
        msg = f"{name} failed with {type(e).__name__} after {number} chats: check the path and the export."
        raise SourceError(msg) from e


def _nobody(chats: _Chats, num_chats: int) -> str:
    if chats.settings.ai_sender is None:
        way_out = "say who the AI is, with ai_sender=... (the sender's name or id in the export)."
    else:
        way_out = "no message is from ai_sender. Look at message.additional_kwargs in loader.load()."
    return f"the AI says nothing in the {num_chats} chats of {type(chats.loader).__name__}: {way_out}"
