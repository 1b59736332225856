"""The chat-model runs of an export, whatever its files are made of."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from langchain_finetune.errors import SourceError
from langchain_finetune.handles import RunSelection
from langchain_finetune.loaders._export_blocks import (
    NOT_RATED,
    BlockRead,
    FileBlock,
    asked_root,
    placed,
)
from langchain_finetune.loaders._export_files import ExportFile, find_files
from langchain_finetune.loaders._export_lines import (
    BadLine,
    read_blocks,
    read_lines,
    read_objects,
    refuse_other_text,
    unreadable,
)
from langchain_finetune.loaders._export_readers import BLOCK_BYTES, Readers
from langchain_finetune.loaders._export_tables import PARQUET_MAGIC, read_rows
from langchain_finetune.loaders._found import Found, Tried
from langchain_finetune.loaders._root_feedback import RootFeedback, rated_row
from langchain_finetune.runs import Rejection, may_be_model_call


class Export:
    """Files of runs, read twice where a run is not the root of its trace.

    The root, with the feedback on it, may stand after the model's run, and in another file.
    """

    def __init__(self, paths: Sequence[str], storage_options: Mapping[str, Any]) -> None:
        self._paths = paths
        self._storage_options = storage_options
        self._readers: Readers | None = None

    def model_runs(self) -> Iterator[Found | Rejection]:
        """Yield the chat-model runs, each with the feedback on its root, and the lines that are no runs.

        Raises:
            SourceError: A file is missing, cut off or damaged.
            MissingExtraError: What the files need is not installed.
        """
        for file in self._files:
            rows = read_rows(file) if _is_parquet(file) else read_objects(file)
            yield from self._found(rows, file)

    def tried_runs(
        self, selection: RunSelection, num_processes: int
    ) -> Generator[Found | Tried | Rejection, None, None]:
        """Yield the same in the same order, the runs of lines tried and read by several processes.

        Tables are decoded and read in this process: they have no lines to hand out.

        Raises:
            SourceError: As above, or a process has ended.
            MissingExtraError: As above.
        """
        files = self._files
        with Readers(num_processes, selection) as readers:
            self._readers = readers
            for file in files:
                if _is_parquet(file):
                    yield from self._found(read_rows(file), file)
                else:
                    yield from _in_file(readers.read(_blocks(file), lambda: self._feedback), file.name)

    @cached_property
    def _files(self) -> list[ExportFile]:
        return find_files(self._paths, self._storage_options)

    @cached_property
    def _feedback(self) -> RootFeedback:
        return RootFeedback(row for file in self._files for row in self._rated(file))

    def _found(
        self, rows: Iterable[dict[str, Any] | Rejection], file: ExportFile
    ) -> Iterator[Found | Rejection]:
        for row in rows:
            if isinstance(row, Rejection):
                yield row
            elif may_be_model_call(row.get("run_type")):
                run = placed(row, file.partitions)
                trace_id = asked_root(run)
                yield Found(run, NOT_RATED if trace_id is None else self._feedback.get(trace_id, NOT_RATED))

    def _rated(self, file: ExportFile) -> Iterable[dict[str, Any]]:
        if _is_parquet(file):
            return read_rows(file, only_feedback=True)
        if self._readers is not None:
            return self._readers.rated_rows(_blocks(file))
        return filter(None, map(rated_row, read_lines(file)))


def _blocks(file: ExportFile) -> Iterator[FileBlock]:
    for block in read_blocks(file, BLOCK_BYTES):
        yield FileBlock(file.name, file.partitions, block)


def _in_file(blocks: Iterable[BlockRead], name: str) -> Iterator[Tried | Rejection]:
    """Yield what the blocks of a file hold, and refuse the file for what only all of them can tell."""
    first_bad: BadLine | None = None
    has_objects = False
    for block in blocks:
        for found in block.found:
            if isinstance(found, BadLine):
                first_bad = first_bad or found
                yield Rejection(f"{name}:{found.number}", found.reason)
            else:
                yield found
        if block.error is not None:
            raise SourceError(block.error)
        has_objects = has_objects or block.has_objects
    refuse_other_text(first_bad, name, has_objects=has_objects)


def _is_parquet(file: ExportFile) -> bool:
    if file.name.endswith(".parquet"):  # also where it is cut off before its first bytes
        return True
    try:
        with file.open() as raw:
            return raw.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC
    except SourceError:
        raise
    except Exception as e:  # each store raises what its own client raises
        raise unreadable(file, e, "0 bytes") from e
