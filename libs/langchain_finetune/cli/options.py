"""Options that several commands have, and how their values are read."""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from typing_extensions import override

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # generic in the newest versions alone

F = TypeVar("F", bound=Callable[..., Any])

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")


class Setting(_ParamType):
    """`name=value`; the value is JSON, or else the text itself."""

    name = "name=value"

    @override
    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Any]:
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not name or not equals:
            self.fail(f"{value!r} is not of the form NAME=VALUE", param, ctx)
        try:
            return name, json.loads(text)
        except ValueError:
            return name, text


class Duration(_ParamType):
    """Seconds, or a number with a unit: `90`, `15m`, `2h`, `7d`."""

    name = "duration"

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        if (seconds := duration(str(value))) is None:
            self.fail(f"{value!r} is no duration: give seconds, or 15m, 2h, 7d", param, ctx)
        return seconds


class Moment(_ParamType):
    """A moment: ISO 8601, or how long ago: `2026-11-01`, `24h`, `7d`."""

    name = "moment"

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        text = str(value)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            seconds = duration(text) if text[-1:] in _UNITS else None
            if seconds is None:
                self.fail(f"{text!r} is no moment: give 2026-11-01, or how long ago: 24h, 7d", param, ctx)
            return datetime.now(UTC) - timedelta(seconds=seconds)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def duration(text: str) -> float | None:
    """Read a duration in seconds, None where the text is none."""
    if match := _DURATION.fullmatch(text):
        return float(match[1]) * _UNITS[match[2]]
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None


class Gathered:
    """Options that a command gets as one dict of settings, instead of an argument each.

    Args:
        name: Of the dict, among those of a command.
        renamed: Setting by parameter, where they differ.
        dicts: Parameters whose pairs make a dict.
        within: Parameters that are entries of a setting which is a dict: its name and theirs.
        negated: Flags that set something to false, and what.
    """

    def __init__(
        self,
        name: str,
        *,
        renamed: Mapping[str, str] | None = None,
        dicts: Sequence[str] = (),
        within: Mapping[str, tuple[str, str]] | None = None,
        negated: Mapping[str, str] | None = None,
    ) -> None:
        self._key = f"langchain_finetune.{name}"
        self._renamed = renamed or {}
        self._dicts = dicts
        self._within = within or {}
        self._negated = negated or {}

    def option(self, *names: str, **attributes: Any) -> Callable[[F], F]:
        """Return one of the options."""
        return click.option(*names, callback=self._gather, expose_value=False, **attributes)

    def any_other(self, what: str) -> Callable[[F], F]:
        """Return `-s NAME=VALUE`, for the settings that have no option of their own."""
        return self.option(
            "-s",
            "--setting",
            "settings",
            multiple=True,
            type=Setting(),
            metavar="NAME=VALUE",
            help=f"Any other setting of {what}; the value is JSON or text.",
        )

    def of(self, context: click.Context) -> dict[str, Any]:
        """Return what was given."""
        return dict(context.meta.get(self._key, {}))

    def _gather(self, context: click.Context, parameter: click.Parameter, value: Any) -> None:
        if not _is_given(value):
            return
        gathered, name = context.meta.setdefault(self._key, {}), str(parameter.name)
        if name == "settings":
            gathered.update(as_dict(value))
        elif name in self._within:
            setting, entry = self._within[name]
            gathered.setdefault(setting, {})[entry] = value
        elif name in self._negated:
            gathered[self._negated[name]] = False
        elif name in self._dicts:
            gathered.setdefault(name, {}).update(as_dict(value))
        else:
            gathered[self._renamed.get(name, name)] = value


def added(options: Sequence[Callable[[F], F]], function: F) -> F:
    """Add options to a command, in their order."""
    for option in reversed(options):
        function = option(function)
    return function


def as_dict(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return settings by name; of two with a name the last counts."""
    return dict(pairs)


def given(**values: Any) -> dict[str, Any]:
    """Return what was given on the command line; the rest is left to the library."""
    return {name: value for name, value in values.items() if _is_given(value)}


def _is_given(value: Any) -> bool:
    # 0 is a value, and equal to False.
    return value is not None and value is not False and value not in ((), "")


def host_options(function: F) -> F:
    """Add what reaches a host that is not at its usual place."""
    function = click.option(
        "--api-key-env",
        metavar="VARIABLE",
        help="Variable of the environment that holds the host's key. A key itself is never an argument.",
    )(function)
    return click.option("--base-url", metavar="URL", help="Where the host is.")(function)


def host_settings(base_url: str | None, api_key_env: str | None) -> dict[str, Any]:
    """Return how a host is reached as the trainer's settings.

    Raises:
        UsageError: The variable of the key is not set.
    """
    if api_key_env is None:
        return given(base_url=base_url)
    key = os.environ.get(api_key_env)
    if not key:
        msg = f"the variable {api_key_env} is not set: --api-key-env names the one that holds the key."
        raise click.UsageError(msg)
    return given(base_url=base_url, api_key=key)


def build(make: Callable[..., Any], *args: Any, **settings: Any) -> Any:
    """Make a stage, and tell a setting that it does not have, or a value that it refuses, as a usage error.

    Raises:
        UsageError: A setting is not one, or its value is refused.
    """
    from pydantic import ValidationError

    try:
        return make(*args, **settings)
    except ValidationError as e:
        told = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'settings'}: {item['msg']}" for item in e.errors()
        )
        raise click.UsageError(told) from e
