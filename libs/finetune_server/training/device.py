"""What this machine computes with: its device, its number type, its threads."""

from dataclasses import dataclass

import torch

from finetune_server.cpus import num_cpus


@dataclass(frozen=True, slots=True)
class Device:
    """Where and in which numbers to train."""

    is_cuda: bool
    dtype: torch.dtype

    @property
    def tokens_at_once(self) -> int:
        """Tokens to compute at once: beyond this a CPU gets no faster, only its memory fuller."""
        return 8192 if self.is_cuda else 1024

    def describe(self) -> str:
        """In words: `CPU, 2 threads, float32`."""
        where = "GPU" if self.is_cuda else f"CPU, {torch.get_num_threads()} threads"
        return f"{where}, {str(self.dtype).removeprefix('torch.')}"


def choose_device() -> Device:
    """The fastest device here, set up for training.

    A CPU without instructions for bfloat16 multiplies it an order of magnitude slower than float32.
    """
    torch.set_float32_matmul_precision("medium")
    if torch.cuda.is_available():
        return Device(True, torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32)  # noqa: FBT003 - the field is named just above
    torch.set_num_threads(num_cpus())
    able = torch.cpu.get_capabilities()
    has_bfloat16 = bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return Device(False, torch.bfloat16 if has_bfloat16 else torch.float32)  # noqa: FBT003 - as above
