"""How long a host asks to be left alone, read from the headers of its answer."""

import math
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

_LONGEST_SECONDS: Final = 86_400.0
_SECONDS_A_DAY: Final = 86_400.0


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that an answer asks to wait, None where it does not say or makes no sense.

    `retry-after-ms` is more exact than `Retry-After`, which holds seconds or an HTTP date
    (RFC 9110, section 10.2.3). A date is read against the answer's own `Date`, so that a clock that is
    wrong on either side does no harm.

    Args:
        headers: The answer's headers, names in lower case or case-insensitive.
        now: Seconds since 1970, for an answer without a `Date`.
    """
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return _bounded(milliseconds / 1000.0)
    text = headers.get("retry-after")
    if (seconds := _number(text)) is not None:
        return _bounded(seconds)
    at = _http_date(text)
    sent = _http_date(headers.get("date"))
    return None if at is None else _bounded(at - (now if sent is None else sent))


def until_tomorrow(now: float) -> float:
    """Return the seconds until midnight UTC.

    Args:
        now: Seconds since 1970.
    """
    return _SECONDS_A_DAY - now % _SECONDS_A_DAY


def _bounded(seconds: float) -> float | None:
    return min(seconds, _LONGEST_SECONDS) if seconds >= 0 else None


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _http_date(text: str | None) -> float | None:
    try:
        date = parsedate_to_datetime(text) if text else None
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
    if date is None:
        return None
    try:
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
