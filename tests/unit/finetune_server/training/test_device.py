"""What a machine computes with."""

import pytest
import torch

from finetune_server.cpus import num_cpus
from finetune_server.training.device import Device, choose_device


@pytest.fixture(autouse=True)
def same_settings_afterwards():
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    yield
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(precision)


@pytest.mark.parametrize(
    ("able", "dtype"),
    [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_bfloat16_only_where_the_cpu_multiplies_it(monkeypatch, able, dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    chosen = choose_device()

    assert (chosen.is_cuda, chosen.dtype) == (False, dtype)
    assert torch.get_float32_matmul_precision() == "medium"
    assert torch.get_num_threads() == num_cpus()


@pytest.mark.parametrize(("is_able", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_gpu_is_used_where_there_is_one(monkeypatch, is_able, dtype):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: is_able)

    assert choose_device() == Device(True, dtype)


def test_a_device_is_described():
    assert Device(True, torch.bfloat16).describe() == "GPU, bfloat16"
    assert Device(False, torch.float32).describe() == f"CPU, {torch.get_num_threads()} threads, float32"
