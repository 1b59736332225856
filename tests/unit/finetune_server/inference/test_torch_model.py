"""What of a base model's directory is read, and what never is."""

import json

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM

from finetune_server.inference.engine_config import EngineConfig
from finetune_server.inference.torch_model import TorchModel


@pytest.fixture
def base(tmp_path):
    """A model of a few numbers whose weights are still to be written."""
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = LlamaConfig(**shape, num_key_value_heads=1, vocab_size=2, bos_token_id=0, eos_token_id=1)
    config.save_pretrained(tmp_path)
    Tokenizer(WordLevel({"a": 0, "b": 1}, unk_token="a")).save(str(tmp_path / "tokenizer.json"))
    tmp_path.joinpath("other.safetensors").write_bytes(b"")
    return LlamaForCausalLM(config), tmp_path


def load(path):
    config = EngineConfig(
        engine="transformers",
        model_path=path,
        adapters=(),
        context_length=8,
        num_slots=1,
        num_threads=1,
        key="k",
    )
    return TorchModel(config)


def test_pickled_weights_are_not_read(base):
    model, path = base
    torch.save(model.state_dict(), path / "pytorch_model.bin")
    with pytest.raises(OSError, match="safetensors"):
        load(path)


def test_code_that_comes_with_a_base_is_not_run(base):
    _, path = base
    told = json.loads((path / "config.json").read_text())
    told |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"}}
    (path / "config.json").write_text(json.dumps(told))
    (path / "evil.py").write_text(f"open({str(path / 'was_here')!r}, 'w')\n")
    with pytest.raises(ValueError, match="trust_remote_code"):
        load(path)
    assert not (path / "was_here").exists()
