"""Recording the runs of a LangChain application into a local file, in the form that LangSmith uses."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from uuid import UUID

from langchain_core.tracers import LangChainTracer
from langchain_core.tracers.schemas import Run
from typing_extensions import override

from langchain_finetune._spool import state_directory
from langchain_finetune.loaders._feedback import feedback_row
from langchain_finetune.loaders._recorder_hooks import ActiveHandler, keep_langsmith_beside
from langchain_finetune.loaders._recording_client import Hide, recording_client
from langchain_finetune.loaders._run_writer import writer_of

FILE_NAME: Final = "runs.sqlite"
_MOST_FINISHED: Final = 1000


def default_path() -> Path:
    """Return where runs are recorded when no file is named: `runs.sqlite` in the state directory."""
    return state_directory() / FILE_NAME


class RunRecorder(LangChainTracer):
    """Records the runs of a LangChain application into a local SQLite file.

    It is LangChain's own tracer with a file in LangSmith's place: what is recorded is what would have been
    sent. `LangSmithRunChatLoader(client=RunStore(path))` selects from the file as it would from LangSmith.
    See docs/recording.md.

    ```python
    from langchain_finetune import RunRecorder

    recorder = RunRecorder("runs.sqlite")
    chain.invoke(question, {"callbacks": [recorder], "run_id": run_id})
    recorder.feedback(run_id, "user_score", 1)

    with RunRecorder("runs.sqlite"):  # or for all that runs in a block
        chain.invoke(question)
    ```

    Any number of threads, tasks and processes may record into one file. A run is written when it ends; a
    process that is killed loses the runs that had not ended. When the file cannot be written (full disk,
    lock), the application goes on: one warning is logged, the last 1,000 runs (32 MiB) wait in memory and are
    tried again, and `num_lost` counts what was dropped. LangSmith's own tracing goes on beside it where it is
    enabled.

    Args:
        path: The SQLite file, made with mode 0600; None is `runs.sqlite` in the state directory.
        project_name: As in `LangChainTracer`; None is the environment's `LANGSMITH_PROJECT`, else `default`.
        tags: Tags of every run.
        metadata: Metadata of every run that does not say otherwise.
        hide_inputs: As in `langsmith.Client`: True, or a function of a run's inputs. None is what the
            environment's `LANGSMITH_HIDE_INPUTS` says.
        hide_outputs: The same for outputs.
        anonymizer: As in `langsmith.Client`, such as `langsmith.anonymizer.create_anonymizer([...])`.
        raise_error: Whether a run that cannot be recorded breaks the application, as in every handler.

    Raises:
        StorageError: The state directory, where no path is given, cannot be used.
    """

    raise_error: bool = False

    def __init__(  # noqa: PLR0913  # the settings of LangChainTracer and of its client
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        project_name: str | None = None,
        tags: list[str] | None = None,
        metadata: Mapping[str, str] | None = None,
        hide_inputs: Hide = None,
        hide_outputs: Hide = None,
        anonymizer: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        raise_error: bool = False,
    ) -> None:
        self.path = (default_path() if path is None else Path(path)).absolute()
        self._writer = writer_of(self.path)
        self._shared = _Shared()
        client = recording_client(
            self._writer, hide_inputs=hide_inputs, hide_outputs=hide_outputs, anonymizer=anonymizer
        )
        super().__init__(project_name=project_name, client=client, tags=tags, metadata=metadata)
        self.raise_error = raise_error

    def __repr__(self) -> str:
        return f"RunRecorder({str(self.path)!r})"

    # --- what came of it ---

    @property
    def latest_run_id(self) -> UUID | None:
        """Id of the root run that ended last, to be rated: of this recorder's, whatever thread it ran in."""
        return self._shared.latest_run_id

    @property
    def num_recorded(self) -> int:
        """Runs and feedback that this process has written into the file."""
        return self._writer.num_recorded

    @property
    def num_waiting(self) -> int:
        """Runs and feedback that wait in memory, because the file could not be written."""
        return self._writer.num_waiting

    @property
    def num_lost(self) -> int:
        """Runs and feedback of this process that were dropped, because the file could not be written."""
        return self._writer.num_lost

    def feedback(  # noqa: PLR0913  # as in langsmith's `create_feedback`
        self,
        run_id: UUID | str,
        key: str,
        score: float | None = None,
        *,
        value: Any = None,
        correction: Mapping[str, Any] | None = None,
        comment: str | None = None,
        feedback_id: UUID | str | None = None,
    ) -> str:
        """Rate a run: the root of a trace, as an application's users do, or a model's run itself.

        Several scores under one key make an average, as in LangSmith. The run need not have ended.

        Args:
            run_id: The run's id.
            key: What is rated, such as `user_score`.
            score: The score; True and False are 1 and 0.
            value: What is no number, such as a category.
            correction: What should have been answered: an assistant message, such as `{"content": "..."}`, or
                the outputs as they should have been.
            comment: What a person says about it.
            feedback_id: Id of feedback that this replaces; None is new feedback.

        Returns:
            The id of the feedback.

        Raises:
            SettingError: The key is empty, the score is no finite number, or nothing is given at all.
        """
        said = {"value": value, "correction": correction, "comment": comment}
        row = feedback_row(run_id, key, score, said, feedback_id)
        self._writer.feedback(row)
        self._raise_failure()
        return row.id

    # --- for a block, or for the whole process ---

    def __enter__(self) -> Self:
        _ACTIVE.enter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _ACTIVE.leave()
        self.close()

    def install(self) -> Self:
        """Record all that LangChain runs in this process, in every thread, until `uninstall`."""
        _ACTIVE.of_process = self
        return self

    def uninstall(self) -> None:
        """End what `install` began."""
        if _ACTIVE.of_process is self:
            _ACTIVE.of_process = None
        self.close()

    def flush(self) -> None:
        """Write what waits in memory, and runs that have not ended as pending ones."""
        self._writer.flush()
        self._raise_failure()

    def close(self) -> None:
        """Flush and let go of the file; a further run opens it again."""
        self._writer.close()
        self._raise_failure()

    # --- LangChain's tracer ---

    @override
    def copy_with_metadata_defaults(
        self, *, metadata: Mapping[str, str] | None = None, tags: list[str] | None = None
    ) -> "RunRecorder":
        # LangChain makes such a copy for each run that brings metadata; its own rules say what is merged how.
        plain = LangChainTracer(client=self.client, tags=self.tags, metadata=self.tracing_metadata)
        merged = plain.copy_with_metadata_defaults(metadata=metadata, tags=tags)
        twin = object.__new__(type(self))  # `copy.copy` gives a tracer itself
        vars(twin).update(vars(self))
        twin.tags, twin.tracing_metadata = merged.tags, merged.tracing_metadata
        return twin

    @override
    def _persist_run(self, run: Run) -> None:
        # The tracer keeps a copy of the run for `get_run_url`, and there is no URL here.
        self._shared.latest_run_id = run.id

    @override
    def _start_trace(self, run: Run) -> None:
        run.replicas = []  # where the environment names further places to send runs to
        super()._start_trace(run)

    @override
    def _end_trace(self, run: Run) -> None:
        super()._end_trace(run)
        self.run_has_token_event_map.pop(str(run.id), None)
        self._forget_old_orders(run)

    def _forget_old_orders(self, run: Run) -> None:
        # The tracer keeps the place of every run for good. Children may begin after their parent's end, so
        # that the last ones stay.
        finished = self._shared.finished
        finished[run.id] = None
        while len(finished) > _MOST_FINISHED:
            oldest = next(iter(finished), None)
            if oldest is not None and finished.pop(oldest, oldest) is None:
                self.order_map.pop(oldest, None)

    @override
    def _persist_run_single(self, run: Run) -> None:
        super()._persist_run_single(run)
        self._raise_failure()

    @override
    def _update_run_single(self, run: Run) -> None:  # type: ignore[override]  # a static method, called on self
        super()._update_run_single(run)
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self.raise_error and self._writer.failure is not None:
            raise self._writer.failure


class _Shared:
    """What a recorder and its copies have in common, beside their maps of runs."""

    def __init__(self) -> None:
        self.latest_run_id: UUID | None = None
        self.finished: dict[UUID, None] = {}


_ACTIVE: Final[ActiveHandler["RunRecorder"]] = ActiveHandler("run_recorder")

_ACTIVE.register(RunRecorder)
keep_langsmith_beside(RunRecorder)
