"""LangServe's client for what is served here: the one file that imports LangServe, which is deprecated.

LangServe has a license of its own and gets corrections only, so nothing else here needs it: the routes are
FastAPI's, and speak its protocol.
"""

from collections.abc import Mapping
from typing import Any

from typing_extensions import override

from langchain_finetune.errors import MissingExtraError
from langchain_finetune.handles import FineTunedModel, Handle, SubmittedJob

try:
    from langserve import RemoteRunnable
    from langserve.serialization import WellKnownLCSerializer
except ImportError as e:
    msg = (
        'LangServe is not installed: `pip install "langchain-finetune[langserve]"`. '
        "The routes do not need it, and any HTTP client can ask them."
    )
    raise MissingExtraError(msg) from e

_HANDLES: Mapping[str, type[Handle]] = {"fine_tuned_model": FineTunedModel, "fine_tune_job": SubmittedJob}


class FineTuneSerializer(WellKnownLCSerializer):
    """Reads what LangServe reads, and `FineTunedModel` and `SubmittedJob` besides.

    For `RemoteRunnable(url, serializer=FineTuneSerializer())`, and for `add_routes(..., serializer=...)`.
    """

    @override
    def loadd(self, obj: Any) -> Any:
        return super().loadd(_with_handles(obj))


def remote_pipeline(url: str, *, api_key: str | None = None, **settings: Any) -> RemoteRunnable[Any, Any]:
    """Return a client of `add_fine_tune_routes`, or of LangServe's `add_routes` with a served trainer.

    ```python
    pipeline = remote_pipeline("http://127.0.0.1:8000/finetune", api_key="…")
    outcome = pipeline.invoke({})  # a SubmittedJob, and once it has succeeded the FineTunedModel
    ```

    Args:
        url: Where the routes are.
        api_key: The key that opens them.
        **settings: Further arguments of `RemoteRunnable`, such as `timeout`.
    """
    headers = dict(settings.pop("headers", None) or {})
    if api_key is not None:
        headers["Authorization"] = f"Bearer {api_key}"
    return RemoteRunnable(url, headers=headers, serializer=FineTuneSerializer(), **settings)


def _with_handles(value: Any) -> Any:
    if isinstance(value, dict):
        kind = value.get("type")
        handle = _HANDLES.get(kind) if isinstance(kind, str) else None
        if handle is not None:
            try:
                return handle.model_validate(value)
            except ValueError:
                return value  # a newer server has fields that are not known here
        return {key: _with_handles(each) for key, each in value.items()}
    return [_with_handles(each) for each in value] if isinstance(value, list) else value
