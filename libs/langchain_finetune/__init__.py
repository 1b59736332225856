"""Recorded LangSmith runs in, a fine-tuned model out, as one LCEL pipe.

```python
from langchain_finetune import FineTuneRunnable, RunExportLoader, TrainingDataConverter

trainer = FineTuneRunnable("local:smollm2-135m-instruct")
pipeline = RunExportLoader("runs.jsonl") | TrainingDataConverter() | trainer
model = pipeline.invoke({})
```

Every name is imported on first use, so that `import langchain_finetune` costs nothing but itself.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from langchain_finetune._version import __version__

if TYPE_CHECKING:
    from langchain_finetune.cli.progress import ProgressPrinter
    from langchain_finetune.converters import TrainingDataConverter
    from langchain_finetune.errors import FineTuneError
    from langchain_finetune.evaluators import ComparisonReport, ModelComparison, PromotionGate
    from langchain_finetune.handles import (
        ChatSessionFile,
        FineTunedModel,
        RecordedSession,
        RunSelection,
        SubmittedJob,
        TrainingData,
    )
    from langchain_finetune.loaders import (
        ChatLoaderRunnable,
        LangSmithDatasetChatLoader,
        LangSmithRunChatLoader,
        RunExportLoader,
        convert_messages_for_finetuning,
    )
    from langchain_finetune.loaders.run_recorder import RunRecorder
    from langchain_finetune.loaders.run_store import RunStore
    from langchain_finetune.serving import (
        AliasMove,
        AliasStore,
        Promotion,
        add_fine_tune_routes,
        add_model_routes,
    )
    from langchain_finetune.trainers import (
        FineTuneJob,
        FineTuneRunnable,
        Inventory,
        JobList,
        Migration,
        Preflight,
        achat_model,
        ainventory,
        ajob_list,
        ajob_named,
        chat_model,
        inventory,
        job_list,
        job_named,
    )

__all__ = [
    "AliasMove",
    "AliasStore",
    "ChatLoaderRunnable",
    "ChatSessionFile",
    "ComparisonReport",
    "FineTuneError",
    "FineTuneJob",
    "FineTuneRunnable",
    "FineTunedModel",
    "Inventory",
    "JobList",
    "LangSmithDatasetChatLoader",
    "LangSmithRunChatLoader",
    "Migration",
    "ModelComparison",
    "Preflight",
    "ProgressPrinter",
    "Promotion",
    "PromotionGate",
    "RecordedSession",
    "RunExportLoader",
    "RunRecorder",
    "RunSelection",
    "RunStore",
    "SubmittedJob",
    "TrainingData",
    "TrainingDataConverter",
    "__version__",
    "achat_model",
    "add_fine_tune_routes",
    "add_model_routes",
    "ainventory",
    "ajob_list",
    "ajob_named",
    "chat_model",
    "convert_messages_for_finetuning",
    "inventory",
    "job_list",
    "job_named",
]

_HOMES: Final = {
    "AliasMove": "serving",
    "AliasStore": "serving",
    "ChatLoaderRunnable": "loaders",
    "ChatSessionFile": "handles",
    "ComparisonReport": "evaluators",
    "FineTuneError": "errors",
    "FineTuneJob": "trainers",
    "FineTuneRunnable": "trainers",
    "FineTunedModel": "handles",
    "Inventory": "trainers",
    "JobList": "trainers",
    "LangSmithDatasetChatLoader": "loaders",
    "LangSmithRunChatLoader": "loaders",
    "Migration": "trainers",
    "ModelComparison": "evaluators",
    "Preflight": "trainers",
    "ProgressPrinter": "cli.progress",
    "Promotion": "serving",
    "PromotionGate": "evaluators",
    "RecordedSession": "handles",
    "RunExportLoader": "loaders",
    "RunRecorder": "loaders.run_recorder",
    "RunSelection": "handles",
    "RunStore": "loaders.run_store",
    "SubmittedJob": "handles",
    "TrainingData": "handles",
    "TrainingDataConverter": "converters",
    "achat_model": "trainers",
    "add_fine_tune_routes": "serving",
    "add_model_routes": "serving",
    "ainventory": "trainers",
    "ajob_list": "trainers",
    "ajob_named": "trainers",
    "chat_model": "trainers",
    "convert_messages_for_finetuning": "loaders",
    "inventory": "trainers",
    "job_list": "trainers",
    "job_named": "trainers",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
