import copy
import json
import sys
import warnings

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_finetune.converters.redaction.pii import PersonalData, _model, _patterns
from langchain_finetune.converters.redaction.redact import Redactor
from langchain_finetune.errors import MissingExtraError
from langchain_finetune.handles import RecordedSession
from langchain_finetune.runs import read_run
from tests.fakes.recorded_runs import DATA

pytest.importorskip("presidio_analyzer", reason="the extra `pii` is not installed")


@pytest.fixture(scope="module")
def finder():
    return PersonalData("none")


@pytest.fixture(scope="module")
def redact(finder):
    return Redactor(finders=(finder,))


def row(content, arguments="{}", result="ok"):
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return {
        "messages": [
            {"role": "user", "content": content},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": result},
            {"role": "assistant", "content": "done"},
        ]
    }


PERSONAL = [
    ("ann.smith@example.co.uk", "email"),
    ("+1 415 555 2671", "phone"),
    ("+14155552671", "phone"),
    ("(415) 555-2671", "phone"),
    ("415-555-2671", "phone"),
    ("+49 30 901820", "phone"),
    ("030/901820", "phone"),
    ("DE89370400440532013000", "iban"),
    ("GB82 WEST 1234 5698 7654 32", "iban"),
    ("192.168.17.44", "ip_address"),
    ("2001:db8::1", "ip_address"),
    ("00:1B:44:11:3A:B7", "mac_address"),
    ("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", "crypto_wallet"),
    ("536-90-4399", "national_id"),
    ("AB123456C", "national_id"),
    ("12345678Z", "national_id"),
    ("X1234567L", "national_id"),
    ("RSSMRA85T10A562S", "national_id"),
    ("44051401359", "national_id"),
    ("131052-308T", "national_id"),
    ("86095742719", "national_id"),
    ("8001015009087", "national_id"),
]


@pytest.mark.parametrize(("value", "kind"), PERSONAL)
def test_what_is_personal_is_found_with_its_kind(finder, value, kind):
    text = f"It is {value} as far as I know."
    assert [(it.kind, it.text) for it in finder.find(text)] == [(kind, value)]
    assert finder.may_hold(orjson.dumps({"content": text}))


@pytest.mark.parametrize(
    "text",
    [
        "run 01a20315-ae54-739e-9509-a86537ff24df of call_9f8aB3kLmN0pQrStUvWxYz01",
        "249.99 EUR, 1,234,567.89 EUR, 1.234.567,89 EUR, 20 000 000 USD",
        "2026-03-04T11:48:02.194726+00:00, 2026-03-04, 04.03.2026, 3/4/2026, 12:30:45, 20260304114802",
        "1700000000 1700000000000 4155552671 20311 C-20311 #4155552671",
        "version 1.2.3, 127.0.0.1:8000 and 0.0.0.0, localhost",
        "Lines 1-20, 3.14159265358979, 10-20-30, 2 + 2 = 4, 56/7",
        "@ann wrote to a@b and x@y.invalidsuffix",
    ],
)
def test_ids_prices_dates_and_versions_are_left(finder, text):
    assert finder.find(text) == []


def test_digits_alone_are_a_phone_number_where_they_are_called_one(redact):
    arguments = json.dumps({"phone": "4155552671", "mobile_number": 4155552672, "order": 4155552673})
    redacted = redact(row("Tel: 4155552674", arguments)).row["messages"]
    assert redacted[0]["content"] == "Tel: [PHONE_1]"
    assert json.loads(redacted[1]["tool_calls"][0]["function"]["arguments"]) == {
        "phone": "[PHONE_2]",
        "mobile_number": "[PHONE_3]",
        "order": 4155552673,
    }


def test_one_value_has_one_placeholder_wherever_it_stands(redact):
    given_row = row(
        "I am ann@example.com, call +1 415 555 2671",
        json.dumps({"to": "ann@example.com", "cc": ["bob@example.com"], "note": "line\nann@example.com"}),
        json.dumps({"inner": json.dumps({"from": "ann@example.com"})}),
    )
    before = copy.deepcopy(given_row)
    redacted = redact(given_row)
    assert given_row == before
    user, call, tool, _ = redacted.row["messages"]
    assert user["content"] == "I am [EMAIL_1], call [PHONE_1]"
    assert json.loads(call["tool_calls"][0]["function"]["arguments"]) == {
        "to": "[EMAIL_1]",
        "cc": ["[EMAIL_2]"],
        "note": "line\n[EMAIL_1]",
    }
    assert json.loads(json.loads(tool["content"])["inner"]) == {"from": "[EMAIL_1]"}
    assert redacted.counts == {"email": 2, "phone": 1}


def test_secrets_go_too_and_come_first(redact):
    redacted = redact(
        row(
            "password='abc1' of ann@example.com",
            json.dumps({"password": "abc1", "mail": "a@b.de", "url": "postgres://bob:s3cr3t@db.example.com"}),
        )
    )
    user, call, *_ = redacted.row["messages"]
    assert user["content"] == "password='[PASSWORD_1]' of [EMAIL_1]"
    arguments = json.loads(call["tool_calls"][0]["function"]["arguments"])
    assert arguments["password"] == "[PASSWORD_1]"
    assert arguments["mail"] == "[EMAIL_2]"
    assert "s3cr3t" not in arguments["url"]


def test_without_secrets_only_personal_data_go(finder):
    redacted = Redactor(is_finding_secrets=False, finders=(finder,))(
        row("password='abc1' of ann@example.com")
    )
    assert redacted.row["messages"][0]["content"] == "password='abc1' of [EMAIL_1]"


def test_a_row_with_nothing_personal_is_returned_as_it_is(redact):
    given_row = row("What is 2 + 2?", '{"a":  1.50}', '["x", 12345678]')
    assert redact(given_row).row is given_row


LEAF = st.sampled_from([value for value, _ in PERSONAL]) | st.text(max_size=12) | st.integers(0, 10**6)
VALUES = st.recursive(
    LEAF,
    lambda it: st.lists(it, max_size=3) | st.dictionaries(st.text(max_size=5), it, max_size=3),
    max_leaves=6,
)


@given(VALUES, st.sampled_from([value for value, _ in PERSONAL]), st.booleans())
@settings(deadline=None, max_examples=60)
def test_nothing_planted_is_left_and_json_stays_json_of_the_same_shape(redact, value, planted, is_ascii):
    arguments = json.dumps(
        {"a": value, "b": f"it\n{planted}\tis", "c": json.dumps([f"\n{planted}"])}, ensure_ascii=is_ascii
    )
    redacted = redact(row(f"“{planted}”", arguments, f"{planted}.")).row["messages"]
    again = redacted[1]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(again).keys() == {"a", "b", "c"}
    assert isinstance(json.loads(json.loads(again)["c"]), list)
    assert planted not in orjson.dumps(redacted).decode()
    assert redact.is_suspect(orjson.dumps(arguments))


@given(st.text(max_size=80), st.sampled_from([value for value, _ in PERSONAL] + [""]))
@settings(deadline=None, max_examples=60)
def test_what_is_found_stands_there_and_the_quick_look_never_overlooks_it(finder, text, value):
    text = f"{text} {value}".encode(errors="replace").decode()
    end = 0
    for found in finder.find(text):
        assert text[found.start : found.end] == found.text
        assert found.start >= end
        end = found.end
        assert finder.may_hold(orjson.dumps([text]))
        assert finder.may_hold(json.dumps([text]).encode())


def test_in_the_recorded_runs_nothing_is_taken_for_personal(redact):
    """False positives, counted: none."""
    sessions = []
    for path in sorted(DATA.glob("*.json")):
        sessions += [read_run(run) for run in json.loads(path.read_bytes()).get("runs", [])]
    rows = [
        {"messages": [*it.messages, it.answer], "tools": it.tools}
        for it in sessions
        if isinstance(it, RecordedSession)
    ]
    assert len(rows) > 20
    assert [redact(it).counts for it in rows if redact(it).row is not it] == []


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    spacy = pytest.importorskip("spacy")
    blank = spacy.blank("en")
    ruler = blank.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "PERSON", "pattern": "Ann Smith"}, {"label": "GPE", "pattern": "Lyon"}])
    path = tmp_path_factory.mktemp("model") / "names"
    blank.to_disk(path)
    return str(path)


def test_with_a_model_names_and_places_are_found(model):
    redacted = Redactor(finders=(PersonalData(model),))(
        row("Ann Smith lives in Lyon.", json.dumps({"name": "Ann Smith", "city": "Lyon"}))
    )
    user, call, *_ = redacted.row["messages"]
    assert user["content"] == "[PERSON_1] lives in [LOCATION_1]."
    arguments = json.loads(call["tool_calls"][0]["function"]["arguments"])
    assert arguments == {"name": "[PERSON_1]", "city": "[LOCATION_1]"}


def test_without_a_model_it_is_said_once_with_the_pip_line():
    _model.cache_clear()
    with pytest.warns(
        UserWarning, match=r"names of persons and places are not found.*pip install https://\S+\.whl"
    ):
        PersonalData()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PersonalData()
        PersonalData("none")


def test_a_model_that_was_asked_for_and_is_missing_is_an_error():
    with pytest.raises(MissingExtraError, match=r"spaCy model xx_nothing_sm: pip install https://"):
        PersonalData("xx_nothing_sm")


def test_without_the_extra_the_error_has_the_pip_line(monkeypatch):
    _patterns.cache_clear()
    monkeypatch.setitem(sys.modules, "presidio_analyzer.predefined_recognizers", None)
    with pytest.raises(MissingExtraError, match=r'pip install "langchain-finetune\[pii\]"'):
        PersonalData("none")
    _patterns.cache_clear()
