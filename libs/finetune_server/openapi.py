"""What `/openapi.json` says beyond what FastAPI reads from the routes: answers, errors, the key. Pure.

The answers are OpenAI's objects as `wire.py` writes them. FastAPI's own 422 does not exist: a request that
breaks its schema is answered with 400, in the envelope.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from finetune_server.openapi_schemas import SCHEMAS

Document = dict[str, Any]

_ERROR: Final = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorResponse"}}}
_OPEN: Final = "GET /healthz"
_KEY: Final = 401
_BAD: Final = 400
_FORBIDDEN: Final = 403
_MISSING: Final = 404
_TOO_LARGE: Final = 413
_TOO_MANY: Final = 429
_FAILED: Final = 500
_NO_ROOM: Final = 507


@dataclass(frozen=True, slots=True, kw_only=True)
class _Operation:
    """What an operation answers.

    Args:
        answer: The schema of its 200; None where that is a file's bytes.
        says: What the 200 is, in words.
        errors: The statuses it may answer instead, besides those that any request may get.
    """

    answer: str | None
    says: str
    errors: tuple[int, ...] = ()


_OF_A_JOB: Final = (_BAD, _MISSING)
_TOKENIZE: Final = _Operation(
    answer="TokenCount", says="The tokens.", errors=(_BAD, _MISSING, _TOO_LARGE, _FAILED)
)

OPERATIONS: Final = {
    "POST /v1/files": _Operation(answer="File", says="The file.", errors=(_BAD, _TOO_LARGE, _NO_ROOM)),
    "GET /v1/files": _Operation(answer="FileList", says="One page of files.", errors=(_BAD,)),
    "GET /v1/files/{file_id}": _Operation(answer="File", says="The file.", errors=(_MISSING,)),
    "DELETE /v1/files/{file_id}": _Operation(answer="Deleted", says="It is gone.", errors=(_MISSING,)),
    "GET /v1/files/{file_id}/content": _Operation(answer=None, says="Its bytes.", errors=(_MISSING,)),
    "POST /v1/fine_tuning/jobs": _Operation(
        answer="FineTuningJob", says="The job.", errors=(_BAD, _TOO_LARGE, _TOO_MANY, _NO_ROOM)
    ),
    "GET /v1/fine_tuning/jobs": _Operation(
        answer="FineTuningJobList", says="One page of jobs.", errors=_OF_A_JOB
    ),
    "GET /v1/fine_tuning/jobs/{job_id}": _Operation(
        answer="FineTuningJob", says="The job.", errors=(_MISSING,)
    ),
    "POST /v1/fine_tuning/jobs/{job_id}/cancel": _Operation(
        answer="FineTuningJob", says="The job, cancelled.", errors=_OF_A_JOB
    ),
    "POST /v1/fine_tuning/jobs/{job_id}/pause": _Operation(
        answer="FineTuningJob", says="The job, paused or about to be.", errors=_OF_A_JOB
    ),
    "POST /v1/fine_tuning/jobs/{job_id}/resume": _Operation(
        answer="FineTuningJob", says="The job, waiting again.", errors=_OF_A_JOB
    ),
    "GET /v1/fine_tuning/jobs/{job_id}/events": _Operation(
        answer="FineTuningJobEventList", says="One page of events.", errors=_OF_A_JOB
    ),
    "GET /v1/fine_tuning/jobs/{job_id}/checkpoints": _Operation(
        answer="FineTuningJobCheckpointList", says="One page of checkpoints.", errors=_OF_A_JOB
    ),
    "GET /v1/fine_tuning/model_limits": _Operation(answer="ModelLimitsList", says="One entry a base."),
    "GET /v1/models": _Operation(answer="ModelList", says="All models."),
    "GET /v1/models/{model_id}": _Operation(answer="Model", says="The model.", errors=(_MISSING,)),
    "DELETE /v1/models/{model_id}": _Operation(
        answer="Deleted", says="It is gone.", errors=(_FORBIDDEN, _MISSING)
    ),
    "POST /v1/chat/completions": _Operation(
        answer="ChatCompletion",
        says="The answer; with `stream`, its chunks as server-sent events that end with `[DONE]`.",
        errors=(_BAD, _MISSING, _TOO_LARGE, _FAILED),
    ),
    "POST /v1/tokenize": _TOKENIZE,
    "POST /tokenize": _TOKENIZE,
    _OPEN: _Operation(answer="Health", says="The server is up."),
}
"""Every operation of the server."""

UPLOAD_BODY: Final[Document] = {
    "requestBody": {
        "required": True,
        "content": {"multipart/form-data": {"schema": {"$ref": "#/components/schemas/CreateFileRequest"}}},
    }
}
"""For a route that reads the form itself."""

METADATA_QUERY: Final[Document] = {
    "parameters": [
        {
            "name": "metadata",
            "in": "query",
            "required": False,
            "style": "deepObject",
            "explode": True,
            "description": "`metadata[key]=value`: what a job must carry. `metadata=null`: nothing at all.",
            "schema": {"type": "object", "additionalProperties": {"type": "string"}},
        }
    ]
}
"""For a route that reads the query itself."""


def described(document: Document) -> Document:
    """FastAPI's document, made whole and true. Changes what it is given."""
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for fastapis in ("HTTPValidationError", "ValidationError"):
        schemas.pop(fastapis, None)
    schemas |= SCHEMAS
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"key": []}]
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            name = f"{method.upper()} {path}"
            told["responses"] = _responses(OPERATIONS[name], is_open=name == _OPEN)
            if name == _OPEN:
                told["security"] = []
    return document


def _responses(operation: _Operation, *, is_open: bool) -> Document:
    statuses = sorted(operation.errors if is_open else (*operation.errors, _KEY))
    errors = {
        str(status): {"description": HTTPStatus(status).phrase, "content": _ERROR} for status in statuses
    }
    other = {"description": "Any other error.", "content": _ERROR}
    return {"200": _success(operation), **errors, "default": other}


def _success(operation: _Operation) -> Document:
    if operation.answer is None:
        content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    else:
        content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{operation.answer}"}}}
    if operation.answer == "ChatCompletion":
        content["text/event-stream"] = {"schema": {"type": "string"}}
    return {"description": operation.says, "content": content}
