"""Examples of LangSmith datasets: what people say that the answer should be.

Key-value datasets hold any inputs and outputs, mostly those of a run; chat datasets hold messages in the old
form `{"type", "data"}`, with their schemas beside them.
"""

from collections.abc import Mapping
from typing import Any

from langchain_finetune.handles import RecordedSession
from langchain_finetune.runs.call import call_of
from langchain_finetune.runs.dialects import read_call
from langchain_finetune.runs.envelope import mapping, parse_columns, run_id_of
from langchain_finetune.runs.outputs import unwrapped
from langchain_finetune.runs.rejections import Reason, Rejection, Unreadable


def read_example(example: Any) -> RecordedSession | Rejection:
    """Read one example of a dataset; never raises, whatever JSON value it is given.

    Args:
        example: An example as LangSmith's REST API gives it: `id`, `inputs`, `outputs`, `metadata`. Its
            reference output is the answer.

    Returns:
        A session whose `run_id` is the example's id.
    """
    example_id = run_id_of(example)
    try:
        return _read(example_id, example)
    except Unreadable as e:
        return Rejection(example_id, e.reason)
    except RecursionError:
        return Rejection(example_id, Reason.TOO_DEEP)


def _read(example_id: str, example: Any) -> RecordedSession:
    if not isinstance(example, Mapping):
        raise Unreadable(Reason.NOT_A_RUN)
    example = parse_columns(example)
    inputs, outputs = example.get("inputs"), example.get("outputs")
    if not outputs:
        raise Unreadable(Reason.NO_ANSWER)
    if not inputs:
        raise Unreadable(Reason.HIDDEN_INPUTS)
    if not (isinstance(inputs, dict) and isinstance(outputs, dict)):
        raise Unreadable(Reason.UNKNOWN_SHAPE)
    run = {"id": example_id, "extra": {"metadata": mapping(example.get("metadata"))}}
    fields = read_call(call_of(example_id, run, inputs, unwrapped(outputs)))
    return RecordedSession(**{**fields, "trace_id": None})
