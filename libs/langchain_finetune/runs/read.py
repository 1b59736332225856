"""Reads one recorded run, whoever recorded it."""

from collections.abc import Mapping
from typing import Any, Final

from langchain_finetune.handles import RecordedSession
from langchain_finetune.runs.call import SessionFields, call_of
from langchain_finetune.runs.dialects import read_call
from langchain_finetune.runs.envelope import is_mapping, parse_columns, run_id_of
from langchain_finetune.runs.outputs import unwrapped
from langchain_finetune.runs.rejections import Reason, Rejection, Unreadable
from langchain_finetune.runs.spans import is_span, run_of_span, span_id_of

_MODEL_CALL: Final = "llm"


def read_run(run: Any, *, include_errors: bool = False) -> RecordedSession | Rejection:
    """Read one recorded run; never raises, whatever JSON value it is given.

    Args:
        run: A run as LangSmith's REST API, its SDK and its bulk exports give it, or a span of OpenTelemetry.
        include_errors: Whether a run that carries an error is read where it has an answer all the same.
    """
    read = read_fields(parse_columns(run) if isinstance(run, Mapping) else run, include_errors=include_errors)
    return read if isinstance(read, Rejection) else RecordedSession(**read)


def read_fields(run: Any, *, include_errors: bool = False) -> SessionFields | Rejection:
    """Read one recorded run, its columns parsed, as the fields of its session.

    What is written to a file needs no `RecordedSession(**fields)`, which takes longer to make and to write.
    """
    run_id = run_id_of(run) or _span_id_of(run)
    try:
        return _read(run_id, run, include_errors=include_errors)
    except Unreadable as e:
        return Rejection(run_id, e.reason)
    except RecursionError:
        return Rejection(run_id, Reason.TOO_DEEP)


def _read(run_id: str, run: Any, *, include_errors: bool) -> SessionFields:
    if not is_mapping(run):
        raise Unreadable(Reason.NOT_A_RUN)
    if is_span(run):
        run = parse_columns(run_of_span(run))
    if not _is_model_call(run):
        raise Unreadable(Reason.NOT_AN_LLM_RUN)
    if not include_errors and is_errored(run):
        raise Unreadable(Reason.ERRORED)
    inputs, outputs = _call(run)
    return read_call(call_of(run_id, run, inputs, unwrapped(outputs)))


def _span_id_of(record: Any) -> str:
    is_one = isinstance(record, Mapping) and is_span(record)
    return run_id_of({"id": span_id_of(record)}) if is_one else ""


def _is_model_call(run: Mapping[str, Any]) -> bool:
    kind = run.get("run_type")
    return kind is None or (isinstance(kind, str) and kind.lower() == _MODEL_CALL)


def may_be_model_call(run_type: Any) -> bool:
    """Say whether a run may be a model's call by its `run_type`: what says that it is something else is none.

    What does not say what it is, or not in words, is read: its reading has the answer.
    """
    return run_type == _MODEL_CALL or not isinstance(run_type, str) or run_type.lower() == _MODEL_CALL


def is_errored(run: Mapping[str, Any]) -> bool:
    """Say whether a run ended with an error."""
    if run.get("error"):
        return True
    status = run.get("status")
    return isinstance(status, str) and status.lower() == "error"


def _call(run: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    inputs, outputs = run.get("inputs"), run.get("outputs")
    if (not outputs and _is_offloaded(run, "outputs")) or (not inputs and _is_offloaded(run, "inputs")):
        raise Unreadable(Reason.OFFLOADED)
    if not outputs:
        raise Unreadable(Reason.PENDING if _is_open(run) else Reason.NO_ANSWER)
    if not inputs:
        raise Unreadable(Reason.HIDDEN_INPUTS)
    if not (isinstance(inputs, dict) and isinstance(outputs, dict)):
        raise Unreadable(Reason.UNKNOWN_SHAPE)
    return inputs, outputs


def _is_offloaded(run: Mapping[str, Any], column: str) -> bool:
    # Large payloads lie in LangSmith's object storage: the API then gives their presigned URLs.
    return bool(run.get(f"{column}_s3_urls"))


def _is_open(run: Mapping[str, Any]) -> bool:
    status = run.get("status")
    return (isinstance(status, str) and status.lower() == "pending") or not run.get("end_time")
