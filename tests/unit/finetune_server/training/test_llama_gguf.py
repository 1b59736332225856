"""The weights and the configuration of a llama GGUF file."""

import dataclasses

import gguf
import numpy as np
import pytest

from finetune_server.gguf_header import TensorPlace, read_gguf_header
from finetune_server.training.errors import UnsupportedBaseError
from finetune_server.training.llama_gguf import (
    from_llama_cpp_order,
    llama_config,
    llama_weights,
    to_llama_cpp_order,
)
from tests.tiny_base import wheel_gguf


def test_the_two_orders_of_rows_undo_each_other():
    rows = np.random.default_rng(0).standard_normal((24, 5), dtype=np.float32)

    assert np.array_equal(from_llama_cpp_order(to_llama_cpp_order(rows, 3), 3), rows)
    assert not np.array_equal(to_llama_cpp_order(rows, 3), rows)


def test_halves_of_a_head_become_neighbours():
    head = np.arange(6, dtype=np.float32).reshape(6, 1)

    assert to_llama_cpp_order(head, 1)[:, 0].tolist() == [0, 3, 1, 4, 2, 5]


def test_the_configuration_is_that_of_the_file():
    config = llama_config(read_gguf_header(wheel_gguf()))

    assert config["hidden_size"] == 576
    assert config["num_hidden_layers"] == 30
    assert (config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]) == (9, 3, 64)
    assert config["rope_parameters"] == {"rope_type": "default", "rope_theta": 100000.0}
    assert config["vocab_size"] == 49152
    assert config["tie_word_embeddings"] is True
    assert (config["bos_token_id"], config["eos_token_id"], config["pad_token_id"]) == (1, 2, 2)


def test_a_head_of_its_own_is_not_tied(tiny_gguf):
    header = read_gguf_header(tiny_gguf)
    head = TensorPlace("output.weight", (49152, 64), 0, 0)

    config = llama_config(dataclasses.replace(header, tensors=(*header.tensors, head)))

    assert config["tie_word_embeddings"] is False


def test_scaled_rotary_embeddings_are_refused(tiny_gguf):
    header = read_gguf_header(tiny_gguf)
    scaled = dataclasses.replace(header, metadata={**header.metadata, "llama.rope.scaling.type": "yarn"})

    with pytest.raises(UnsupportedBaseError, match="rotary"):
        llama_config(scaled)


def test_quantized_weights_are_those_of_ggufs_own_reader():
    path = wheel_gguf()
    wanted = "model.layers.0.mlp.up_proj.weight"
    values = next(values for name, values in llama_weights(path, read_gguf_header(path)) if name == wanted)

    # Q4_1: 32 numbers in 20 bytes, a scale, a minimum and 16 bytes of two numbers each.
    place = next(t for t in read_gguf_header(path).tensors if t.name == "blk.0.ffn_up.weight")
    with path.open("rb") as file:
        file.seek(place.offset)
        block = file.read(20)
    scale, minimum = np.frombuffer(block[:4], np.float16).astype(np.float32)
    nibbles = np.frombuffer(block[4:], np.uint8)
    expected = np.concatenate([nibbles & 15, nibbles >> 4]) * scale + minimum
    assert place.quantization == gguf.GGMLQuantizationType.Q4_1
    assert values.shape == (1536, 576)
    assert np.allclose(values[0, :32], expected, atol=1e-7)


def test_a_tensor_that_llama_has_not_is_refused(tiny_gguf):
    header = read_gguf_header(tiny_gguf)
    bias = TensorPlace("blk.0.attn_q.bias", (64,), 0, header.tensors[0].offset)

    with pytest.raises(UnsupportedBaseError, match=r"blk\.0\.attn_q\.bias"):
        list(llama_weights(tiny_gguf, dataclasses.replace(header, tensors=(bias,))))


def test_a_file_that_is_cut_off_is_refused(tiny_gguf, tmp_path):
    path = tmp_path / "cut.gguf"
    path.write_bytes(tiny_gguf.read_bytes()[:-1])

    with pytest.raises(UnsupportedBaseError, match="cut off"):
        list(llama_weights(path, read_gguf_header(path)))
