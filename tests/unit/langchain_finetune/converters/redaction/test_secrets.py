import json
import random
import string

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_finetune.converters.redaction.secrets import find_secrets, may_hold_secrets

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow+/=\nabc\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "kind", "secret"),
    [
        ("use sk-proj-abc123def456ghi789jkl now", "api_key", "sk-proj-abc123def456ghi789jkl"),
        ("sk-ant-api03-abcdefghijklmnop1234", "api_key", "sk-ant-api03-abcdefghijklmnop1234"),
        ("AKIAIOSFODNN7EXAMPLE", "api_key", "AKIAIOSFODNN7EXAMPLE"),
        (f"ghp_{'a1' * 18}", "api_key", f"ghp_{'a1' * 18}"),
        (f"https://user:ghp_{'a1' * 18}@github.com/x", "api_key", f"ghp_{'a1' * 18}"),
        (f"glpat-{'a1' * 10}", "api_key", f"glpat-{'a1' * 10}"),
        (f"AIza{'aB3_-' * 7}", "api_key", f"AIza{'aB3_-' * 7}"),
        ("xoxb-123456789012-abcdef", "api_key", "xoxb-123456789012-abcdef"),
        (f"lsv2_pt_{'0af' * 11}_0123456789", "api_key", f"lsv2_pt_{'0af' * 11}_0123456789"),
        (f"hf_{'aB' * 17}", "api_key", f"hf_{'aB' * 17}"),
        (f"SG.{'a1' * 11}.{'b2' * 20}", "api_key", f"SG.{'a1' * 11}.{'b2' * 20}"),
        (f"bot 1234567890:AA{'x_-' * 11}", "api_key", f"1234567890:AA{'x_-' * 11}"),
        (f"hvs.{'a1B' * 10}", "api_key", f"hvs.{'a1B' * 10}"),
        (JWT, "token", JWT),
        (KEY, "private_key", KEY),
        ("Authorization: Bearer abcdefghij1234567890", "token", "abcdefghij1234567890"),
        ('{"Authorization": "Basic dXNlcjpwYXNz1234"}', "token", "dXNlcjpwYXNz1234"),
        ("postgres://bob:s3cr3t@db:5432/x", "password", "s3cr3t"),
        ("my password is hunter2.", "password", "hunter2"),
        ("Password=Hunter2!", "password", "Hunter2!"),
        ('{"password": "correcthorse"}', "password", "correcthorse"),
        (r"{\"password\": \"correcthorse\"}", "password", "correcthorse"),
        ("mysql_pwd='letmein'", "password", "letmein"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG", "token", "wJalrXUtnFEMI/K7MDENG"),
        ("api_key: 0123abcd", "api_key", "0123abcd"),
        ("OPENAI API KEY=abcd1234efgh", "api_key", "abcd1234efgh"),
        ("AccountKey=Zm9vYmFy1234567890==", "api_key", "Zm9vYmFy1234567890=="),
        ("card 4111 1111 1111 1111 exp", "card_number", "4111 1111 1111 1111"),
        ("5555-5555-5555-4444", "card_number", "5555-5555-5555-4444"),
        ("378282246310005", "card_number", "378282246310005"),
        ("3782 822463 10005", "card_number", "3782 822463 10005"),
    ],
)
def test_a_secret_is_found_with_its_kind(text, kind, secret):
    assert [(it.kind, it.text) for it in find_secrets(text)] == [(kind, secret)]
    assert may_hold_secrets(orjson.dumps({"messages": [{"content": text}]}))
    (found,) = find_secrets(text)
    assert text[found.start : found.end] == secret


@pytest.mark.parametrize(
    "text",
    [
        "password: required",
        "The password is incorrect",
        "password is required.",
        "Enter your password: ********",
        'api_key = "your-api-key"',
        "password=os.environ['X']",
        "password: ${DB_PASSWORD}",
        '{"token": "string"}',
        "the token is invalid",
        "max_tokens: 4096",
        "tokens: 1234567890",
        "token_type: bearer",
        "secret santa is fun",
        "Secret: the recipe of my grandmother",
        "pwd: /home/user/dir",
        "[PASSWORD_1] and [API_KEY_2]",
        "sk-learn-is-a-library-without-a-number",
        "order 4111111111111112",
        "0000 0000 0000 0000 and 4444444444444444444",
        "1700000000000 3.14159265358979323846",
        "call_0123456789abcdef01234567 3f2504e0-4f89-11d3-9a0c-0305e82c3301",
        "https://example.com/a:b@c is no login",
    ],
)
def test_what_only_looks_like_one_is_left(text):
    assert find_secrets(text) == []


def random_secret(random_source):
    letters, digits = string.ascii_letters + string.digits, string.digits
    pick = lambda alphabet, number: "".join(random_source.choices(alphabet, k=number))  # noqa: E731
    card = "4" + pick(digits, 14)
    odd = sum(sum(divmod(2 * int(it), 10)) for it in card[::-2]) + sum(int(it) for it in card[-2::-2])
    return random_source.choice(
        [
            f"sk-{pick(letters, 40)}7",
            f"sk-ant-api03-{pick(letters, 60)}7",
            f"ghp_{pick(letters, 36)}",
            f"AKIA{pick(string.ascii_uppercase + digits, 16)}",
            f"AIza{pick(letters, 35)}",
            f"xoxb-{pick(digits, 12)}-{pick(letters, 24)}",
            f"lsv2_pt_{pick('0123456789abcdef', 32)}_{pick('0123456789abcdef', 10)}",
            f"hf_{pick(letters, 34)}",
            f"eyJ{pick(letters, 20)}.eyJ{pick(letters, 30)}.{pick(letters, 40)}",
            f"{card}{-odd % 10}",
        ]
    )


@given(st.integers(), st.text(max_size=20), st.text(max_size=20))
def test_an_issued_key_is_found_in_whatever_it_stands(seed, before, after):
    secret = random_secret(random.Random(seed))
    for text in (f"{before} {secret} {after}", json.dumps({"a": f"{before}\n{secret}\t{after}"})):
        assert secret not in "".join(_left(text))
        assert may_hold_secrets(orjson.dumps([text]))


def _left(text):
    end = 0
    for secret in find_secrets(text):
        yield text[end : secret.start]
        end = secret.end
    yield text[end:]


@given(st.text(max_size=300))
def test_whatever_the_text_what_is_found_stands_there_and_does_not_overlap(text):
    end = 0
    for secret in find_secrets(text):
        assert text[secret.start : secret.end] == secret.text
        assert secret.start >= end
        end = secret.end
        assert may_hold_secrets(orjson.dumps([text.encode(errors="replace").decode()]))


@pytest.mark.parametrize("unit", ["sk-", "a@", "eyJ.", "1234 ", "password=", "-----BEGIN PRIVATE KEY", "a:/"])
def test_a_long_text_of_one_kind_takes_no_more_than_its_length(unit):
    assert len(find_secrets(unit * (200_000 // len(unit)))) <= 200_000
