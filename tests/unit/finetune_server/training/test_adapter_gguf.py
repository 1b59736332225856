"""The adapter as a GGUF file. That llama.cpp computes the same with it is tested in integration."""

import json

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from finetune_server.training.adapter_gguf import write_adapter_gguf
from finetune_server.training.llama_gguf import to_llama_cpp_order

PREFIX = "base_model.model.model.layers.1"


@pytest.fixture
def adapter_dir(tmp_path):
    path = tmp_path / "adapter"
    path.mkdir()
    (path / "adapter_config.json").write_text(json.dumps({"lora_alpha": 32, "r": 2}))
    return path


def save(adapter_dir, tensors: dict[str, torch.Tensor]) -> None:
    save_file(tensors, adapter_dir / "adapter_model.safetensors")


def numbers(*shape: int) -> torch.Tensor:
    return torch.arange(float(np.prod(shape))).reshape(shape).to(torch.bfloat16)


def test_names_shapes_and_the_order_of_rows_are_llama_cpps(adapter_dir, tiny_dir, tmp_path):
    tensors = {
        f"{PREFIX}.self_attn.q_proj.lora_A.weight": numbers(2, 64),
        f"{PREFIX}.self_attn.q_proj.lora_B.weight": numbers(64, 2),
        f"{PREFIX}.self_attn.k_proj.lora_B.weight": numbers(32, 2),
        f"{PREFIX}.self_attn.v_proj.lora_B.weight": numbers(32, 2),
        f"{PREFIX}.mlp.down_proj.lora_A.weight": numbers(2, 128),
    }
    save(adapter_dir, tensors)

    write_adapter_gguf(adapter_dir, tiny_dir, tmp_path / "adapter.gguf")

    reader = gguf.GGUFReader(tmp_path / "adapter.gguf")
    fields = {name: reader.fields[name].contents() for name in reader.fields}
    assert fields["general.type"] == "adapter"
    assert fields["general.architecture"] == "llama"
    assert fields["adapter.type"] == "lora"
    assert fields["adapter.lora.alpha"] == 32
    written = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
    plain = {name: tensor.float().numpy() for name, tensor in tensors.items()}
    expected = {
        "blk.1.attn_q.weight.lora_a": plain[f"{PREFIX}.self_attn.q_proj.lora_A.weight"],
        "blk.1.attn_q.weight.lora_b": to_llama_cpp_order(
            plain[f"{PREFIX}.self_attn.q_proj.lora_B.weight"], 4
        ),
        "blk.1.attn_k.weight.lora_b": to_llama_cpp_order(
            plain[f"{PREFIX}.self_attn.k_proj.lora_B.weight"], 2
        ),
        "blk.1.attn_v.weight.lora_b": plain[f"{PREFIX}.self_attn.v_proj.lora_B.weight"],
        "blk.1.ffn_down.weight.lora_a": plain[f"{PREFIX}.mlp.down_proj.lora_A.weight"],
    }
    assert written.keys() == expected.keys()
    assert all(np.array_equal(written[name], expected[name]) for name in expected)


def test_a_tensor_without_a_name_in_gguf_is_an_error(adapter_dir, tiny_dir, tmp_path):
    save(adapter_dir, {"base_model.model.lm_head.lora_A.weight": numbers(2, 64)})

    with pytest.raises(ValueError, match="lm_head"):
        write_adapter_gguf(adapter_dir, tiny_dir, tmp_path / "adapter.gguf")

    assert not (tmp_path / "adapter.gguf").exists()
