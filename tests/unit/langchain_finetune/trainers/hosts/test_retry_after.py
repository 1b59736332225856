import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_finetune.trainers.hosts.retry_after import retry_after, until_tomorrow

NOW = 1_795_341_600.0
"""Sun, 22 Nov 2026 10:00:00 GMT."""


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e9"}, 86_400.0),
        ({"retry-after": ""}, None),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "x", "retry-after": "2"}, 2.0),
        ({"retry-after": "Sun, 22 Nov 2026 10:01:00 GMT"}, 60.0),
        ({"retry-after": "Sun, 22 Nov 2026 10:01:00 GMT", "date": "Sun, 22 Nov 2026 10:00:45 GMT"}, 15.0),
        ({"retry-after": "Sun, 22 Nov 2026 09:00:00 GMT"}, None),
        ({"retry-after": "Sun, 99 Nov 2026 10:01:00 GMT"}, None),
    ],
)
def test_seconds_milliseconds_and_dates_are_read(headers, seconds):
    assert retry_after(headers, NOW) == seconds


def test_tomorrow_begins_at_midnight_utc():
    assert until_tomorrow(NOW) == 14 * 3600.0
    assert until_tomorrow(NOW + 14 * 3600.0) == 86_400.0


@given(
    st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "date"]), st.text()), st.floats(0, 1e10)
)
def test_any_header_is_read_without_a_crash(headers, now):
    seconds = retry_after(headers, now)
    assert seconds is None or (math.isfinite(seconds) and 0 <= seconds <= 86_400)
