"""Why a job ended without a model: the host's account of it as the error that says what to do."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from langchain_finetune._spool import load_training_data
from langchain_finetune.errors import (
    JobCancelled,
    StorageError,
    TrainingBlocked,
    TrainingFailed,
    TrainingFileInvalid,
    TrainingOverQuota,
)
from langchain_finetune.trainers.hosts import error_codes
from langchain_finetune.trainers.jobs.job_state import JobState
from langchain_finetune.trainers.jobs.key import DATA_FIELD

_LINE: Final = re.compile(
    r"\b(?:line|example|row|record)\s+(?:number\s+|no\.\s*)?#?(\d{1,9})\b", re.IGNORECASE
)
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}")
_MODERATION: Final = "moderation_checks"
_LONGEST_MESSAGE: Final = 1000
_SHARED_WITH_A_ROW: Final = 24
"""Characters in a row that make what the host says a quotation of the row."""

_CATEGORIES: Final = (
    "advice",
    "harassment/threatening",
    "hate/threatening",
    "hate",
    "highly-sensitive",
    "illicit",
    "propaganda",
    "self-harm/instructions",
    "self-harm/intent",
    "sensitive",
    "sexual/minors",
    "sexual",
    "violence",
)
"""What OpenAI checks a tuned model for
(https://developers.openai.com/api/docs/guides/supervised-fine-tuning#safety-checks)."""

_BLOCKED_WORDS: Final = frozenset({"blocked", "block", "failed", "fail", "flagged"})
_MOST_NESTING: Final = 8


class TrainingFiles(NamedTuple):
    """Where the files of a job lie on this machine, as far as they still do."""

    train: Path | None = None
    validation: Path | None = None


NO_FILES: Final = TrainingFiles()


def files_of(job: JobState) -> TrainingFiles:
    """Return where the files of a job lie, as its metadata tells: also for a job of another process."""
    fingerprint = job.metadata.get(DATA_FIELD, "")
    if not _FINGERPRINT.fullmatch(fingerprint):
        return NO_FILES
    try:
        data = load_training_data(fingerprint)
    except (StorageError, OSError, ValueError):
        return NO_FILES
    return TrainingFiles(data.train, data.validation) if data else NO_FILES


def cancelled(job: JobState) -> JobCancelled:
    """Return the error of a job that was cancelled."""
    msg = f"job {job.id} was cancelled. Run the pipe again to start a new one on the same data."
    return JobCancelled(msg, job.id)


def failure_of(
    job: JobState, events: Sequence[dict[str, Any]], files: TrainingFiles = NO_FILES
) -> TrainingFailed:
    """Return the error of a job that failed.

    Args:
        job: The job.
        events: Its last events, oldest first.
        files: Its files, to say where a row lies that the host objects to. What the row holds is not told,
            and is cut out of what the host says.
    """
    said = job.error_message or _last_error(events) or "the host gives no reason"
    line_number = _line_number(said)
    path = _file_in_question(job, said, files)
    row = _row(path, line_number)
    location = f"{path}:{line_number}" if row is not None else None
    kind = _kind(job, events)
    categories = _categories(events, said) if kind is TrainingBlocked else ()
    facts = [
        f"code {job.error_code}" if job.error_code else "",
        f"param {job.error_param}" if job.error_param else "",
        f"at {location}" if location else "",
        f"for {', '.join(categories)}" if categories else "",
    ]
    about = f" ({', '.join(fact for fact in facts if fact)})" if any(facts) else ""
    msg = f"job {job.id} failed: {_without_row(said, row).rstrip('.')}{about}. {_WAYS_OUT[kind]}"
    error = kind(msg, job.id, job.error_code, job.error_param, events)
    error.line_number, error.location = line_number, location
    if isinstance(error, TrainingBlocked):
        error.categories = categories
    return error


_WAYS_OUT: Final[Mapping[type[TrainingFailed], str]] = {
    TrainingFailed: (
        "Correct what it names and run the pipe again: a failed job is not taken up, a new one is created."
    ),
    TrainingFileInvalid: "Correct the file and run the pipe again: a new job is created for it.",
    TrainingBlocked: "Leave out the rows of that kind and run the pipe again: a new job is created.",
    TrainingOverQuota: "Raise the account's limit, or train on less, and run the pipe again.",
}


def _kind(job: JobState, events: Sequence[Mapping[str, Any]]) -> type[TrainingFailed]:
    if job.error_code in error_codes.QUOTA:
        return TrainingOverQuota
    if job.error_code in error_codes.CONTENT or (not job.error_code and _is_moderated(events)):
        return TrainingBlocked
    return TrainingFileInvalid if job.error_code in error_codes.FILE else TrainingFailed


def _is_moderated(events: Sequence[Mapping[str, Any]]) -> bool:
    return any(event.get("type") == _MODERATION and _blocked_in(event.get("data")) for event in events)


def _last_error(events: Sequence[Mapping[str, Any]]) -> str | None:
    messages = [event.get("message") for event in events if event.get("level") == "error"]
    return next((message for message in reversed(messages) if isinstance(message, str) and message), None)


def _line_number(said: str) -> int | None:
    match = _LINE.search(said)
    return int(match[1]) or None if match else None


def _file_in_question(job: JobState, said: str, files: TrainingFiles) -> Path | None:
    is_validation = job.error_param == "validation_file" or "validation" in f"{job.error_code} {said}".lower()
    return files.validation if is_validation else files.train


def _row(path: Path | None, line_number: int | None) -> str | None:
    """Return the text of a line, None where there is none."""
    if path is None or line_number is None:
        return None
    try:
        with path.open("rb") as file:
            line = next(islice(file, line_number - 1, None), None)
    except OSError:
        return None
    return line.decode("utf-8", "replace") if line is not None else None


def _without_row(said: str, row: str | None) -> str:
    said = said[:_LONGEST_MESSAGE]
    for start in range(len(said) - _SHARED_WITH_A_ROW + 1) if row else ():
        if said[start : start + _SHARED_WITH_A_ROW] in (row or ""):
            return f"{said[:start].rstrip()} [a part of the row]"
    return said


def _categories(events: Sequence[Mapping[str, Any]], said: str) -> tuple[str, ...]:
    told = [
        category
        for event in events
        if event.get("type") == _MODERATION
        for category in (*_blocked_in(event.get("data")), *_named_in(event.get("message")))
    ]
    return tuple(dict.fromkeys(told or _named_in(said)))


def _blocked_in(data: Any, depth: int = 0) -> Iterator[str]:
    """Yield the categories that a report of the checks says were not passed; its form is not documented."""
    if depth > _MOST_NESTING:
        return
    if isinstance(data, list):
        for item in data:
            yield from _blocked_in(item, depth + 1)
    elif isinstance(data, Mapping):
        if isinstance(category := data.get("category"), str) and _is_blocked(data):
            yield category
        for name, value in data.items():
            if name in _CATEGORIES and _is_blocked(value):
                yield name
            elif name in _BLOCKED_WORDS and isinstance(value, list):
                yield from (item for item in value if isinstance(item, str))
            else:
                yield from _blocked_in(value, depth + 1)


def _is_blocked(report: Any) -> bool:
    if isinstance(report, str):
        return report.lower() in _BLOCKED_WORDS
    if isinstance(report, Mapping):
        is_said = any(report.get(word) is True for word in _BLOCKED_WORDS) or any(
            isinstance(value, str) and value.lower() in _BLOCKED_WORDS for value in report.values()
        )
        return is_said or report.get("passed") is False
    return False


def _named_in(text: Any) -> list[str]:
    words = set(re.findall(r"[a-z-]+(?:/[a-z-]+)?", text.lower())) if isinstance(text, str) else set()
    return [category for category in _CATEGORIES if category in words]
