"""The rows of a Parquet file, a few at a time; the one module that speaks to pyarrow."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Final
from uuid import UUID

from langchain_finetune.errors import FineTuneError, MissingExtraError, SourceError
from langchain_finetune.loaders._export_files import ExportFile
from langchain_finetune.loaders._export_lines import unreadable
from langchain_finetune.runs import may_be_model_call

PARQUET_MAGIC: Final = b"PAR1"

_UNREAD: Final = frozenset({"events", "serialized", "manifest", "child_runs", "child_run_ids", "s3_urls"})
_ROOT_COLUMNS: Final = frozenset({"id", "parent_run_id", "parent_run_ids", "is_root", "feedback_stats"})
_BATCH_ROWS: Final = 128
_BUFFER_BYTES: Final = 1 << 20
_UUID_BYTES: Final = 16


def read_rows(file: ExportFile, *, only_feedback: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file: of the runs that may be a model's call, or what tells the feedback of all.

    Row groups are decoded in batches, so memory does not grow with the file or its row groups.

    Raises:
        SourceError: The file is cut off or damaged, or its columns are not those of runs.
        MissingExtraError: pyarrow is not installed.
    """
    arrow, parquet = _import("pyarrow", file), _import("pyarrow.parquet", file)
    num_rows = 0
    try:
        with file.open() as raw:
            table = parquet.ParquetFile(raw, pre_buffer=False, buffer_size=_BUFFER_BYTES)
            names = _columns(file, table.schema_arrow.names, only_feedback=only_feedback)
            for batch in table.iter_batches(_BATCH_ROWS, columns=names, use_threads=False):
                picked = batch if only_feedback else _calls(arrow, batch)
                yield from _plain(arrow, picked)
                num_rows += batch.num_rows
    except FineTuneError:
        raise
    except Exception as e:  # each store raises what its own client raises, besides pyarrow's errors
        raise unreadable(file, e, f"{num_rows} rows") from e


def _import(module: str, file: ExportFile) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as e:
        msg = f'{file.name} is a Parquet file: pip install "langchain-finetune[parquet]"'
        raise MissingExtraError(msg) from e


def _columns(file: ExportFile, names: list[str], *, only_feedback: bool) -> list[str]:
    if not {"inputs", "outputs"} <= set(names):
        msg = (
            f"{file.name} has no columns `inputs` and `outputs`: give a bulk export of runs. "
            "If it was made with export_fields, export it again with these two."
        )
        raise SourceError(msg)
    return [name for name in names if (name in _ROOT_COLUMNS if only_feedback else name not in _UNREAD)]


def _calls(arrow: Any, batch: Any) -> Any:
    """Leave out the runs that say they are no model's call."""
    if "run_type" not in batch.schema.names:
        return batch
    kinds = batch.column("run_type").to_pylist()
    return batch.filter(arrow.array([may_be_model_call(kind) for kind in kinds]))


def _plain(arrow: Any, batch: Any) -> list[dict[str, Any]]:
    names = batch.schema.names
    columns = [_values(arrow, column) for column in batch.columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _values(arrow: Any, column: Any) -> list[Any]:
    types, kind = arrow.types, column.type
    if types.is_timestamp(kind) and kind.unit == "ns":  # Python's datetime has no nanoseconds
        return list(column.cast(arrow.timestamp("us", kind.tz), safe=False).to_pylist())
    values = column.to_pylist()
    if types.is_nested(kind):
        return [_without_nulls(value) for value in values]
    if types.is_fixed_size_binary(kind) and kind.byte_width == _UUID_BYTES:
        return [None if value is None else str(UUID(bytes=value)) for value in values]
    return list(values)


def _without_nulls(value: Any) -> Any:
    # A column of structs has every key in every row: one that a run did not have is null.
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
