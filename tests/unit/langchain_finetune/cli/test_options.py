import json
from datetime import UTC, datetime, timedelta

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_finetune.cli.options import Duration, Moment, Setting, duration, host_settings

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.from_regex(r"[a-z_]+", fullmatch=True), JSON)
def test_a_setting_is_a_name_and_json(name, value):
    assert Setting().convert(f"{name}={json.dumps(value)}", None, None) == (name, value)


def test_what_is_no_json_is_text():
    assert Setting().convert("model=gpt-4.1=x", None, None) == ("model", "gpt-4.1=x")


@pytest.mark.parametrize("text", ["name", "=1", ""])
def test_a_setting_has_a_name_and_an_equals_sign(text):
    with pytest.raises(click.BadParameter, match="NAME=VALUE"):
        Setting().convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5", 1.5), ("15m", 900), ("2h", 7200), ("7d", 604_800), ("1w", 604_800)],
)
def test_a_duration_has_a_unit_or_is_in_seconds(text, seconds):
    assert Duration().convert(text, None, None) == seconds


@given(st.text())
def test_any_text_is_a_duration_of_seconds_or_none(text):
    seconds = duration(text)
    assert seconds is None or 0 <= seconds < float("inf")


@pytest.mark.parametrize("text", ["-1", "inf", "nan", "2 h", "m", "1y"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(click.BadParameter, match="duration"):
        Duration().convert(text, None, None)


def test_a_moment_is_a_date_or_how_long_ago():
    assert Moment().convert("2026-11-01", None, None) == datetime(2026, 11, 1, tzinfo=UTC)
    assert Moment().convert("2026-11-01T12:00:00+02:00", None, None).utcoffset() == timedelta(hours=2)
    before = datetime.now(UTC) - timedelta(days=7)
    assert before <= Moment().convert("7d", None, None) <= before + timedelta(minutes=5)
    with pytest.raises(click.BadParameter, match="moment"):
        Moment().convert("yesterday", None, None)


def test_a_key_comes_from_the_environment_alone(monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-1")
    assert host_settings("http://h", "MY_KEY") == {"base_url": "http://h", "api_key": "sk-1"}
    with pytest.raises(click.UsageError, match="NO_KEY is not set"):
        host_settings(None, "NO_KEY")
