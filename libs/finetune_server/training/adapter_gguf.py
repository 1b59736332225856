"""A PEFT LoRA adapter as the GGUF file that llama.cpp loads beside its base."""

import json
import re
from pathlib import Path
from typing import Final

from gguf import GGUFType, GGUFWriter
from gguf.constants import Keys
from safetensors.torch import load_file

from finetune_server.training.llama_gguf import HF_TO_GGUF_MODULES, Array, to_llama_cpp_order

_PEFT_NAME: Final = re.compile(r"base_model\.model\.model\.layers\.(\d+)\.([a-z_.]+)\.lora_([AB])\.weight")


def write_adapter_gguf(adapter_dir: Path, hugging_face_dir: Path, target: Path) -> None:
    """Writes the adapter for a llama base, in float32, whole or not at all.

    The product of the two matrices must fit llama.cpp's order of query and key rows, so the rows of their B
    are reordered as the base's are.

    Args:
        adapter_dir: What PEFT saved.
        hugging_face_dir: The base it was trained on.
        target: The file to write.
    """
    adapter_config = json.loads((adapter_dir / "adapter_config.json").read_bytes())
    config = json.loads((hugging_face_dir / "config.json").read_bytes())
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    temporary = target.with_name(f"{target.name}.new")
    writer = GGUFWriter(temporary, "llama")
    writer.add_type(GGUFType.ADAPTER)
    writer.add_string(Keys.Adapter.TYPE, "lora")
    writer.add_float32(Keys.Adapter.LORA_ALPHA, adapter_config["lora_alpha"])
    for name, values in sorted(load_file(adapter_dir / "adapter_model.safetensors").items()):
        # numpy has no bfloat16, which an adapter may be in.
        writer.add_tensor(*_gguf_tensor(name, values.float().numpy(), heads))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    temporary.replace(target)


def _gguf_tensor(name: str, values: Array, heads: dict[str, int]) -> tuple[str, Array]:
    match = _PEFT_NAME.fullmatch(name)
    if match is None or match[2] not in HF_TO_GGUF_MODULES:
        msg = f"the adapter has a tensor {name}, which has no name in a GGUF file"
        raise ValueError(msg)
    layer, matrix, module = match[1], match[3].lower(), HF_TO_GGUF_MODULES[match[2]]
    is_reordered = matrix == "b" and module in heads
    rows = to_llama_cpp_order(values, heads[module]) if is_reordered else values
    return f"blk.{layer}.{module}.weight.lora_{matrix}", rows
