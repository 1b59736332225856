"""A file of recorded runs, seen as a source: rated, queried, exported, and kept small."""

import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from uuid import UUID

from langchain_finetune.errors import SourceNotFoundError, StorageError
from langchain_finetune.handles import RunSelection
from langchain_finetune.loaders import _run_queries as queries
from langchain_finetune.loaders import _run_tables as tables
from langchain_finetune.loaders._feedback import feedback_row
from langchain_finetune.loaders._run_json import dumps
from langchain_finetune.loaders._run_source import Run
from langchain_finetune.loaders._selection import instant
from langchain_finetune.loaders.run_recorder import default_path

_BUSY_SECONDS: Final = 10.0


class RunStore:
    """The runs that `RunRecorder` has recorded into a file.

    It takes LangSmith's place as the source of `LangSmithRunChatLoader`: the same `RunSelection` selects from
    it, LangSmith's filter language included. Without a project, runs of all projects are selected.

    ```python
    from langchain_finetune import LangSmithRunChatLoader, RunStore

    store = RunStore("runs.sqlite")
    store.feedback(run_id, "user_score", 1)
    sessions = LangSmithRunChatLoader(client=store, feedback={"user_score": 1}).invoke({})
    ```

    It may be read and rated while applications record into it. All methods may be called from any thread.

    Args:
        path: The file; None is `runs.sqlite` in the state directory. It is opened on first use.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = (default_path() if path is None else Path(path)).absolute()
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._pid = 0

    def __repr__(self) -> str:
        return f"RunStore({str(self.path)!r})"

    def __str__(self) -> str:
        return f"the run store {self.path}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; a further call opens it again."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    # --- a source of runs ---

    def query(self, selection: RunSelection) -> Iterator[list[Run]]:
        """Yield pages of the chat-model runs that are selected, newest first.

        What the loader tries on each run anyway, such as feedback on a run, a sample or the limit, is left
        to it.

        Args:
            selection: What is wanted; without a project, of all projects.

        Raises:
            SelectionError: There is no such project, or a filter cannot be read.
            SourceNotFoundError: There is no such file.
            StorageError: The file cannot be read.
        """
        # A page is read in a transaction of its own, so that writers never wait for a reader, however slow.
        yield from queries.pages(selection, self._read, self.path)

    def by_id(self, run_ids: list[str]) -> dict[str, Run]:
        """Return the runs of some ids, by id; one that is not known is left out.

        Raises:
            SourceNotFoundError: There is no such file.
            StorageError: The file cannot be read.
        """
        return self._read(lambda db: queries.by_id(db, run_ids))

    def root_feedback(self, trace_ids: Iterable[str]) -> dict[str, dict[str, float]]:
        """Return the average scores by key on the roots of traces, by trace id.

        Raises:
            SourceNotFoundError: There is no such file.
            StorageError: The file cannot be read.
        """
        wanted = list(trace_ids)
        return self._read(lambda db: queries.averages(db, wanted))

    def corrections(self, run_ids: Iterable[str]) -> dict[str, Any]:
        """Return the newest correction of each run that has one, by run id.

        Raises:
            SourceNotFoundError: There is no such file.
            StorageError: The file cannot be read.
        """
        wanted = list(run_ids)
        return self._read(lambda db: queries.corrections(db, wanted))

    # --- rating ---

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
        """Rate a run, in whatever process; the arguments are those of `RunRecorder.feedback`.

        Returns:
            The id of the feedback.

        Raises:
            SettingError: The key is empty, the score is no finite number, or nothing is given at all.
            SourceNotFoundError: There is no such file.
            StorageError: The file cannot be written.
        """
        said = {"value": value, "correction": correction, "comment": comment}
        row = feedback_row(run_id, key, score, said, feedback_id)
        self._write(lambda db: tables.write_feedback(db, row))
        return row.id

    # --- looking after it ---

    @property
    def num_runs(self) -> int:
        """Runs of every type in the file."""
        return int(self._read(lambda db: db.execute("SELECT count(*) FROM runs").fetchone()[0]))

    @property
    def num_bytes(self) -> int:
        """Size on disk, in bytes, with what SQLite keeps beside the file."""
        files = (Path(f"{self.path}{suffix}") for suffix in ("", "-wal", "-shm"))
        return sum(file.stat().st_size for file in files if file.exists())

    def projects(self) -> list[str]:
        """Return the names of the projects in the file."""
        return self._read(queries.projects)

    def export(self, path: str | os.PathLike[str]) -> int:
        """Write all runs, oldest first, as JSON Lines that `RunExportLoader` reads, with mode 0600.

        The file is there as a whole or not at all.

        Returns:
            How many runs were written.

        Raises:
            SourceNotFoundError: There is no such store.
            StorageError: The store cannot be read, or the file not be written.
        """
        target = Path(path).absolute()
        num_runs = 0
        try:
            handle, name = tempfile.mkstemp(prefix=".unfinished-", dir=target.parent)
        except OSError as e:
            raise tables.reason_of(target, e) from e
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                for page in queries.all_pages(self._read):
                    file.writelines(dumps(run) + b"\n" for run in page)
                    num_runs += len(page)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except OSError as e:
            raise (
                e if isinstance(e, StorageError | SourceNotFoundError) else tables.reason_of(target, e)
            ) from e
        finally:
            temporary.unlink(missing_ok=True)
        return num_runs

    def delete_before(self, time: datetime) -> int:
        """Remove the traces whose root started before a point in time, with their feedback.

        Whole traces go, never a part of one. Their pages go back to the file system.

        Args:
            time: The point in time; a naive one is UTC.

        Returns:
            How many runs were removed.

        Raises:
            SourceNotFoundError: There is no such file.
            StorageError: The file cannot be written.
        """
        limit = instant(time) or 0.0
        num_runs = self._write(lambda db: queries.delete_before(db, limit))
        self._read(queries.give_back)
        return num_runs

    def integrity(self) -> list[str]:
        """Look through the whole file; an empty list says that it is sound.

        Returns:
            What SQLite finds wrong with it, and how many ratings belong to no run that is here.

        Raises:
            SourceNotFoundError: There is no such file.
            StorageError: The file cannot be read at all.
        """
        return self._read(queries.problems)

    # --- the file ---

    def _read(self, action: queries.Action[queries.T]) -> queries.T:
        with self._lock, self._storage():
            return action(self._connection())

    def _write(self, action: queries.Action[queries.T]) -> queries.T:
        with self._lock, self._storage():
            db = self._connection()
            db.execute("BEGIN IMMEDIATE")
            try:
                result = action(db)
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            return result

    def _connection(self) -> sqlite3.Connection:
        if self._db is None or self._pid != os.getpid():  # a connection does not survive a fork
            if not self.path.exists():
                msg = f"there is no file {self.path}: record runs into it with RunRecorder(path) first."
                raise SourceNotFoundError(msg)
            self._db = tables.open_file(self.path, is_new=False, busy_seconds=_BUSY_SECONDS)
            self._pid = os.getpid()
        return self._db

    @contextmanager
    def _storage(self) -> Iterator[None]:
        try:
            yield
        except (StorageError, SourceNotFoundError):
            raise
        except (sqlite3.Error, OSError) as e:
            raise tables.reason_of(self.path, e) from e
