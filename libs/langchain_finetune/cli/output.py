"""What the commands print: results to stdout, for a person or as JSON; talk to stderr."""

import sys
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def json_option(function: F) -> F:
    """Add `--json`."""
    return click.option("--json", "is_json", is_flag=True, help="Print the result as JSON.")(function)


def quiet_option(function: F) -> F:
    """Add `--quiet`."""
    return click.option("-q", "--quiet", "is_quiet", is_flag=True, help="Show no progress.")(function)


def print_result(value: Any, text: str | None = None, *, is_json: bool = False) -> None:
    """Print a result.

    Args:
        value: What is printed as JSON: a handle, or what consists of such.
        text: What a person reads; None is the value's own text.
        is_json: Which of the two.
    """
    if not is_json:
        click.echo(str(value) if text is None else text)
        return
    import orjson

    option = orjson.OPT_INDENT_2 if sys.stdout.isatty() else 0
    click.echo(orjson.dumps(value, default=as_json, option=option | orjson.OPT_NON_STR_KEYS).decode())


def as_json(value: Any) -> Any:
    """Return what stands for a value in JSON."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Path | date):
        return str(value)
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    raise TypeError(type(value).__name__)


def say(text: str) -> None:
    """Tell a person something that is no result."""
    click.echo(text, err=True)


def fields(rows: list[tuple[str, Any]]) -> str:
    """Return names and values as lines of two columns; what is None is left out."""
    told = [(name, value) for name, value in rows if value is not None]
    width = max((len(name) for name, _ in told), default=0)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in told)
