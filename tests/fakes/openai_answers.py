"""Answers of a host of OpenAI's protocol, and OpenAI's schemas for them."""

import json
import re
import time
from pathlib import Path
from typing import Any

import jsonschema

from tests.fakes.loopback import Request, Response

_SCHEMAS = json.loads((Path(__file__).parents[1] / "data" / "openai_schemas.json").read_bytes())


def fields_of(name: str) -> set[str]:
    """The fields that one of OpenAI's schemas names."""
    return set(_SCHEMAS["$defs"][name]["properties"])


def schema_errors(name: str, value: Any) -> list[str]:
    """What a value has against one of OpenAI's schemas."""
    schema = {"$ref": f"#/$defs/{name}", "$defs": _SCHEMAS["$defs"]}
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(value)]


class HostError(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        kind = "invalid_request_error" if status < 500 else "server_error"
        error = {"message": message, "type": kind, "param": param, "code": code}
        self.response = Response(status, {"error": error})


def new_job(job_id: str, body: dict[str, Any], status: str, metadata: dict[str, str]) -> dict[str, Any]:
    """A job as it was ordered; a healthy one of OpenAI has an empty error."""
    return {
        "id": job_id,
        "object": "fine_tuning.job",
        "created_at": int(time.time()),
        "error": {},
        "fine_tuned_model": None,
        "finished_at": None,
        "hyperparameters": {"n_epochs": "auto"},
        "model": body["model"],
        "organization_id": "org-fake",
        "result_files": [],
        "status": status,
        "trained_tokens": None,
        "training_file": body["training_file"],
        "validation_file": body.get("validation_file"),
        "seed": body.get("seed", 7),
        "method": body.get("method", {"type": "supervised"}),
        "metadata": metadata,
        "user_provided_suffix": body.get("suffix"),
    }


def checkpoint_of(job_id: str, name: str, step: int, metrics: dict[str, float]) -> dict[str, Any]:
    """A checkpoint of a job."""
    return {
        "id": f"ftckpt_{job_id[-4:]}{step:06d}",
        "object": "fine_tuning.job.checkpoint",
        "created_at": int(time.time()),
        "fine_tuned_model_checkpoint": name,
        "fine_tuning_job_id": job_id,
        "metrics": {"step": step, **metrics},
        "step_number": step,
    }


def completion(model: str, answer: dict[str, Any]) -> dict[str, Any]:
    """The answer to a chat request."""
    message = {"refusal": None, **answer}
    reason = "tool_calls" if message.get("tool_calls") else "stop"
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": reason, "logprobs": None}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


def completion_stream(model: str, answer: dict[str, Any]) -> bytes:
    """The answer to a chat request as server-sent events: a chunk a word, the end, the count."""
    whole = completion(model, answer)
    common = {name: whole[name] for name in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    words = re.findall(r"\S+\s*", answer.get("content") or "")
    deltas: list[dict[str, Any]] = [
        {"role": "assistant", "content": ""},
        *({"content": word} for word in words),
    ]
    if calls := answer.get("tool_calls"):
        deltas.append({"tool_calls": [{"index": index, **call} for index, call in enumerate(calls)]})
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": whole["choices"][0]["finish_reason"]})
    chunks = [common | {"choices": [choice]} for choice in choices]
    chunks.append(common | {"choices": [], "usage": whole["usage"]})
    return (
        b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"
    )


def page_of(
    items: list[dict[str, Any]], request: Request, *, default: int = 20, most: int = 100
) -> dict[str, Any]:
    """A page of a list, as its query asks for it."""
    limit = min(int(request.query.get("limit", [str(default)])[0]), most)
    after = request.query.get("after", [None])[0]
    ids = [item["id"] for item in items]
    start = ids.index(after) + 1 if after in ids else 0
    page = items[start : start + limit]
    return {"object": "list", "data": page, "has_more": start + limit < len(items)}
