"""Pure: one recorded run in, one `RecordedSession` or one reasoned `Rejection` out."""

from langchain_finetune.runs.chat_sessions import openai_messages, read_chat_session
from langchain_finetune.runs.corrections import read_correction
from langchain_finetune.runs.envelope import (
    feedback_of,
    metadata_of,
    models_of,
    parse_columns,
    run_id_of,
    trace_id_of,
)
from langchain_finetune.runs.examples import read_example
from langchain_finetune.runs.read import may_be_model_call, read_fields, read_run
from langchain_finetune.runs.rejections import SENTENCES, Reason, Rejection

__all__ = [
    "SENTENCES",
    "Reason",
    "Rejection",
    "feedback_of",
    "may_be_model_call",
    "metadata_of",
    "models_of",
    "openai_messages",
    "parse_columns",
    "read_chat_session",
    "read_correction",
    "read_example",
    "read_fields",
    "read_run",
    "run_id_of",
    "trace_id_of",
]
