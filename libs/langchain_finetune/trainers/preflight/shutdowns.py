"""When OpenAI shuts its tunable models down, and when it ends fine-tuning: a table of one day.

`GET /v1/models/{id}` goes before it wherever it tells a `shutdown_date`. A tuned model ends with its base.
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final

from langchain_finetune.base_names import base_of, without_date
from langchain_finetune.hosts import OPENAI

SHUTDOWNS_AS_OF: Final = date(2026, 11, 22)
"""The day on which the table was true."""

SHUTDOWNS_SOURCE: Final = "https://developers.openai.com/api/docs/deprecations"

LAST_JOB: Final = date(2027, 1, 6)
"""From this day on nobody creates fine-tuning jobs at OpenAI."""

_SEPTEMBER: Final = date(2026, 9, 28)
_OCTOBER: Final = date(2026, 10, 23)
_JANUARY: Final = date(2027, 1, 14)

SHUTDOWNS: Final[Mapping[str, date]] = {
    "babbage-002": _SEPTEMBER,
    "davinci-002": _SEPTEMBER,
    "gpt-3.5-turbo-1106": _SEPTEMBER,
    "gpt-3.5-turbo": _OCTOBER,
    "gpt-3.5-turbo-0125": _OCTOBER,
    "gpt-3.5-turbo-0613": _OCTOBER,
    "gpt-4": _OCTOBER,
    "gpt-4-0613": _OCTOBER,
    "gpt-4.1-nano-2025-04-14": _OCTOBER,
    "o4-mini-2025-04-16": _OCTOBER,
    "gpt-4o-2024-08-06": _JANUARY,
    "gpt-4o-2024-11-20": _JANUARY,
    "gpt-4o-mini-2024-07-18": _JANUARY,
    "gpt-4.1-2025-04-14": _JANUARY,
    "gpt-4.1-mini-2025-04-14": _JANUARY,
}
"""By the base's name at OpenAI."""


def shutdown_date(provider: str, base: str, model: Mapping[str, Any] | None = None) -> date | None:
    """Return the day on which a base and the models tuned on it end; None where none is announced.

    Args:
        provider: Name of the host.
        base: The base model, or one tuned on it.
        model: The host's model object of the base, where it has one.
    """
    if told := read_date((model or {}).get("shutdown_date")):
        return told
    if provider != OPENAI.name:
        return None
    name = base_of(base)
    dated = (day for listed, day in SHUTDOWNS.items() if without_date(listed) == name)
    return SHUTDOWNS.get(name) or next(dated, None)


def last_job_date(provider: str, base: str) -> date | None:
    """Return the day from which on nobody creates jobs on a base; None where none is announced."""
    is_openais = provider == OPENAI.name and shutdown_date(provider, base) is not None
    return LAST_JOB if is_openais else None


def read_date(value: Any) -> date | None:
    """Read a day from what a host tells: an ISO date, with or without a time; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        return datetime.fromisoformat(value).date()
    except ValueError:
        return None
