"""The chat-model runs of an export, whatever its files are made of."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from langchain_finetune._parsing import loads
from langchain_finetune.errors import SourceError
from langchain_finetune.loaders._export_files import ExportFile, find_files
from langchain_finetune.loaders._export_lines import read_lines, read_objects, unreadable
from langchain_finetune.loaders._export_tables import PARQUET_MAGIC, read_rows
from langchain_finetune.loaders._root_feedback import RootFeedback, may_be_rated
from langchain_finetune.loaders._run_files import Run, is_model_run
from langchain_finetune.loaders._spooling import Found
from langchain_finetune.runs import Rejection, parse_columns, trace_id_of

_OF_PARTITIONS: Final = ("session_id", "tenant_id")


class Export:
    """Files of runs, read twice: the root of a trace, with its feedback, may stand after the model's run."""

    def __init__(self, paths: Sequence[str], storage_options: Mapping[str, Any]) -> None:
        self._paths = paths
        self._storage_options = storage_options

    def model_runs(self) -> Iterator[Found | Rejection]:
        """Yield the chat-model runs, each with the feedback on its root, and the lines that are no runs.

        Raises:
            SourceError: A file is missing, cut off or damaged.
            MissingExtraError: What the files need is not installed.
        """
        files = find_files(self._paths, self._storage_options)
        feedback = RootFeedback(row for file in files for row in _rated_rows(file))
        for file in files:
            for row in _rows(file):
                if isinstance(row, Rejection):
                    yield row
                elif row.get("run_type", "llm") == "llm":
                    run = _placed(parse_columns(row), file)
                    if is_model_run(run):
                        yield Found(run, _of_root(run, feedback))


def _of_root(run: Run, feedback: RootFeedback) -> Mapping[str, float]:
    trace_id = trace_id_of(run)
    # A run that is itself the root has its feedback with it.
    return {} if trace_id is None or trace_id == run.get("id") else feedback.get(trace_id, {})


def _rows(file: ExportFile) -> Iterator[dict[str, Any] | Rejection]:
    return read_rows(file) if _is_parquet(file) else read_objects(file)


def _rated_rows(file: ExportFile) -> Iterator[dict[str, Any]]:
    if _is_parquet(file):
        yield from read_rows(file, only_feedback=True)
        return
    for _number, line in read_lines(file):
        if may_be_rated(line):
            try:
                row = loads(line)
            except (ValueError, RecursionError):
                continue  # told when the runs are read
            if isinstance(row, dict):
                yield row


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


def _placed(run: Run, file: ExportFile) -> Run:
    """Add what only the folders of a bulk export say about a run."""
    missing = [name for name in _OF_PARTITIONS if name in file.partitions and not run.get(name)]
    return {**run, **{name: file.partitions[name] for name in missing}} if missing else run
