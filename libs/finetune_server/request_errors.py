"""What FastAPI and Starlette find wrong with a request, in OpenAI's words. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from finetune_server.errors import ApiError

_WHERE = ("body", "query", "path", "header")
_BRANCHES = frozenset({"int", "float", "constrained-int", "constrained-float"})


def error_of_validation(faults: Sequence[Mapping[str, Any]]) -> ApiError:
    """The answer to a request that breaks its schema: names the first parameter at fault, never its value."""
    fault = faults[0]
    kind: str = fault["type"]
    if kind == "json_invalid":
        message = (
            "We could not parse the JSON body of your request. "
            "(HINT: This likely means you aren't using your HTTP library correctly. "
            "The API expects a JSON payload.)"
        )
        return ApiError(400, message)
    param = _param(fault["loc"])
    if kind == "missing":
        return ApiError(
            400, f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter"
        )
    if kind == "extra_forbidden":
        return ApiError(400, f"Unknown parameter: '{param}'.", param=param, code="unknown_parameter")
    # A parameter that may be of several types has a fault for each of them.
    reasons = "; ".join(each["msg"] for each in faults if _param(each["loc"]) == param)
    code = "invalid_type" if kind.endswith("_type") else "invalid_value"
    return ApiError(400, f"Invalid '{param}': {reasons}.", param=param, code=code)


def error_of_http(status: int, detail: str, method: str, path: str) -> ApiError:
    """The answer to a request that no route takes."""
    if status == 404:  # noqa: PLR2004 - a status
        return ApiError(404, f"Invalid URL ({method} {path})", code="unknown_url")
    if status == 405:  # noqa: PLR2004 - a status
        return ApiError(405, f"Not allowed to {method} on {path}", code="method_not_supported")
    if status == 413:  # noqa: PLR2004 - a status
        return ApiError(413, detail, code="body_too_large")
    return ApiError(status, detail, code="invalid_request")


def _param(location: Sequence[str | int]) -> str | None:
    """`method.supervised.hyperparameters.n_epochs` for a place in the body."""
    names = location[1:] if location and location[0] in _WHERE else location
    return ".".join(str(name) for name in names if not _is_branch(name)) or None


def _is_branch(name: str | int) -> bool:
    """Whether pydantic put the name of a union's member into the place, which no client has written."""
    return isinstance(name, str) and ("[" in name or name in _BRANCHES)
