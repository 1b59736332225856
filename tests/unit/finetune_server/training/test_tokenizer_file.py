"""The tokenizer that is written for a GGUF file. Its equality with llama.cpp is an integration test."""

import pytest
from tokenizers import Tokenizer

from finetune_server.gguf_header import read_gguf_header
from finetune_server.training.errors import UnsupportedBaseError
from finetune_server.training.tokenizer_file import tokenizer_config_json, tokenizer_json


@pytest.fixture(scope="module")
def metadata(tiny_gguf):
    return dict(read_gguf_header(tiny_gguf).metadata)


def test_each_digit_is_a_token_of_its_own(tokenizer):
    assert tokenizer.encode("  56\n\n7", add_special_tokens=False).tokens == ["ĠĠ", "5", "6", "ĊĊ", "7"]


def test_control_tokens_are_single_tokens(tiny_dir):
    tokenizer = Tokenizer.from_file(str(tiny_dir / "tokenizer.json"))

    assert tokenizer.encode("<|im_start|>user<|im_end|>").tokens == ["<|im_start|>", "user", "<|im_end|>"]


@pytest.mark.parametrize(("key", "value"), [("model", "llama"), ("pre", "qwen2"), ("pre", None)])
def test_a_tokenizer_that_is_not_known_exactly_is_refused(metadata, key, value):
    with pytest.raises(UnsupportedBaseError, match="cannot be reproduced exactly") as caught:
        tokenizer_json(metadata | {f"tokenizer.ggml.{key}": value})

    assert caught.value.code == "unsupported_base"
    assert caught.value.param == "model"


def test_the_configuration_names_the_tokens_that_end_and_pad(metadata):
    assert tokenizer_config_json(metadata, 2048) == {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 2048,
        "clean_up_tokenization_spaces": False,
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|im_end|>",
    }
