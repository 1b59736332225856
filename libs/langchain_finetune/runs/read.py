"""Reads one recorded run, whoever recorded it."""

from collections.abc import Mapping
from typing import Any

from langchain_finetune.handles import RecordedSession
from langchain_finetune.runs.envelope import mapping, parse_columns, run_id_of
from langchain_finetune.runs.langchain import read_langchain_run
from langchain_finetune.runs.openai_chat import read_openai_run
from langchain_finetune.runs.rejections import Reason, Rejection, Unreadable


def read_run(run: Any, *, include_errors: bool = False) -> RecordedSession | Rejection:
    """Read one recorded run; never raises, whatever JSON value it is given.

    Args:
        run: A run as LangSmith's REST API, its SDK and its bulk exports give it.
        include_errors: Whether a run that carries an error is read where it has an answer all the same.
    """
    run_id = run_id_of(run)
    try:
        return _read(run_id, run, include_errors=include_errors)
    except Unreadable as e:
        return Rejection(run_id, e.reason)
    except RecursionError:
        return Rejection(run_id, Reason.TOO_DEEP)


def _read(run_id: str, run: Any, *, include_errors: bool) -> RecordedSession:
    if not isinstance(run, Mapping):
        raise Unreadable(Reason.NOT_A_RUN)
    if run.get("run_type", "llm") != "llm":
        raise Unreadable(Reason.NOT_AN_LLM_RUN)
    run = parse_columns(run)
    if not include_errors and is_errored(run):
        raise Unreadable(Reason.ERRORED)
    inputs, outputs = _call(run)
    if "generations" in outputs:
        return read_langchain_run(run_id, run, inputs, outputs)
    if "choices" in outputs:
        return read_openai_run(run_id, run, inputs, outputs)
    raise Unreadable(Reason.UNKNOWN_SHAPE)


def is_errored(run: Mapping[str, Any]) -> bool:
    """Say whether a run ended with an error."""
    return bool(run.get("error")) or run.get("status") == "error"


def _call(run: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    inputs, outputs = run.get("inputs"), run.get("outputs")
    if not outputs:
        is_open = run.get("status") == "pending" or not run.get("end_time")
        raise Unreadable(Reason.PENDING if is_open else Reason.NO_ANSWER)
    if not inputs:
        raise Unreadable(Reason.HIDDEN_INPUTS)
    if not (isinstance(inputs, dict) and isinstance(outputs, dict)):
        raise Unreadable(Reason.UNKNOWN_SHAPE)
    return mapping(inputs), mapping(outputs)
