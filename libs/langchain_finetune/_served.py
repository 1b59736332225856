"""What a stage takes from a request over HTTP: values, and names that the server has allowed.

A path that came with a request would upload a file of the server's to a host of fine-tuning, so no stage
follows one. LangServe and the routes of `serving` mark the config of each request that they carry out;
handles are made by stages and never by JSON, so a stage inside a pipe goes on as ever.
"""

import os
from collections.abc import Iterable, Mapping
from typing import Any, Final

from langchain_core.chat_loaders import BaseChatLoader
from langchain_core.runnables import RunnableConfig
from pydantic import BaseModel

from langchain_finetune.errors import ServedInputError

_LANGSERVE_MARK: Final = "__langserve_version"
"""Metadata that LangServe gives to each request, and that no request can take away."""

_OWN_MARK: Final = "__langchain_finetune_projects"
"""Metadata that the routes of `serving` give to each request: what it may name besides the loader's own."""

_NEVER_CONFIGURABLE: Final = frozenset(
    {
        "alias",
        "api_key",
        "async_client",
        "base_url",
        "chat_model_kwargs",
        "client",
        "deployment",
        "extra_body",
        "path",
        "runs",
        "storage_options",
        "target",
    }
)
"""Settings that choose where keys and data go to, by the names of their fields."""

_NEVER_SELECTED: Final = frozenset({"refresh", "snapshot"})
"""Fields of a selection that change what lies on the server."""


def served_metadata(projects: Iterable[str]) -> dict[str, Any]:
    """Return the metadata that marks a config as a request's.

    Args:
        projects: Projects and datasets that the request may name.
    """
    return {_OWN_MARK: sorted(projects)}


def served_projects(config: RunnableConfig | None) -> list[str] | None:
    """Return what a request may name besides the loader's own, None where the config is no request's."""
    metadata = (config or {}).get("metadata") or {}
    if _LANGSERVE_MARK in metadata:
        return []  # whatever else stands there may be the client's
    return metadata.get(_OWN_MARK)


def refuse_settings(configurable: Mapping[str, Any], allowed: Iterable[str] | None = None) -> None:
    """Refuse settings of a request that only the server may choose.

    Args:
        configurable: The config's `configurable`.
        allowed: The names that the server allows; None is every one that chooses no place and no key.

    Raises:
        ServedInputError: There is another one.
    """
    names = {str(name) for name in configurable}
    allowed = names if allowed is None else set(allowed)
    if refused := sorted((names - allowed) | (names & _NEVER_CONFIGURABLE)):
        msg = f"a request cannot set {', '.join(refused)}: this is chosen where the pipe is served."
        raise ServedInputError(msg)


def refuse_untrusted(stage: Any, given: Any, projects: Iterable[str] = ()) -> None:
    """Refuse an input that names what only the server may choose.

    Args:
        stage: The stage that it is for.
        given: The input.
        projects: Projects and datasets that may be named besides those of the stage's own settings.

    Raises:
        ServedInputError: It names a file, another project, or a field that changes the server.
    """
    # A request's input is plain JSON: LangServe hands models over as the dicts that they were made of.
    if given is None or isinstance(given, BaseModel):
        return
    if isinstance(stage, BaseChatLoader):
        _refuse_selection(stage, given, set(projects))
    elif isinstance(given, str | bytes | os.PathLike | Mapping) or _holds_names(given):
        msg = (
            f"{_name_of(stage)} takes rows from a request, a list of JSON objects, and got "
            f"{_kind_of(given)}: the server follows no paths that come over HTTP."
        )
        raise ServedInputError(msg)


def chosen_fields(stage: Any, given: Any) -> Any:
    """Return a selection without the fields that nobody chose.

    LangServe reads a selection as the model that the input type names, and hands it over as a dict of all its
    fields: taken as it is, it would undo every setting of the loader's own.

    Args:
        stage: The stage that it is for.
        given: The input.
    """
    if not isinstance(stage, BaseChatLoader) or not isinstance(given, Mapping):
        return given
    fields: Mapping[str, Any] = getattr(type(stage), "model_fields", {})
    return {
        name: value
        for name, value in given.items()
        if name not in fields or value != fields[name].get_default(call_default_factory=True)
    }


def _refuse_selection(stage: BaseChatLoader, given: Any, projects: set[str]) -> None:
    if isinstance(given, str) and not hasattr(stage, "path"):
        # The loaders of LangSmith's take the name of a project or of a dataset for their input.
        given = {"dataset_name" if hasattr(stage, "dataset_name") else "project_name": given}
    if not isinstance(given, Mapping):
        msg = (
            f"{_name_of(stage)} takes the fields of a selection from a request, a JSON object, and got "
            f"{_kind_of(given)}: the server follows no paths and no ids that come over HTTP."
        )
        raise ServedInputError(msg)
    if set_here := sorted(name for name in _NEVER_SELECTED if given.get(name)):
        msg = f"a request cannot set {', '.join(set_here)}: this changes what lies on the server."
        raise ServedInputError(msg)
    for field in ("project_name", "dataset_name"):
        name = given.get(field)
        if name is not None and name != getattr(stage, field, None) and name not in projects:
            msg = (
                f"{field} {str(name)[:100]!r} is not served here: ask for one that is, or add it to the "
                "`projects` that `add_fine_tune_routes` allows."
            )
            raise ServedInputError(msg)


def _holds_names(given: Any) -> bool:
    """Tell whether a list holds anything but values: a text or a path in it names something."""
    return isinstance(given, list | tuple) and any(
        isinstance(item, str | bytes | os.PathLike | list | tuple) for item in given
    )


def _name_of(stage: Any) -> str:
    return str(stage.get_name()) if hasattr(stage, "get_name") else type(stage).__name__


def _kind_of(given: Any) -> str:
    kinds: dict[Any, str] = {str: "a text", list: "a list that holds others", Mapping: "one object"}
    return next((word for kind, word in kinds.items() if isinstance(given, kind)), "something else")
