"""Random LoRA adapters for the tiny base: GGUF files that llama.cpp loads, each with answers of its own."""

from pathlib import Path

import gguf
import numpy as np

from tests.tiny_base import HIDDEN, NUM_LAYERS

RANK = 4


def write_random_adapter(path: Path, *, seed: int) -> Path:
    """Writes an adapter that turns the tiny base's answers into others, and returns the path."""
    random = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(RANK))
    for layer in range(NUM_LAYERS):
        for name, shape in (("lora_a", (RANK, HIDDEN)), ("lora_b", (HIDDEN, RANK))):
            values = random.standard_normal(shape, dtype=np.float32)
            writer.add_tensor(f"blk.{layer}.attn_q.weight.{name}", values)
            writer.add_tensor(f"blk.{layer}.attn_output.weight.{name}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
