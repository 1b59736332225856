"""Where recorded runs come from: each loader is a thin Runnable and a `BaseChatLoader`.

The names are looked up when they are asked for: a process that only reads an export starts without LangChain.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from langchain_finetune.loaders.chat_loader import ChatLoaderRunnable
    from langchain_finetune.loaders.finetuning_messages import convert_messages_for_finetuning
    from langchain_finetune.loaders.langsmith_datasets import LangSmithDatasetChatLoader
    from langchain_finetune.loaders.langsmith_runs import LangSmithRunChatLoader
    from langchain_finetune.loaders.run_export import RunExportLoader

__all__ = [
    "ChatLoaderRunnable",
    "LangSmithDatasetChatLoader",
    "LangSmithRunChatLoader",
    "RunExportLoader",
    "convert_messages_for_finetuning",
]

_HOMES: Final = {
    "ChatLoaderRunnable": "chat_loader",
    "LangSmithDatasetChatLoader": "langsmith_datasets",
    "LangSmithRunChatLoader": "langsmith_runs",
    "RunExportLoader": "run_export",
    "convert_messages_for_finetuning": "finetuning_messages",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"{__name__}.{home}"), name)
