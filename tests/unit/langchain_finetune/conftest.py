"""OpenAI's encodings, present or absent; nothing is downloaded."""

import pytest
import tiktoken

from langchain_finetune.rows import encodings


@pytest.fixture
def bytes_as_tokens(monkeypatch):
    """Encodings of OpenAI's names in which each byte is a token; nothing is downloaded."""
    encodings._encoding.cache_clear()
    for name in ("o200k_base", "cl100k_base"):
        encoding = tiktoken.Encoding(
            name=name,
            pat_str=r"[\s\S]+",
            mergeable_ranks={bytes([byte]): byte for byte in range(256)},
            special_tokens={},
        )
        monkeypatch.setitem(tiktoken.registry.ENCODINGS, name, encoding)
    yield
    encodings._encoding.cache_clear()


@pytest.fixture
def no_encodings(monkeypatch, tmp_path):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    encodings._encoding.cache_clear()
