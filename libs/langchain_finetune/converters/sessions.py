"""What a person hands to the converter, as a `ChatSessionFile`; and its rows, read back."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from langchain_finetune._spool import Spool, address_of, read_jsonl, sha256_of
from langchain_finetune.converters.rendering.examples import SessionRow
from langchain_finetune.errors import SourceError
from langchain_finetune.handles import SPOOL_VERSION, ChatSessionFile, RecordedSession
from langchain_finetune.runs import Reason, Rejection, read_chat_session

_NEEDED: Final = frozenset({"run_id", "messages", "answer"})


def accept_sessions(given: Any) -> ChatSessionFile:
    """Return the file of the sessions given; what is no file yet is spooled.

    Raises:
        SourceError: It holds no sessions.
    """
    if isinstance(given, ChatSessionFile):
        return given
    if isinstance(given, str | os.PathLike):
        return _file_at(Path(given))
    if isinstance(given, Mapping) or not isinstance(given, Iterable):
        msg = (
            f"TrainingDataConverter got a {type(given).__name__}: expected what a loader gives, "
            "the path of a sessions file, or an iterable of chat sessions."
        )
        raise SourceError(msg)
    return _spooled(given)


def _file_at(path: Path) -> ChatSessionFile:
    num_sessions = sum(1 for _ in read_session_rows(path))
    return ChatSessionFile(
        path=path.absolute(),
        sha256=sha256_of(path),
        num_sessions=num_sessions,
        num_runs=num_sessions,
        source=str(path),
    )


def _spooled(sessions: Iterable[Any]) -> ChatSessionFile:
    with Spool("sessions") as spool:
        kept, rejected = spool.writer("sessions.jsonl"), spool.writer("rejections.jsonl")
        reasons: Counter[str] = Counter()
        for number, session in enumerate(sessions, start=1):
            read = _read(session, number)
            if isinstance(read, RecordedSession):
                try:
                    kept.write(read)
                except TypeError:
                    read = Rejection(read.run_id, Reason.NOT_JSON)
            if isinstance(read, Rejection):
                reasons[read.reason.value] += 1
                rejected.write({"run_id": read.run_id, "reason": read.reason.value})
        directory = spool.publish(address_of({file.path.name: file.sha256 for file in (kept, rejected)}))
    return ChatSessionFile(
        path=directory / kept.path.name,
        sha256=kept.sha256,
        num_sessions=kept.num_rows,
        num_runs=kept.num_rows + rejected.num_rows,
        num_rejected=rejected.num_rows,
        rejections=directory / rejected.path.name,
        rejected_by_reason=dict(reasons.most_common()),
        source="the sessions given",
    )


def _read(session: Any, number: int) -> RecordedSession | Rejection:
    if isinstance(session, RecordedSession):
        return session
    if isinstance(session, Mapping) and "messages" in session:
        return _session(session) if "answer" in session else read_chat_session(session, f"session-{number}")
    msg = f"element {number} is a {type(session).__name__}: expected a ChatSession or a RecordedSession."
    raise SourceError(msg)


def read_session_rows(path: Path) -> Iterator[SessionRow]:
    """Yield the sessions of a file as they stand there.

    Raises:
        SourceError: A line is no recorded session.
    """
    for number, row in enumerate(read_jsonl(path), start=1):
        if not row.keys() >= _NEEDED or row.get("version", SPOOL_VERSION) != SPOOL_VERSION:
            msg = f"{path}, row {number}: {_refusal(row, path)}"
            raise SourceError(msg)
        yield row


def _refusal(row: Mapping[str, Any], path: Path | None = None) -> str:
    if "run_type" in row or "inputs" in row:
        return f"this is an exported run, no session: put RunExportLoader({str(path)!r}) first."
    if row.get("version", SPOOL_VERSION) != SPOOL_VERSION:
        return f"this session has version {row['version']}, expected {SPOOL_VERSION}: load the runs again."
    return "this is no recorded session: expected what a loader of langchain-finetune writes."


def _session(row: Mapping[str, Any]) -> RecordedSession:
    try:
        if row.get("version", SPOOL_VERSION) == SPOOL_VERSION:
            return RecordedSession(**row)
    except TypeError as e:
        raise SourceError(_refusal(row)) from e
    raise SourceError(_refusal(row))
