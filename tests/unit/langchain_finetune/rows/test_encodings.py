import hashlib

import pytest
import tiktoken

from langchain_finetune.base_names import base_of, is_tuned, without_date
from langchain_finetune.rows import tiktoken_counter

BASE = "gpt-4.1-mini-2025-04-14"


def test_names_of_models_are_taken_apart():
    assert base_of("ft:gpt-4.1-mini-2025-04-14:acme:x:1:ckpt-step-9") == BASE
    assert base_of("gpt-4.1-2025-04-14.ft-0a1b2c") == "gpt-4.1-2025-04-14"
    assert base_of(BASE) == BASE
    assert without_date(BASE) == "gpt-4.1-mini"
    assert [is_tuned(name) for name in ("ft:a:b", "gpt-4.1.ft-0a1b", BASE)] == [True, True, False]


@pytest.mark.parametrize(
    ("base", "encoding"),
    [
        ("ft:gpt-4.1-mini-2025-04-14:acme::1", "o200k_base"),  # tiktoken itself takes it for a gpt-4
        ("ft:o4-mini-2025-04-16:acme::1", "o200k_base"),
        ("gpt-4o-2024-08-06", "o200k_base"),
        ("ft:gpt-3.5-turbo-0125:acme::1", "cl100k_base"),
    ],
)
def test_a_base_has_the_right_encoding(bytes_as_tokens, monkeypatch, base, encoding):
    asked = []
    real = tiktoken.get_encoding
    monkeypatch.setattr(tiktoken, "get_encoding", lambda name: asked.append(name) or real(name))
    assert tiktoken_counter(base)("five!") == 5
    assert asked == [encoding]


def test_text_that_looks_like_a_special_token_is_counted_as_text(bytes_as_tokens):
    assert tiktoken_counter(BASE)("<|endoftext|>") == 13


def test_a_base_that_is_not_openais_has_no_encoding(bytes_as_tokens):
    assert tiktoken_counter("smollm2-135m-instruct") is None


def test_nothing_is_downloaded_for_a_count(no_encodings):
    # A download would fail here: the tests have no network.
    assert tiktoken_counter(BASE) is None


def test_a_damaged_file_in_tiktokens_cache_is_no_reason_to_fail(no_encodings, tmp_path, monkeypatch):
    url = "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken"
    (tmp_path / hashlib.sha1(url.encode()).hexdigest()).write_bytes(b"damaged")
    monkeypatch.setattr("tiktoken.load.read_file", _raise_os_error)
    assert tiktoken_counter(BASE) is None


def _raise_os_error(_):
    raise OSError
