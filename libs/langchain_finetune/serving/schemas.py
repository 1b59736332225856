"""JSON schemas of what is served: what a client may send, without a default of the server's own."""

from collections.abc import Iterable
from typing import Any, Final

from langchain_core.chat_loaders import BaseChatLoader
from langchain_core.runnables import Runnable
from pydantic import TypeAdapter

from langchain_finetune._stage import Stage
from langchain_finetune.handles import FineTunedModel, RunSelection, SelectionFields, SubmittedJob

_OF_THE_SERVER: Final = ("snapshot", "refresh")
"""Fields of a selection that no request may set."""

_ROWS: Final = {
    "title": "Rows",
    "description": "Rows in OpenAI's training format, or recorded runs, by value.",
    "type": "array",
    "items": {"type": "object"},
}
_CONFIG: Final = {"type": "object", "properties": {"configurable": {"type": "object"}}}


def _body(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    body = {"type": "object", "required": [name], "properties": {name: schema, "config": _CONFIG}}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": body}}}}


ORDER_BODY: Final = _body("input", {"description": "See input_schema."})
ORDERS_BODY: Final = _body("inputs", {"type": "array", "items": {"description": "See input_schema."}})


def input_schema(first: Runnable[Any, Any]) -> dict[str, Any]:
    """Return the schema of what a request may send to the first step of a pipe."""
    if isinstance(first, SelectionFields):
        schema = RunSelection.model_json_schema()
        for name in _OF_THE_SERVER:
            schema["properties"].pop(name, None)
        return schema
    if isinstance(first, BaseChatLoader):
        return {"title": "Selection", "type": "object"}
    return dict(_ROWS) if isinstance(first, Stage) else {"title": "Input"}


def output_schema() -> dict[str, Any]:
    """Return the schema of what is answered."""
    return TypeAdapter(FineTunedModel | SubmittedJob).json_schema(mode="serialization")


def config_schema(configurable: Iterable[str]) -> dict[str, Any]:
    """Return the schema of a config: the names that a request may set.

    LangChain's own schema of a config has the defaults of the fields in it, which may be the server's.
    """
    fields: dict[str, Any] = {name: {} for name in sorted(configurable)}
    settings = {"type": "object", "properties": fields, "additionalProperties": False}
    return {"title": "Config", "type": "object", "properties": {"configurable": settings}}
