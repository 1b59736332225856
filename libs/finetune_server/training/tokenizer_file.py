"""The tokenizer of a GGUF file, as a `tokenizer.json` that gives the same ids as llama.cpp.

Transformers' own reading of a GGUF file leaves out how the text is cut before the merges: digits then stick
to the whitespace before them, and a model is trained on ids that the engine never produces.
"""

from collections.abc import Mapping
from typing import Any, Final

from finetune_server.training.errors import UnsupportedBaseError

_NORMAL_TYPES: Final = (1, 4)
"""Token types that are text: normal and user defined; the others (unknown, control, unused) are special."""
_USER_DEFINED: Final = 4

_BYTE_LEVEL: Final = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": True,
}
_PRE_TOKENIZERS: Final[Mapping[str, Any]] = {
    "smollm": {
        "type": "Sequence",
        "pretokenizers": [{"type": "Digits", "individual_digits": True}, _BYTE_LEVEL],
    },
}
"""By llama.cpp's name for the way of cutting. Each is tested against llama.cpp itself."""


def tokenizer_json(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The `tokenizer.json` of a GGUF file's metadata.

    Raises:
        UnsupportedBaseError: The kind of tokenizer is not known here.
    """
    kind = metadata.get("tokenizer.ggml.model")
    pre = str(metadata.get("tokenizer.ggml.pre"))
    if kind != "gpt2" or pre not in _PRE_TOKENIZERS:
        msg = (
            f"The GGUF file has a tokenizer of the kind {kind}/{pre}, which cannot be reproduced exactly; "
            f"only gpt2/{', gpt2/'.join(_PRE_TOKENIZERS)} can. Name the model's Hugging Face directory."
        )
        raise UnsupportedBaseError(msg)
    tokens: list[str] = metadata["tokenizer.ggml.tokens"]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added_tokens(tokens, metadata["tokenizer.ggml.token_type"]),
        "normalizer": None,
        "pre_tokenizer": _PRE_TOKENIZERS[pre],
        "post_processor": None,
        "decoder": _BYTE_LEVEL,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": [merge.split(" ", 1) for merge in metadata["tokenizer.ggml.merges"]],
        },
    }


def tokenizer_config_json(metadata: Mapping[str, Any], context_length: int) -> dict[str, Any]:
    """The `tokenizer_config.json` that goes with it, for whoever opens the directory with transformers."""
    tokens: list[str] = metadata["tokenizer.ggml.tokens"]
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context_length,
        "clean_up_tokenization_spaces": False,
    }
    for name, key in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
        number = metadata.get(f"tokenizer.ggml.{key}_token_id")
        if number is not None:
            config[f"{name}_token"] = tokens[number]
    return config


def _added_tokens(tokens: list[str], types: list[int]) -> list[dict[str, Any]]:
    return [
        {
            "id": number,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": kind not in _NORMAL_TYPES,
        }
        for number, (token, kind) in enumerate(zip(tokens, types, strict=True))
        if kind not in _NORMAL_TYPES or kind == _USER_DEFINED
    ]
