"""Where recorded runs come from: each loader is a thin Runnable and a `BaseChatLoader`."""

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
