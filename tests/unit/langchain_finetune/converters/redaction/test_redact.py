import copy
import json
import random
import re

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_finetune import TrainingDataConverter
from langchain_finetune.converters.redaction.redact import Redactor, read_rules
from langchain_finetune.handles import RecordedSession
from langchain_finetune.runs import read_run
from tests.fakes.recorded_runs import DATA
from tests.unit.langchain_finetune.converters.redaction.test_secrets import random_secret

SECRET = "sk-proj-abc123def456ghi789jkl"
redact = Redactor()


def row(*texts, arguments="{}", result="ok"):
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return {
        "messages": [
            *({"role": "user", "content": text} for text in texts),
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": result},
            {"role": "assistant", "content": "done"},
        ]
    }


def test_a_row_without_a_secret_is_returned_as_it_is():
    given_row = row("What is 2 + 2?")
    assert redact(given_row).row is given_row
    assert not redact(given_row).counts


def test_one_secret_has_one_placeholder_wherever_it_stands():
    given_row = row(f"use {SECRET}", arguments=json.dumps({"key": SECRET}), result=f"stored {SECRET}")
    before = copy.deepcopy(given_row)
    redacted = redact(given_row)
    assert given_row == before
    assert redacted.counts == {"api_key": 1}
    user, call, tool, _ = redacted.row["messages"]
    assert user["content"] == "use [API_KEY_1]"
    assert json.loads(call["tool_calls"][0]["function"]["arguments"]) == {"key": "[API_KEY_1]"}
    assert tool["content"] == "stored [API_KEY_1]"


def test_what_was_recognized_by_its_name_goes_where_it_has_none():
    redacted = redact(row("password=correct-horse-9", result="I typed correct-horse-9 in."))
    assert redacted.row["messages"][2]["content"] == "I typed [PASSWORD_1] in."


def test_a_short_value_stays_where_it_may_be_a_word():
    redacted = redact(row("password: 'paris'", result="The capital is paris."))
    assert redacted.row["messages"][0]["content"] == "password: '[PASSWORD_1]'"
    assert redacted.row["messages"][2]["content"] == "The capital is paris."


def test_different_secrets_are_told_apart_and_counted_by_kind():
    text = f"{SECRET} and {SECRET}2, password='abc123', card 4111 1111 1111 1111"
    redacted = redact(row(text))
    assert redacted.row["messages"][0]["content"] == (
        "[API_KEY_1] and [API_KEY_2], password='[PASSWORD_1]', card [CARD_NUMBER_1]"
    )
    assert redacted.counts == {"api_key": 2, "password": 1, "card_number": 1}


def test_content_parts_and_schemas_are_looked_through_and_image_bytes_are_not():
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{SECRET}"}}
    parts = [{"type": "text", "text": SECRET}, image]
    tool = {"type": "function", "function": {"name": "f", "description": f"call with {SECRET}"}}
    redacted = redact({"messages": [{"role": "user", "content": parts}], "tools": [tool]}).row
    assert redacted["messages"][0]["content"] == [{"type": "text", "text": "[API_KEY_1]"}, image]
    assert redacted["tools"][0]["function"] == {"name": "f", "description": "call with [API_KEY_1]"}


def test_a_card_that_is_a_number_in_json_becomes_a_string():
    call = redact(row("?", arguments='{"card": 4111111111111111, "é": [1.5]}')).row["messages"][1]
    assert call["tool_calls"][0]["function"]["arguments"] == '{"card": "[CARD_NUMBER_1]", "é": [1.5]}'


def test_own_rules_are_those_of_langsmiths_anonymizer():
    rules = read_rules([{"pattern": re.compile(r"ACME-\d+"), "replace": "[CUSTOMER]"}])
    redacted = Redactor(is_finding_secrets=False, rules=rules)(row(f"ACME-17 and ACME-18: {SECRET}"))
    assert redacted.row["messages"][0]["content"] == f"[CUSTOMER] and [CUSTOMER]: {SECRET}"
    assert redacted.counts == {"rule": 2}


@pytest.mark.parametrize("rule", [{"pattern": "a+"}, {}, {"pattern": re.compile("a"), "replace": 1}, "a"])
def test_a_rule_that_is_none_is_an_error_of_the_setting(rule):
    with pytest.raises(ValueError, match=r"redaction rule 1 is none|redaction_rules"):
        TrainingDataConverter(redaction_rules=[rule])


def planted(number):
    """A row with a planted secret in one of the places where text can be, and the secret."""
    source = random.Random(number)
    secret = random_secret(source)
    text = source.choice(["{}", "key: {}", "it is {}.", "é{}", "({})", "\n{}\n", "é “{}”", "a={}&b"]).format(
        secret
    )
    place = source.randrange(4)
    if place == 0:
        return row(text), secret
    if place == 1:
        nested = {"a": [{"b": text}], "c": json.dumps({"d": text})}
        return row("?", arguments=json.dumps(nested, ensure_ascii=False)), secret
    if place == 2:
        return row("?", result=json.dumps([text])), secret
    schema = {"type": "object", "properties": {"x": {"type": "string", "description": text, "enum": [text]}}}
    return {
        **row("?"),
        "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}],
    }, secret


def test_of_a_thousand_planted_secrets_none_is_left():
    for number in range(1000):
        given_row, secret = planted(number)
        redacted = redact(given_row).row
        assert secret not in orjson.dumps(redacted).decode()
        for message in redacted["messages"]:
            for call in message.get("tool_calls", ()):
                json.loads(call["function"]["arguments"])


def test_no_recorded_run_is_damaged():
    """False positives, counted: none. Nobody's secret is in the recorded runs."""
    sessions = []
    for path in sorted(DATA.glob("*.json")):
        sessions += [read_run(run) for run in json.loads(path.read_bytes()).get("runs", [])]
    read = [it for it in sessions if isinstance(it, RecordedSession)]
    assert len(read) > 20
    for session in read:
        given_row = {"messages": [*session.messages, session.answer], "tools": session.tools}
        assert redact(given_row).row is given_row


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


@given(values, st.integers())
def test_arguments_stay_json_of_the_same_shape(value, seed):
    secret = random_secret(random.Random(seed))
    arguments = json.dumps({"value": value, "key": secret, "password": secret})
    call = redact(row("?", arguments=arguments)).row["messages"][1]["tool_calls"][0]
    again = json.loads(call["function"]["arguments"])
    assert again.keys() == {"value", "key", "password"}
    assert secret not in call["function"]["arguments"]
