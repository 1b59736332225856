import json
import string

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from langchain_finetune.converters.redaction.quick_look import may_hold_secrets
from langchain_finetune.converters.redaction.secrets import find_secrets
from langchain_finetune.handles import RecordedSession
from langchain_finetune.runs import read_run
from tests.fakes.recorded_runs import DATA

HEX, DIGITS, LETTERS = "0123456789abcdef", string.digits, string.ascii_letters + string.digits
WORD, UPPER = LETTERS + "_-", string.ascii_uppercase + DIGITS


def _word(alphabet, least, most=None):
    return st.text(alphabet, min_size=least, max_size=most or least + 3)


def _form(text, *parts):
    """A strategy of `text` with its `{}`s filled."""
    return st.tuples(*parts).map(lambda drawn: text.format(*drawn))


def _one_of(*texts):
    return st.sampled_from(texts)


# One form for each alternative of `secret_forms`, as short as it may be.
ISSUED = [
    _form("sk-{}7", _word(WORD, 15)),
    _form("{}k_{}_{}", _one_of(*"prs"), _one_of("live", "test"), _word(LETTERS, 16)),
    _form("A{}{}", _one_of("KIA", "SIA", "BIA", "CCA"), _word(UPPER, 16, 16)),
    _form("gh{}_{}", _one_of(*"oprsu"), _word(LETTERS, 36)),
    _form("github_pat_{}", _word(LETTERS + "_", 22)),
    _form(
        "gl{}-{}",
        _one_of("pat", "dt", "rt", "ptt", "cbt", "oas", "soat", "ft", "imt", "agent"),
        _word(WORD, 20),
    ),
    _form("AIza{}", _word(WORD, 35, 35)),
    _form("GOCSPX-{}", _word(WORD, 20)),
    _form("xox{}-{}", _one_of(*"abeoprs"), _word(LETTERS + "-", 14)),
    _form("xapp-{}-{}", _one_of(*DIGITS), _word(LETTERS + "-", 12)),
    _form("lsv2_{}_{}", _one_of("pt", "sk"), _word(LETTERS + "_", 32)),
    _form("hf_{}", _word(LETTERS, 30)),
    _form("npm_{}", _word(LETTERS, 36, 36)),
    _form("pypi-{}", _word(WORD, 50)),
    _form("dapi{}", _word(HEX, 32, 32)),
    _form("do{}_v1_{}", _one_of(*"opr"), _word(HEX, 64, 64)),
    _form("shp{}_{}", _one_of("at", "ca", "pa", "ss"), _word(HEX, 32, 32)),
    _form(
        "{}7{}", _one_of("gsk_", "xai-", "r8_", "pplx-", "fw_", "tvly-", "pcsk_", "nvapi-"), _word(WORD, 19)
    ),
    _form(
        "{}{}7",
        _one_of("lin_api_", "ntn_", "figd_", "glsa_", "glc_", "sbp_", "NRAK-", "PMAK-", "sq0atp-", "sq0csp-"),
        _word(WORD, 19),
    ),
    _form("key-{}", _word(HEX, 32, 32)),
    _form("SK{}", _word(HEX, 32, 32)),
    _form("AGE-SECRET-KEY-1{}", _word(UPPER, 58, 58)),
    _form("whsec_{}", _word(LETTERS + "+/=", 16)),
    _form("ya29.{}", _word(WORD, 20)),
    _form("SG.{}.{}", _word(WORD, 19), _word(WORD, 16)),
    _form("{}:AA{}", _word(DIGITS, 8, 10), _word(WORD, 33, 33)),
    _form("hv{}.{}", _one_of(*"sbr"), _word(WORD, 20)),
    _form("{}8Q~{}", _word(WORD + "~.", 3, 3), _word(WORD + "~.", 31, 34)),
    _form("eyJ{}.{}.{}", _word(WORD, 16), _word(WORD, 8), _word(WORD, 8)),
]
GAP = st.text(" \t\r\n\u00a0", max_size=3)
NAME = st.sampled_from(
    ["passphrase", "password", "passwd", "pwd", "credential", "credentials", "secret", "token", "api_key"]
) | st.sampled_from(
    ["api-key", "apikey", "accessKey", "ACCOUNT_KEY", "private-key", "Client_Secret", "secret_access_key"]
)
VALUE = st.text(LETTERS + "!#@$%^*+?=/_-.é²\u4e2d ", min_size=4, max_size=30)
NAMED = [
    _form('{}"{}:{}"{}"', NAME, GAP, GAP, VALUE),
    _form(r"{}\"{}:{}\"{}\"", NAME, GAP, GAP, VALUE),
    _form("{}'{}{}{}'{}'", NAME, GAP, _one_of("=>", ":=", "=", ":"), GAP, VALUE),
    _form("{}{}{}{}{}", NAME, GAP, _one_of("=>", ":=", "=", ":"), GAP, VALUE),
    _form("{} {}is {}{}", NAME, GAP, GAP, VALUE),
]
OTHER = [
    _form(
        "{}{}{} {}7",
        _one_of("Authorization: Bearer", 'authorization" : "Basic', "AUTHORIZATION='token", "authorization:"),
        GAP,
        GAP,
        _word(LETTERS + "+/_.=~-", 12),
    ),
    _form("{} {}{}7", _one_of("bearer", "Bearer", "BEARER"), GAP, _word(LETTERS + "+/_.=~-", 12)),
    _form(
        "-----BEGIN {}PRIVATE KEY{}-----{}",
        _one_of("", "RSA ", "EC "),
        _one_of("", " BLOCK"),
        _word(LETTERS, 9),
    ),
    _form("postgres://{}:{}@db", _word(LETTERS + "é", 0), _word(LETTERS + "!é²:", 3)),
    st.sampled_from(
        [
            "4111 1111 1111 1111",
            "5555-5555-5555-4444",
            "378282246310005",
            "3782 822463 10005",
            "4222222222222",
        ]
    ),
]
# What may stand right before and after: escapes of all kinds, letters, digits, an end.
EDGE = st.text(' "\\\n\t\b\x00\x1fnu0aZ9_-.,:=/é\u00a0\u4e2d😀', max_size=4)


def _embedded(text, depth, *, is_ascii):
    """The bytes of a row with the text in it, as JSON in JSON to a depth."""
    for _ in range(depth):
        text = json.dumps({"a": [text]}, ensure_ascii=is_ascii)
    return text


@pytest.mark.parametrize("kind", [ISSUED, NAMED, OTHER], ids=["issued", "named", "other"])
def test_what_find_secrets_finds_is_never_overlooked(kind):
    @given(st.one_of(kind), EDGE, EDGE, st.integers(0, 2), st.booleans())
    @settings(max_examples=300, deadline=None)
    def check(secret, before, after, depth, is_ascii):
        text = _embedded(before + secret + after, depth, is_ascii=is_ascii)
        if find_secrets(text):
            assert may_hold_secrets(orjson.dumps({"content": text}))
            assert may_hold_secrets(json.dumps({"content": text}).encode())
            assert may_hold_secrets(json.dumps([text], ensure_ascii=False).encode())

    check()


@pytest.mark.parametrize("number", range(len(ISSUED)))
def test_each_issued_form_is_found_on_its_own(number):
    @given(ISSUED[number])
    @settings(max_examples=10, deadline=None)
    def check(secret):
        assert [it.text for it in find_secrets(f"use {secret} now")] == [secret] or not secret[-1].isalnum()
        assert may_hold_secrets(orjson.dumps([secret]))

    check()


@given(st.text(max_size=200), st.text(max_size=200))
@example("key", "")
def test_whatever_the_texts_a_part_without_a_mark_has_no_secret(left, right):
    texts = [it.encode(errors="replace").decode() for it in (left, right)]
    if not may_hold_secrets(orjson.dumps(texts)):
        assert not any(map(find_secrets, texts))


ORDINARY = [
    "The key points: pass on what matters, 30 tokens or fewer. The password is required.",
    '{"next_page_token": null, "max_tokens": 4096, "primary_key": "id", "token": {"type": "string"}}',
    "call_9f8aB3kLmN0pQrStUvWxYz01 01a20315-ae54-739e-9509-a86537ff24df create_return_label_for_order",
    "See https://example.com/a_long_path/of-some-page and write to ann@example.com. It costs 249.99 EUR.",
    "created_at 2026-03-04T11:48:02.194726+00:00, 1700000000000 ms, order 4111 1111 1111 1112",
    "Bearer of good news; authorization is pending; secretary; credentials: see the manual",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_an_ordinary_text_needs_no_closer_look(text):
    assert not may_hold_secrets(orjson.dumps({"role": "user", "content": text}))
    assert not may_hold_secrets(orjson.dumps({"content": json.dumps({"text": text})}))


def test_no_recorded_run_needs_a_closer_look():
    rows = []
    for path in sorted(DATA.glob("*.json")):
        read = [read_run(run) for run in json.loads(path.read_bytes()).get("runs", [])]
        rows += [
            {"messages": [*session.messages, session.answer], "tools": session.tools}
            for session in read
            if isinstance(session, RecordedSession)
        ]
    assert len(rows) > 20
    assert sum(may_hold_secrets(orjson.dumps(row)) for row in rows) == 0


@pytest.mark.parametrize(
    "unit",
    ["sk-", "a@", "://", "eyJ.", "1234 ", "password=", "password ", "token is ", "bearer ", "key\\n", "a~"],
)
def test_a_long_text_of_one_kind_takes_no_more_than_its_length(unit):
    row = unit.encode() * (200_000 // len(unit))
    assert may_hold_secrets(row) in {True, False}
