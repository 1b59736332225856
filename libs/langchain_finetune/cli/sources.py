"""Where the commands find runs, sessions and rows: what a word on the command line stands for."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from langchain_finetune._parsing import loads
from langchain_finetune.cli.file_kinds import is_sqlite
from langchain_finetune.cli.options import Gathered, Moment, Setting, added, build, given
from langchain_finetune.errors import SourceError, SourceNotFoundError
from langchain_finetune.handles import ChatSessionFile, TrainingData

F = TypeVar("F", bound=Callable[..., Any])

SOURCE_HELP: Final = """SOURCE is where the runs are:

\b
  runs.jsonl, exports/     an export: JSON Lines, Parquet, a folder, a URL
  langsmith:PROJECT        a project of LangSmith
  dataset:NAME             a dataset of LangSmith
  recorded:runs.sqlite     a file that RunRecorder has written
"""

_MOST_OF_A_HANDLE: Final = 1 << 20


def loader_for(source: str, settings: Mapping[str, Any]) -> Any:
    """Return the loader of a source.

    Args:
        source: A path, a URL, or `langsmith:`, `dataset:`, `recorded:` with a name.
        settings: Of the loader: the fields of its selection.

    Raises:
        UsageError: The loader does not have a setting.
    """
    # Each loader brings its own SDK: the one that is asked for is imported.
    from langchain_finetune import loaders
    from langchain_finetune.loaders.run_store import RunStore

    kind, colon, name = source.partition(":")
    if colon and kind == "langsmith":
        return build(loaders.LangSmithRunChatLoader, **given(project_name=name), **settings)
    if colon and kind == "dataset":
        return build(loaders.LangSmithDatasetChatLoader, name, **settings)
    if (colon and kind == "recorded") or is_sqlite(Path(source)):
        store = RunStore((name if colon and kind == "recorded" else source) or None)
        return build(loaders.LangSmithRunChatLoader, client=store, **settings)
    return build(loaders.RunExportLoader, source, **settings)


def sessions_at(source: str) -> ChatSessionFile | None:
    """Return the sessions that a word names, None where it is a source of runs.

    Args:
        source: `-` for a handle on standard input, or the path of a handle or of a sessions file.

    Raises:
        SourceError: It is a handle of something else.
    """
    from langchain_finetune.converters.sessions import accept_sessions

    if (handle := _handle(source, ChatSessionFile, "path")) is not None:
        return handle
    row = first_row(source)
    return accept_sessions(source) if row is not None and "answer" in row and "run_id" in row else None


def data_at(source: str) -> TrainingData | str:
    """Return the training data that a word names, or the path of rows.

    Args:
        source: `-` for a handle on standard input, the path of a handle or of its folder, a fingerprint, or
            the path of rows.

    Raises:
        SourceError: It is a handle of something else.
        SourceNotFoundError: There is nothing there.
    """
    from langchain_finetune._spool import load_training_data, state_directory

    folder = Path(source) / "training_data.json"
    known = state_directory() / "data" / source[:16] / "training_data.json"
    for path in (folder, known) if source != "-" else ():
        if path.is_file():
            fingerprint = str(loads(path.read_bytes()).get("fingerprint"))
            return load_training_data(fingerprint) or _validated(TrainingData, path.read_bytes(), str(path))
    if (handle := _handle(source, TrainingData, "train")) is not None:
        return handle
    if not Path(source).exists():
        msg = f"there is no file {source}, and no training data of that fingerprint here."
        raise SourceNotFoundError(msg)
    return source


def first_row(path: str) -> dict[str, Any] | None:
    """Return the first object of a JSON Lines file, or the object of a JSON file; None where it has none."""
    try:
        with Path(path).open("rb") as file:
            line = next((line for line in file if not line.isspace()), b"")
            value = loads(line if line.strip() != b"{" else line + file.read(_MOST_OF_A_HANDLE))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


H = TypeVar("H", ChatSessionFile, TrainingData)


def _handle(source: str, kind: type[H], field: str) -> H | None:
    if source == "-":
        return _validated(kind, sys.stdin.buffer.read(), "standard input")
    path = Path(source)
    if path.suffix != ".json" or not path.is_file() or path.stat().st_size > _MOST_OF_A_HANDLE:
        return None
    text = path.read_bytes()
    try:
        value = loads(text)
    except (ValueError, RecursionError):
        return None
    return _validated(kind, text, source) if isinstance(value, dict) and field in value else None


def _validated(kind: type[H], text: bytes, origin: str) -> H:
    from pydantic import ValidationError

    try:
        return kind.model_validate_json(text)
    except ValidationError as e:
        before = {"ChatSessionFile": "select"}.get(kind.__name__, "convert")
        msg = (
            f"{origin} holds no handle of {kind.__name__}: give what `langchain-finetune {before} --json` "
            "prints."
        )
        raise SourceError(msg) from e


_SELECTED: Final = Gathered(
    "selection",
    renamed={"since": "start_time", "until": "end_time", "filter_": "filter"},
    dicts=("feedback", "metadata"),
)

_SELECTION: Final = (
    _SELECTED.option("--since", type=Moment(), metavar="WHEN", help="Earliest start: 2026-11-01, 24h, 7d."),
    _SELECTED.option("--until", type=Moment(), metavar="WHEN", help="Latest start, exclusive."),
    _SELECTED.option(
        "--feedback",
        multiple=True,
        type=Setting(),
        metavar="KEY=MIN",
        help="Least average score, on run or root.",
    ),
    _SELECTED.option(
        "--unrated", type=click.Choice(["drop", "keep"]), help="Runs without a score of these keys."
    ),
    _SELECTED.option("--tag", "tags", multiple=True, metavar="TAG", help="Tag that the run carries."),
    _SELECTED.option(
        "--metadata",
        multiple=True,
        type=Setting(),
        metavar="KEY=VALUE",
        help="Metadata that the run carries.",
    ),
    _SELECTED.option("--run-name", metavar="NAME", help="Name of the run, such as ChatOpenAI."),
    _SELECTED.option("--model", metavar="NAME", help="Model that answered."),
    _SELECTED.option("--filter", "filter_", metavar="FILTER", help="LangSmith filter on the run."),
    _SELECTED.option(
        "--scope", type=click.Choice(["run", "trace", "thread"]), help="What the conditions select."
    ),
    _SELECTED.option(
        "--corrections",
        type=click.Choice(["ignore", "prefer", "only"]),
        help="People's corrections of answers.",
    ),
    _SELECTED.option("--limit", type=click.IntRange(1), metavar="N", help="Most runs to take."),
    _SELECTED.option("--sample", type=float, metavar="SHARE", help="Share of the traces to take, 0 to 1."),
    _SELECTED.option("--snapshot", metavar="NAME", help="Pin the selection under a name on first use."),
    _SELECTED.option("--refresh", is_flag=True, help="Take the snapshot anew."),
    _SELECTED.option("--include-errors", is_flag=True, help="Runs that failed, too."),
    _SELECTED.option("--include-tuned", is_flag=True, help="Runs of tuned models and of this package, too."),
)


def selection_options(function: F) -> F:
    """Add the options that say which runs are taken; `selection_of` has what they say."""
    return added(_SELECTION, function)


loader_setting = _SELECTED.any_other("the loader")

selection_of = _SELECTED.of
"""Returns what the options of `selection_options` say, as settings of a loader."""
