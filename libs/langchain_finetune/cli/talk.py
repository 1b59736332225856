"""What is told while a command works: progress, warnings and the library's log, all on standard error."""

import logging
import sys
import warnings
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self, TextIO
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from typing_extensions import override

from langchain_finetune.cli.output import say
from langchain_finetune.cli.progress import ProgressPrinter
from langchain_finetune.errors import JobTimeoutError

_PACKAGE: Final = "langchain_finetune"
_TOLD_HERE: Final = "langchain_finetune.trainers.waiting.leaving"
"""Says in Python how to come back to a job; a command says it as a command."""

_JOB_EVENT: Final = "langchain_finetune_job"
_ENDS: Final = frozenset({"succeeded", "failed", "cancelled"})


class Talk(logging.Handler):
    """Progress, warnings and log of a command, each line in its place.

    ```python
    with Talk(provider="local") as talk:
        pipeline.invoke({}, talk.config)
    ```

    Args:
        is_quiet: Whether there is no progress; warnings are told all the same.
        provider: Where the job is, for the line that tells how to come back to it.
        stream: Where to print; None is the standard error of the moment.
    """

    def __init__(
        self, *, is_quiet: bool = False, provider: str | None = None, stream: TextIO | None = None
    ) -> None:
        super().__init__(logging.WARNING)
        self.provider = provider
        self.job_id: str | None = None
        """Of the last job that was told of."""
        self.is_reused: bool = False
        """Whether that job was there already."""
        self._status = ""
        self._stream = stream
        self._is_quiet = is_quiet
        self.printer = _Watcher(self, stream)

    @property
    def config(self) -> RunnableConfig:
        """What a stage is invoked with."""
        return {"callbacks": [self.printer]}

    def tell(self, progress: Mapping[str, Any]) -> None:
        """Show the progress of a job that is waited for without a stage."""
        self.printer.on_custom_event(_JOB_EVENT, progress, run_id=UUID(int=0))

    def say(self, text: str) -> None:
        """Tell something above the lines that are drawn again and again."""
        self.printer.say(text)

    def note(self, progress: Mapping[str, Any]) -> bool:
        """Take in what is told of a job, and say whether it is to be shown."""
        self.job_id = str(progress.get("job_id"))
        self.is_reused = bool(progress.get("reused"))
        self._status = str(progress.get("status"))
        return not self._is_quiet

    @property
    def shows_progress(self) -> bool:
        """Whether progress is shown."""
        return not self._is_quiet

    @override
    def emit(self, record: logging.LogRecord) -> None:
        if record.name != _TOLD_HERE:
            self.say(f"{record.levelname.lower()}: {record.getMessage()}")

    def __enter__(self) -> Self:
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        warnings.showwarning = self._show_warning
        logger = logging.getLogger(_PACKAGE)
        logger.addHandler(self)
        self._propagated, logger.propagate = logger.propagate, False
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        logger = logging.getLogger(_PACKAGE)
        logger.propagate = self._propagated
        logger.removeHandler(self)
        self._warnings.__exit__(kind, error, traceback)
        self.printer.close()
        if isinstance(error, KeyboardInterrupt | JobTimeoutError) and self.job_id and self.provider:
            self._say_how_to_come_back()

    def _say_how_to_come_back(self) -> None:
        if self._status not in _ENDS:
            name = f"{self.provider}:{self.job_id}"
            say(f"the job goes on; come back with: langchain-finetune jobs watch {name}")

    def _show_warning(self, message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        # Those of other packages are their developers' business.
        if category is UserWarning:
            self.say(f"warning: {message}")


class _Watcher(ProgressPrinter):
    """Shows progress, and lets the talk know of the job."""

    def __init__(self, talk: Talk, stream: TextIO | None) -> None:
        super().__init__(stream or sys.stderr)
        self._talk = talk

    @override
    def on_custom_event(self, name: str, data: Any, **kwargs: Any) -> None:
        is_shown = self._talk.shows_progress
        if name == _JOB_EVENT and isinstance(data, Mapping):
            is_shown = self._talk.note(data)
        if is_shown:
            super().on_custom_event(name, data, **kwargs)
