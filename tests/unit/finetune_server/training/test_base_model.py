"""The converted base and its cache."""

import json

import pytest
import torch
from safetensors.torch import load_file

from finetune_server.bases import resolve_base
from finetune_server.training import base_model
from finetune_server.training.base_model import hugging_face_dir


def test_the_directory_is_named_after_the_hash(tiny_base, tiny_dir):
    assert tiny_dir.name == tiny_base.sha256[:16]
    assert sorted(path.name for path in tiny_dir.iterdir()) == [
        "base.json",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_weights_are_bfloat16_and_whole(tiny_dir):
    weights = load_file(tiny_dir / "model.safetensors")

    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    assert len(weights) == 2 * 9 + 2
    assert weights["model.layers.1.self_attn.k_proj.weight"].shape == (32, 64)


def test_a_base_is_converted_once(tiny_base, tiny_dir):
    before = (tiny_dir / "model.safetensors").stat().st_mtime_ns

    assert hugging_face_dir(tiny_base, tiny_dir.parent) == tiny_dir
    assert (tiny_dir / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "base.json"])
def test_damage_is_seen_and_repaired(tiny_base, tmp_path, name):
    folder = hugging_face_dir(tiny_base, tmp_path)
    whole = (folder / name).read_bytes()
    damaged = bytearray(whole)
    damaged[-9] ^= 1
    (folder / name).write_bytes(damaged)

    hugging_face_dir(tiny_base, tmp_path)

    assert (folder / name).read_bytes() == whole


def test_what_a_killed_process_left_is_no_hindrance(tiny_base, tmp_path):
    partial = tmp_path / f"{tiny_base.sha256[:16]}.partial"
    partial.mkdir()
    (partial / "model.safetensors").write_bytes(b"half")

    folder = hugging_face_dir(tiny_base, tmp_path)

    assert json.loads((folder / "base.json").read_bytes())["sha256"] == tiny_base.sha256
    assert not partial.exists()


def test_a_directory_is_used_as_it_is(tiny_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(base_model, "_convert", None)

    assert hugging_face_dir(resolve_base(str(tiny_dir)), tmp_path) == tiny_dir
    assert list(tmp_path.iterdir()) == []
