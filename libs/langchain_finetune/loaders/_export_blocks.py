"""One block of an export's lines, read for itself: what a reading process does.

Nothing in here knows of other blocks: what depends on their order, such as a limit, is left to who asks.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from langchain_finetune.errors import SourceError
from langchain_finetune.loaders._export_lines import BadLine, Block, objects_in
from langchain_finetune.loaders._found import Tried, session_line
from langchain_finetune.loaders._root_feedback import rated_row
from langchain_finetune.loaders._selection import Sieve
from langchain_finetune.runs import may_be_model_call, parse_columns, trace_id_of

Run = Mapping[str, Any]
Scores = Mapping[str, float]

NOT_RATED: Final[Scores] = {}

_OF_PARTITIONS: Final = ("session_id", "tenant_id")
_OF_ROOTS: Final = ("id", "parent_run_id", "is_root", "feedback_stats")


class FileBlock(NamedTuple):
    """A block, and the file that it is of."""

    name: str
    partitions: Mapping[str, str]
    block: Block


class BlockRead(NamedTuple):
    """What is in a block."""

    found: list[Tried | BadLine]
    """In the order of the lines."""
    has_objects: bool
    error: str | None = None
    """Why the file cannot be read further."""


def read_block(given: FileBlock, sieve: Sieve, roots: Mapping[str, Scores] | None) -> BlockRead | None:
    """Try and read the chat-model runs of a block; None where the scores on roots are asked for and missing.

    Args:
        given: The block.
        sieve: Tells the conditions; nothing is counted in it.
        roots: Average scores on the roots of traces, by trace id; None where they were not read yet.
    """
    found: list[Tried | BadLine] = []
    has_objects, error = False, None
    try:
        for row in objects_in(given.block, given.name):
            if isinstance(row, BadLine):
                found.append(row)
                continue
            has_objects = True
            if may_be_model_call(row.get("run_type")):
                run = placed(row, given.partitions)
                trace_id = asked_root(run)
                if trace_id is not None and roots is None:
                    return None
                scores = roots.get(trace_id, NOT_RATED) if roots and trace_id is not None else NOT_RATED
                found.append(_tried(run, scores, sieve))
    except SourceError as e:
        error = str(e)
    # A limit may fall between any two sessions.
    return BlockRead(_joined(found) if sieve.selection.limit is None else found, has_objects, error)


def _joined(found: list[Tried | BadLine]) -> list[Tried | BadLine]:
    """Put sessions that follow each other into one piece."""
    joined: list[Tried | BadLine] = []
    lines: list[bytes] = []
    for each in found:
        if isinstance(each, Tried) and isinstance(each.lines, bytes):
            lines.append(each.lines)
            continue
        if lines:
            joined.append(Tried(None, b"".join(lines), len(lines)))
            lines = []
        joined.append(each)
    if lines:
        joined.append(Tried(None, b"".join(lines), len(lines)))
    return joined


def rated_rows(given: FileBlock) -> list[dict[str, Any]]:
    """Return what tells the feedback on roots, of the rated rows of a block."""
    rows = filter(None, map(rated_row, given.block.text.split(b"\n")))
    return [{name: row[name] for name in _OF_ROOTS if name in row} for row in rows]


def _tried(run: Run, root_feedback: Scores, sieve: Sieve) -> Tried:
    run = parse_columns(run)
    condition = sieve.failed(run, root_feedback)
    if condition is not None:
        return Tried(condition)
    return Tried(None, session_line(run, root_feedback, include_errors=sieve.selection.include_errors))


def asked_root(run: Run) -> str | None:
    """Return the root whose feedback counts for a run too; None where it is the root, or in no trace."""
    trace_id = trace_id_of(run)
    return None if trace_id == run.get("id") else trace_id


def placed(run: Run, partitions: Mapping[str, str]) -> Run:
    """Return a run with what only the folders of a bulk export say about it."""
    if not partitions:
        return run
    missing = [name for name in _OF_PARTITIONS if name in partitions and not run.get(name)]
    return {**run, **{name: partitions[name] for name in missing}} if missing else run
