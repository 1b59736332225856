"""A whole pipe as a file: what is loaded, converted, trained, compared, promoted."""

import re
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from langchain_finetune.cli.training import refuse_keys

_SOURCES: Final = ("langsmith", "dataset")
_RECORDED: Final = "recorded"


class Pipe(BaseModel):
    """A pipe. Paths are relative to the file that it is read from."""

    model_config = ConfigDict(extra="forbid")

    source: str | None = None
    """Where the runs are, as in `select`."""

    select: dict[str, Any] = Field(default_factory=dict)
    """Settings of the loader: the fields of its selection."""

    convert: dict[str, Any] = Field(default_factory=dict)
    """Settings of `TrainingDataConverter`."""

    target: str | None = None
    """`provider:base`."""

    train: dict[str, Any] = Field(default_factory=dict)
    """Settings of `FineTuneRunnable`, but for what holds a key."""

    compare: bool | dict[str, Any] = False
    """Whether base and tuned model are compared; or the settings of `ModelComparison`."""

    gate: dict[str, Any] | None = None
    """Settings of `PromotionGate`: what the tuned model has to reach."""

    alias: str | None = None
    """Alias that is moved to the tuned model; with a gate, only to one that has passed it."""

    report: Path | None = None
    """HTML file for the report of the comparison."""

    @property
    def compares(self) -> bool:
        """Whether there is anything to compare for."""
        return bool(self.compare) or self.gate is not None or self.report is not None


def read_pipe(path: Path | None) -> Pipe:
    """Read a pipe from a YAML or JSON file; without one it is empty.

    Raises:
        UsageError: It is no YAML, has a field that there is not, or a key.
    """
    if path is None:
        return Pipe()
    try:
        told = yaml.load(path.read_bytes(), _Loader)  # noqa: S506  a subclass of the safe one
        pipe = Pipe.model_validate({} if told is None else told)
    except yaml.YAMLError as e:
        msg = f"{path} is neither YAML nor JSON: {e}"
        raise click.UsageError(msg) from e
    except ValidationError as e:
        problems = "; ".join(f"{'.'.join(map(str, it['loc']))}: {it['msg']}" for it in e.errors())
        msg = f"{path}: {problems}. Its fields are {', '.join(Pipe.model_fields)}."
        raise click.UsageError(msg) from e
    refuse_keys(pipe.train)
    return _placed(pipe, path.absolute().parent)


def _placed(pipe: Pipe, folder: Path) -> Pipe:
    found: dict[str, Any] = {}
    if pipe.source is not None:
        found["source"] = _placed_source(pipe.source, folder)
    if pipe.report is not None:
        found["report"] = folder / pipe.report
    if isinstance(pipe.compare, dict) and isinstance(data := pipe.compare.get("data"), str):
        found["compare"] = {**pipe.compare, "data": folder / data}
    return pipe.model_copy(update=found)


def _placed_source(source: str, folder: Path) -> str:
    kind, colon, name = source.partition(":")
    if colon and kind == _RECORDED:
        return f"{kind}:{folder / name}" if name else source
    is_elsewhere = (colon and kind in _SOURCES) or "://" in source or bool(urlsplit(source).netloc)
    return source if is_elsewhere else str(folder / source)


class _Loader(yaml.SafeLoader):
    """Reads numbers as JSON and YAML 1.2 write them: 1e-4 is a number too."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+"),
    list("-+0123456789"),
)
