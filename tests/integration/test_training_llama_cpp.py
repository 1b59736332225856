"""What is trained is what llama.cpp serves: the same tokens, the same logits."""

import json
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
import xllamacpp
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from finetune_server.bases import resolve_base
from finetune_server.training.adapter_gguf import write_adapter_gguf
from finetune_server.training.base_model import hugging_face_dir
from finetune_server.training.examples import load_tokenizer
from finetune_server.training.supervised import LORA
from tests.tiny_base import write_tiny_base

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:transformers")

PROMPTS = ("What's 56/7?", "def f(x):\n    return x", "The capital of France is")
EDGE_STRINGS = (
    "What's 56/7?",
    "  56",
    "\n\n56",
    "a  1 b\t\t2\n 3",
    "12345.678e-9",
    "I'll we've it's 'tis DON'T",
    "   leading and trailing   ",
    "\r\n\r\n \n\t x",
    "naïve café — “quotes” … 東京 😀👩‍👩‍👧 ١٢٣ Ⅻ ½",
    '{"num1": 56, "num2": 7.5}',
    "<tool_call>\n{}\n</tool_call>",
    "x" * 200,
    "",
    " ",
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    base = resolve_base(str(write_tiny_base(folder / "tiny.gguf")))
    return base.gguf_path, hugging_face_dir(base, folder / "bases")


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory):
    base = resolve_base("smollm2-135m-instruct")
    return base.gguf_path, hugging_face_dir(base, tmp_path_factory.mktemp("bases"))


def start_llama_cpp(gguf_path: Path, adapter: Path | None = None) -> xllamacpp.Server:
    params = xllamacpp.CommonParams()
    params.model.path = str(gguf_path)
    params.n_ctx = 512
    params.n_parallel = 1
    params.warmup = False
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.cpuparams.n_threads = 2
    if adapter is not None:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(adapter), 1.0)]
    return xllamacpp.Server(params)


def logprobs_of_llama_cpp(server: xllamacpp.Server, tokens: list[int]) -> dict[int, float]:
    """The ten likeliest next tokens."""
    answer = server.handle_completions({"prompt": tokens, "max_tokens": 1, "logprobs": 10, "temperature": 0})
    (first,) = answer["choices"][0]["logprobs"]["content"]
    return {token["id"]: token["logprob"] for token in first["top_logprobs"]}


def model_with_random_adapter(base_dir: Path, folder: Path, strength: float):
    """A model with an adapter that is strong enough to be seen, and the adapter as a GGUF file."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(base_dir, dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **LORA))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=strength)
    model.save_pretrained(folder, save_embedding_layers=False)
    write_adapter_gguf(folder, base_dir, folder / "adapter.gguf")
    return model.eval(), folder / "adapter.gguf"


@torch.no_grad()
def logprobs_of_torch(model, tokens: list[int]) -> np.ndarray:
    return torch.log_softmax(model(input_ids=torch.tensor([tokens])).logits[0, -1], dim=-1).numpy()


def largest_difference(model, server, prompts: list[list[int]]) -> float:
    return max(
        abs(logprobs_of_torch(model, tokens)[token] - logprob)
        for tokens in prompts
        for token, logprob in logprobs_of_llama_cpp(server, tokens).items()
    )


def test_tokens_are_those_of_llama_cpp(tiny):
    gguf_path, base_dir = tiny
    server = start_llama_cpp(gguf_path)
    tokenizer = load_tokenizer(base_dir)

    for text in EDGE_STRINGS:
        body = {"content": text, "add_special": False, "parse_special": False}
        request = urllib.request.Request(
            f"{server.listening_address}/tokenize",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            expected = json.load(answer)["tokens"]
        assert tokenizer.encode(text, add_special_tokens=False).ids == expected, text


def test_an_adapter_gives_the_same_logits_in_llama_cpp(tiny, tmp_path):
    gguf_path, base_dir = tiny
    tokenizer = load_tokenizer(base_dir)
    prompts = [tokenizer.encode(text).ids for text in PROMPTS]
    model, adapter = model_with_random_adapter(base_dir, tmp_path, strength=0.1)

    with_adapter = largest_difference(model, start_llama_cpp(gguf_path, adapter), prompts)
    without = largest_difference(model, start_llama_cpp(gguf_path), prompts)

    assert with_adapter < 5e-3
    assert without > 0.1


def test_on_a_quantized_base_the_logits_are_equal_within_quantization(smollm2, tmp_path):
    gguf_path, base_dir = smollm2
    tokenizer = load_tokenizer(base_dir)
    prompts = [tokenizer.encode(text).ids for text in PROMPTS]
    model, adapter = model_with_random_adapter(base_dir, tmp_path, strength=0.1)

    with_adapter = largest_difference(model, start_llama_cpp(gguf_path, adapter), prompts)
    without = largest_difference(model, start_llama_cpp(gguf_path), prompts)

    # Without any adapter the two differ by up to 0.24: llama.cpp quantizes what flows through the layers too.
    assert with_adapter < 0.5
    assert without > 1
