"""A llama model in a GGUF file, as the configuration and weights that Hugging Face's llama expects.

llama.cpp keeps the rows of the query and key projections in another order, because it rotates neighbouring
rows where Hugging Face rotates halves. `to_llama_cpp_order` and its inverse change between the two; the rest
is renaming.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize

from finetune_server.gguf_header import GgufHeader, TensorPlace
from finetune_server.training.errors import UnsupportedBaseError

Array = npt.NDArray[np.float32]

HF_TO_GGUF_MODULES: Final[Mapping[str, str]] = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
"""Names of a layer's modules."""

_INSTEAD: Final = "Name the model's Hugging Face directory instead."
_GGUF_TO_HF: Final = {gguf: hf for hf, gguf in HF_TO_GGUF_MODULES.items()}
_OUTER: Final = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_LAYER: Final = re.compile(r"blk\.(\d+)\.([a-z_]+)\.weight")
_NUMPY_TYPES: Final[Mapping[int, type]] = {
    GGMLQuantizationType.F32: np.float32,
    GGMLQuantizationType.F16: np.float16,
}


def llama_config(header: GgufHeader) -> dict[str, Any]:
    """The `config.json` of the model."""
    metadata = header.metadata
    value = {key.removeprefix("llama."): metadata[key] for key in metadata if key.startswith("llama.")}
    num_heads = value["attention.head_count"]
    if "rope.scaling.type" in value and value["rope.scaling.type"] != "none":
        msg = f"The GGUF file scales its rotary embedding, which is not reproduced here. {_INSTEAD}"
        raise UnsupportedBaseError(msg)
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "bfloat16",
        "vocab_size": len(metadata["tokenizer.ggml.tokens"]),
        "hidden_size": value["embedding_length"],
        "intermediate_size": value["feed_forward_length"],
        "num_hidden_layers": value["block_count"],
        "num_attention_heads": num_heads,
        "num_key_value_heads": value.get("attention.head_count_kv", num_heads),
        "head_dim": value.get("attention.key_length", value["embedding_length"] // num_heads),
        "max_position_embeddings": value["context_length"],
        "rms_norm_eps": value["attention.layer_norm_rms_epsilon"],
        "rope_parameters": {"rope_type": "default", "rope_theta": value.get("rope.freq_base", 10000.0)},
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": all(tensor.name != "output.weight" for tensor in header.tensors),
        "bos_token_id": metadata.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": metadata.get("tokenizer.ggml.eos_token_id"),
        "pad_token_id": metadata.get("tokenizer.ggml.padding_token_id"),
    }


def llama_weights(path: Path, header: GgufHeader) -> Iterator[tuple[str, Array]]:
    """Each tensor by its Hugging Face name, dequantized, rows in Hugging Face's order.

    Raises:
        UnsupportedBaseError: A tensor has no place in a llama model, or the file is cut off.
    """
    num_heads = header.metadata["llama.attention.head_count"]
    num_key_heads = header.metadata.get("llama.attention.head_count_kv", num_heads)
    heads = {"attn_q": num_heads, "attn_k": num_key_heads}
    data = np.memmap(path, mode="r", dtype=np.uint8)
    for tensor in header.tensors:
        values = _read(data, tensor)
        if tensor.name in _OUTER:
            yield _OUTER[tensor.name], values
            continue
        match = _LAYER.fullmatch(tensor.name)
        if match is None or match[2] not in _GGUF_TO_HF:
            msg = f"The GGUF file has a tensor {tensor.name}, which a plain llama model does not. {_INSTEAD}"
            raise UnsupportedBaseError(msg)
        if match[2] in heads:
            values = from_llama_cpp_order(values, heads[match[2]])
        yield f"model.layers.{match[1]}.{_GGUF_TO_HF[match[2]]}.weight", values


def from_llama_cpp_order(rows: Array, num_heads: int) -> Array:
    """The rows of a query or key projection, from llama.cpp's order to Hugging Face's."""
    return rows.reshape(num_heads, -1, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def to_llama_cpp_order(rows: Array, num_heads: int) -> Array:
    """The rows of a query or key projection, from Hugging Face's order to llama.cpp's."""
    return rows.reshape(num_heads, 2, -1, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def _read(data: npt.NDArray[np.uint8], tensor: TensorPlace) -> Array:
    quantization = GGMLQuantizationType(tensor.quantization)
    block, block_bytes = GGML_QUANT_SIZES[quantization]
    *outer, width = tensor.shape
    row_bytes = width // block * block_bytes
    end = tensor.offset + int(np.prod(outer, dtype=np.int64)) * row_bytes
    if end > len(data):
        msg = f"The GGUF file is cut off: tensor {tensor.name} ends behind the end of the file. Get it again."
        raise UnsupportedBaseError(msg)
    raw = data[tensor.offset : end]
    if quantization in _NUMPY_TYPES:
        return raw.view(_NUMPY_TYPES[quantization]).reshape(tensor.shape).astype(np.float32)
    values: Array = dequantize(raw.reshape(*outer, row_bytes), quantization).reshape(tensor.shape)
    return values
