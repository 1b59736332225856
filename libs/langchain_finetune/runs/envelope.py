"""What every run carries around the call, whoever recorded it: ids, tags, metadata, feedback, usage."""

from collections.abc import Mapping
from typing import Any, Final, TypeGuard
from uuid import UUID

from langchain_finetune._parsing import loads
from langchain_finetune.runs.content import is_unrecorded

_LARGEST: Final = 2**53
"""Largest score, count or numeric id that is believed; JSON may hold integers of any size."""

_NUMBER: Final = (int, float)
_COLUMNS: Final = ("inputs", "outputs", "extra", "events", "feedback_stats", "tags", "parent_run_ids")
_THREAD_KEYS: Final = ("thread_id", "session_id", "conversation_id")
_NOISE: Final = frozenset({"lc_versions", "usage_metadata", "revision_id"})
_NOISE_PREFIXES: Final = ("ls_", "LANGSMITH_", "LANGCHAIN_")
_USAGE_KEYS: Final = (
    ("prompt_tokens", ("prompt_tokens", "input_tokens", "promptTokens")),
    ("completion_tokens", ("completion_tokens", "output_tokens", "completionTokens")),
    ("total_tokens", ("total_tokens", "totalTokens")),
)


def parse_columns(run: Mapping[str, Any]) -> Mapping[str, Any]:
    """Parse the columns that bulk exports carry as JSON strings; the run itself where there are none."""
    for column in map(run.get, _COLUMNS):
        if isinstance(column, str):
            break
    else:
        return run
    strings = [name for name in _COLUMNS if isinstance(run.get(name), str)]
    parsed = dict(run)
    for name in strings:
        try:
            parsed[name] = loads(run[name])
        except (ValueError, RecursionError):
            continue  # stays a string: a shape that no dialect knows
    return parsed


def is_mapping(value: Any) -> TypeGuard[Mapping[str, Any]]:
    """Say whether a value is a mapping; to ask an abstract class takes ten times as long as to ask `dict`."""
    return isinstance(value, dict) or isinstance(value, Mapping)  # noqa: SIM101


def run_id_of(run: Any) -> str:
    """Return the run's id, empty where it has none."""
    return (_id(run.get("id")) if is_mapping(run) else None) or ""


def _id(value: Any) -> str | None:
    # Whatever else stands in its place is no id, and no text that may reach a report.
    if isinstance(value, str):
        return value
    is_number = isinstance(value, int) and abs(value) <= _LARGEST
    return str(value) if is_number or isinstance(value, UUID) else None


def trace_id_of(run: Mapping[str, Any]) -> str | None:
    """Return the id of the run's trace; what old clients did not send is read off the order or the parent."""
    if trace_id := _id(run.get("trace_id")):
        return trace_id
    order = run.get("dotted_order")
    if isinstance(order, str) and "Z" in order:
        return order.split(".", 1)[0].partition("Z")[2] or None
    return _id(run.get("parent_run_id")) or _id(run.get("id")) or None


def extra_of(run: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the run's `extra`, empty where it has none."""
    return mapping(run.get("extra"))


def mapping(value: Any) -> Mapping[str, Any]:
    """Return the value where it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}


def metadata_of(run: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return all the metadata of a run."""
    return mapping(extra_of(run).get("metadata"))


def feedback_of(run: Mapping[str, Any]) -> dict[str, float]:
    """Return the average score by key, of the keys that have scores."""
    averages: dict[str, float] = {}
    for key, stats in mapping(run.get("feedback_stats")).items():
        average = stats.get("avg") if isinstance(stats, dict) else stats
        if isinstance(average, _NUMBER) and abs(average) <= _LARGEST:
            averages[str(key)] = float(average)
    return averages


def models_of(run: Mapping[str, Any]) -> set[str]:
    """Return the names under which the model of a run is recorded: as asked for, and as it answered."""
    extra = extra_of(run)
    parameters = mapping(extra.get("invocation_params"))
    outputs = mapping(run.get("outputs"))
    names = (
        parameters.get("model"),
        parameters.get("model_name"),
        mapping(extra.get("metadata")).get("ls_model_name"),
        mapping(run.get("inputs")).get("model"),
        outputs.get("model"),
        mapping(outputs.get("llm_output")).get("model_name"),
    )
    return {name for name in names if isinstance(name, str)}


def usage_of(*records: Any) -> dict[str, int] | None:
    """Return the first record of token counts under OpenAI's names, whatever names the recorder used."""
    for record in records:
        if isinstance(record, dict) and (usage := _usage(record)):
            return usage
    return None


def _usage(record: Mapping[str, Any]) -> dict[str, int]:
    usage: dict[str, int] = {}
    for name, aliases in _USAGE_KEYS:
        for alias in aliases:
            count = record.get(alias)
            if type(count) is int and 0 <= count <= _LARGEST:  # a bool is no count
                usage[name] = count
                break
    if len(usage) == 2 and "total_tokens" not in usage:  # noqa: PLR2004  # prompt and completion
        usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"]
    return usage


def node_of(metadata: Mapping[str, Any]) -> str | None:
    """Return the LangGraph node of a run; None where it is in none."""
    node = metadata.get("langgraph_node")
    return node if isinstance(node, str) else None


def tags_of(run: Mapping[str, Any]) -> list[str]:
    """Return the run's tags."""
    tags = run.get("tags")
    return [tag for tag in tags if isinstance(tag, str)] if tags and isinstance(tags, list) else []


def thread_id_of(run: Mapping[str, Any], metadata: Mapping[str, Any]) -> str | None:
    """Return the id of the run's thread, by its metadata first; None where it is in none."""
    for key in _THREAD_KEYS:
        if key in metadata and (value := _id(metadata[key])):
            return value
    return _id(run.get("thread_id")) or None


def own_metadata(metadata: Mapping[Any, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the application wrote: tracers copy the call's parameters and their own settings in."""
    own: dict[str, Any] = {}
    for key, value in metadata.items():
        if not isinstance(key, str) or key in _NOISE or key.startswith(_NOISE_PREFIXES):
            continue
        if (key in parameters and parameters[key] == value) or is_unrecorded(value):
            continue
        own[key] = value
    return own
