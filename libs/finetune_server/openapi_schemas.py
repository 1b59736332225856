"""The objects of the wire as JSON Schema, for `/openapi.json`: what `wire.py` writes. Pure."""

from typing import Any, Final, get_args

from finetune_server.storage.records import JobStatus

Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": "string"}
_NUMBER: Final[Schema] = {"type": "number"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_FLAG: Final[Schema] = {"type": "boolean"}
_MAP: Final[Schema] = {"type": "object", "additionalProperties": True}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _of(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _many(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _object(
    kind: str | None, fields: dict[str, Schema], *, optional: dict[str, Schema] | None = None
) -> Schema:
    required = ({"object": {"const": kind, "type": "string"}} if kind else {}) | fields
    return {"type": "object", "required": list(required), "properties": required | (optional or {})}


def _list(name: str, **more: Schema) -> Schema:
    return _object("list", {"data": _many(_of(name)), **more})


_PAGE: Final = {"has_more": _FLAG}
_HYPERPARAMETERS: Final = _object(
    None,
    {
        "n_epochs": {"anyOf": [{"const": "auto"}, {"type": "integer"}]},
        "batch_size": {"anyOf": [{"const": "auto"}, {"type": "integer"}]},
        "learning_rate_multiplier": {"anyOf": [{"const": "auto"}, _NUMBER]},
    },
)

SCHEMAS: Final[dict[str, Schema]] = {
    "ErrorResponse": _object(
        None,
        {
            "error": _object(
                None,
                {"message": _TEXT, "type": _TEXT, "param": _or_null(_TEXT), "code": _or_null(_TEXT)},
            )
        },
    ),
    "CreateFileRequest": _object(
        None,
        {
            "file": {"type": "string", "format": "binary"},
            "purpose": {"type": "string", "enum": ["fine-tune"]},
        },
        optional={
            "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
            "expires_after[seconds]": {"type": "integer", "minimum": 3600, "maximum": 2_592_000},
        },
    ),
    "File": _object(
        "file",
        {
            "id": _TEXT,
            "bytes": _COUNT,
            "created_at": _COUNT,
            "filename": _TEXT,
            "purpose": {"type": "string", "enum": ["fine-tune", "fine-tune-results"]},
            "status": {"type": "string", "const": "processed"},
        },
        optional={"expires_at": _COUNT},
    ),
    "FileList": _list("File", **_PAGE, first_id=_TEXT, last_id=_TEXT),
    "FineTuningJob": _object(
        "fine_tuning.job",
        {
            "id": _TEXT,
            "created_at": _COUNT,
            "error": _or_null(_object(None, {"code": _TEXT, "message": _TEXT, "param": _or_null(_TEXT)})),
            "fine_tuned_model": _or_null(_TEXT),
            "finished_at": _or_null(_COUNT),
            "hyperparameters": _HYPERPARAMETERS,
            "model": _TEXT,
            "organization_id": _TEXT,
            "result_files": _many(_TEXT),
            "status": {"type": "string", "enum": list(get_args(JobStatus))},
            "trained_tokens": _or_null(_COUNT),
            "training_file": _TEXT,
            "validation_file": _or_null(_TEXT),
            "integrations": _many(_MAP),
            "seed": _COUNT,
            "estimated_finish": _or_null(_COUNT),
            "method": _MAP,
            "metadata": _or_null({"type": "object", "additionalProperties": _TEXT}),
            "user_provided_suffix": _or_null(_TEXT),
        },
    ),
    "FineTuningJobList": _list("FineTuningJob", **_PAGE),
    "FineTuningJobEvent": _object(
        "fine_tuning.job.event",
        {
            "id": _TEXT,
            "created_at": _COUNT,
            "level": {"type": "string", "enum": ["info", "warn", "error"]},
            "message": _TEXT,
            "type": {"type": "string", "enum": ["message", "metrics"]},
            "data": _MAP,
        },
    ),
    "FineTuningJobEventList": _list("FineTuningJobEvent", **_PAGE),
    "FineTuningJobCheckpoint": _object(
        "fine_tuning.job.checkpoint",
        {
            "id": _TEXT,
            "created_at": _COUNT,
            "fine_tuned_model_checkpoint": _TEXT,
            "fine_tuning_job_id": _TEXT,
            "metrics": {"type": "object", "additionalProperties": _NUMBER},
            "step_number": _COUNT,
        },
    ),
    "FineTuningJobCheckpointList": _list(
        "FineTuningJobCheckpoint", **_PAGE, first_id=_or_null(_TEXT), last_id=_or_null(_TEXT)
    ),
    "ModelLimits": _object(
        "fine_tuning.model_limits",
        {
            "id": _TEXT,
            "curr_pending_jobs": _COUNT,
            "max_pending_jobs": _COUNT,
            "jobs_so_far_today": _COUNT,
            "max_jobs_per_day": _or_null(_COUNT),
        },
    ),
    "ModelLimitsList": _list("ModelLimits"),
    "Model": _object(
        "model",
        {
            "id": _TEXT,
            "created": _COUNT,
            "owned_by": _TEXT,
            "shutdown_date": {"type": "null"},
            "max_model_len": _or_null(_COUNT),
        },
        optional={"weights_sha256": _or_null(_TEXT), "parent": _TEXT, "job_id": _TEXT, "alias_of": _TEXT},
    ),
    "ModelList": _list("Model"),
    "Deleted": _object(None, {"id": _TEXT, "object": _TEXT, "deleted": {"const": True, "type": "boolean"}}),
    "ChatCompletion": _object(
        "chat.completion",
        {"id": _TEXT, "created": _COUNT, "model": _TEXT, "choices": _many(_MAP), "usage": _MAP},
        optional={"system_fingerprint": _TEXT},
    ),
    "TokenCount": _object(None, {"count": _COUNT, "max_model_len": _COUNT, "tokens": _many(_COUNT)}),
    "Health": _object(None, {"status": {"const": "ok", "type": "string"}, "version": _TEXT}),
}
