"""Sessions as rows for reinforcement fine-tuning: the question, and beside it what a grader reads. Pure.

`messages` and `tools` are the model's; every other key is the grader's, as `{{ item.<key> }}`. The keys are
named after their counterparts in `{{ sample.<key> }}`, what the model in training gave
([graders](https://developers.openai.com/api/docs/guides/graders)), and are the same in every row.
"""

from collections.abc import Iterator
from typing import Any, Final

import orjson

from langchain_finetune.converters.rendering.examples import (
    Example,
    Message,
    Reasoning,
    Refused,
    Row,
    SessionRow,
    prompt_of,
    target_of,
    tools_of,
)
from langchain_finetune.converters.rendering.thinking import with_reasoning
from langchain_finetune.runs import Reason

_JSON_FORMATS: Final = frozenset({"json_object", "json_schema"})


def reinforcement_examples(
    session: SessionRow, *, reasoning: Reasoning = "drop", metadata_keys: tuple[str, ...] = ()
) -> Iterator[Example | Refused]:
    """Yield the row of a session.

    The format has no system role, it is the developer's, and no legacy functions: a session with such is
    refused. A question that ends with a tool's result is left to the rules of the host: OpenAI takes none.

    Args:
        session: The session.
        reasoning: Whether the reasoning of the turns since the user's last message is left out, or shown.
        metadata_keys: Keys of the run's metadata that the grader reads.
    """
    if session.get("functions"):
        yield Refused(session["run_id"], Reason.UNKNOWN_KEY, "functions")
        return
    shown = with_reasoning(session) if reasoning == "think" else session
    row: Row = {"messages": prompt_of(shown, "reinforcement")}
    if tools := tools_of(session):
        row["tools"] = tools
    row |= _item(session, metadata_keys)
    yield Example(session["run_id"], row, session)


def _item(session: SessionRow, metadata_keys: tuple[str, ...]) -> dict[str, Any]:
    target = target_of(session)
    text = _text(target)
    metadata = session.get("metadata") or {}
    return {
        "reference_answer": text,
        "reference_json": _json(text, session.get("response_format")),
        "reference_tools": _calls(target),
        "feedback": session.get("feedback") or {},
        "tags": session.get("tags") or [],
        "metadata": {key: metadata.get(key) for key in metadata_keys},
    }


def _text(answer: Message) -> str:
    content = answer.get("content")
    if isinstance(content, list):
        return "".join(part["text"] for part in content if part.get("type") == "text")
    return content or ""


def _json(text: str, response_format: dict[str, Any] | None) -> Any:
    """Return the answer's JSON where the call asked for some, as `sample.output_json` is; else None."""
    if (response_format or {}).get("type") not in _JSON_FORMATS:
        return None
    try:
        value = orjson.loads(text)
        orjson.dumps({"item": value})  # what is nested too deeply can be read and not written
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return None
    return value


def _calls(answer: Message) -> list[dict[str, Any]]:
    """Return the calls as in `sample.output_tools`, without their ids: those are drawn anew every time."""
    return [{"type": "function", "function": call["function"]} for call in answer.get("tool_calls") or ()]
