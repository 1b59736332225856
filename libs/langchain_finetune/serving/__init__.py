"""A pipe and its models over HTTP: routes for FastAPI, LangServe's clients, aliases.

FastAPI is loaded with `add_fine_tune_routes` and `add_model_routes`, LangServe with
`langchain_finetune.serving.langserve` alone; aliases need neither.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from langchain_finetune.errors import MissingExtraError
from langchain_finetune.serving.aliases import AliasMove, AliasStore
from langchain_finetune.serving.limits import Limits
from langchain_finetune.serving.promotion import Promotion

if TYPE_CHECKING:
    from langchain_finetune.serving.model_routes import add_model_routes
    from langchain_finetune.serving.routes import add_fine_tune_routes

__all__ = [
    "AliasMove",
    "AliasStore",
    "Limits",
    "Promotion",
    "add_fine_tune_routes",
    "add_model_routes",
]

_HOMES: Final = {"add_fine_tune_routes": "routes", "add_model_routes": "model_routes"}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    try:
        value = getattr(import_module(f"{__name__}.{home}"), name)
    except ModuleNotFoundError as e:
        if e.name != "fastapi":
            raise
        msg = '`pip install "langchain-finetune[serving]"`: the routes are FastAPI\'s.'
        raise MissingExtraError(msg) from e
    globals()[name] = value
    return value
