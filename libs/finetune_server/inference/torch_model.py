"""A Hugging Face directory and its PEFT adapters, decoded token by token with torch."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer
from peft import PeftModel
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream
from transformers import AutoModelForCausalLM

from finetune_server.inference.engine_config import EngineConfig
from finetune_server.inference.stop_text import StopText
from finetune_server.rendering.render import END_OF_TURN

Event = dict[str, Any]

_MAX_PREFILL = 512
"""Prompt tokens computed at a time; the memory of attention grows with them."""


class TorchModel:
    """One base model with its adapters; it writes one answer at a time."""

    def __init__(self, config: EngineConfig) -> None:
        torch.set_num_threads(config.num_threads)
        torch.set_float32_matmul_precision("medium")
        self._tokenizer = Tokenizer.from_file(str(config.model_path / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        base = AutoModelForCausalLM.from_pretrained(
            config.model_path,
            dtype=_dtype(),
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
        )
        self._vocabulary_size: int = base.config.vocab_size
        self._ends = _end_tokens(base, self._tokenizer)
        self._has_adapters = bool(config.adapters)
        self._model = _with_adapters(base, config.adapters).eval()
        self._grammar_tokenizer = LLTokenizer(
            self._tokenizer.to_str(), n_vocab=self._vocabulary_size, eos_token=min(self._ends)
        )

    def tokenize(self, pieces: Sequence[int | str], *, is_control: bool) -> list[int]:
        """Return the ids of texts; ids among them stay. Only where `is_control` are special tokens read."""
        self._tokenizer.encode_special_tokens = not is_control
        tokens: list[int] = []
        for piece in pieces:
            if isinstance(piece, int):
                tokens.append(piece)
            else:
                tokens += self._tokenizer.encode(piece, add_special_tokens=False).ids
        return tokens

    def answer(self, body: Mapping[str, Any]) -> Generator[Event]:
        """Write one answer, as events of llama.cpp's `/completion`."""
        text = DecodeStream(skip_special_tokens=True)
        stop = StopText(body["stop"])
        stop_type, num_tokens = "", 0
        for token, chances in self._tokens(body):
            num_tokens += 1
            if token in self._ends:
                stop_type = "eos"
                break
            content = stop.feed(text.step(self._tokenizer, token) or "")
            yield {"content": content, "stop": False, "completion_probabilities": chances}
            if stop.found is not None:
                stop_type = "word"
                break
        yield {
            "content": stop.finish(),
            "stop": True,
            "stop_type": stop_type or ("limit" if num_tokens == body["n_predict"] else "eos"),
            "stopping_word": stop.found or "",
            "tokens_predicted": num_tokens,
            "timings": {"cache_n": 0},
        }

    @torch.inference_mode()
    def _tokens(self, body: Mapping[str, Any]) -> Iterator[tuple[int, list[Event]]]:
        """Choose token after token, each with the report of its probability."""
        matcher = LLMatcher(self._grammar_tokenizer, body["grammar"]) if "grammar" in body else None
        choice = torch.Generator()
        choice.manual_seed(body["seed"]) if "seed" in body else choice.seed()
        known: Any = None
        new = torch.tensor([body["prompt"]])
        with self._adapter([entry["scale"] for entry in body["lora"]]):
            for _ in range(body["n_predict"]):
                for part in torch.split(new, _MAX_PREFILL, dim=1):
                    told = self._model(
                        input_ids=part, past_key_values=known, use_cache=True, logits_to_keep=1
                    )
                    known = told.past_key_values
                logits = told.logits[0, -1].float()
                token = _choose(_allowed(logits, matcher), body, choice)
                yield token, self._chances(logits, token, body.get("n_probs"))
                if matcher is not None and (not matcher.consume_token(token) or matcher.is_stopped()):
                    return
                new = torch.tensor([[token]])

    def _adapter(self, scales: Sequence[float]) -> AbstractContextManager[None]:
        if any(scales):
            self._model.set_adapter(str(scales.index(1.0)))
            return nullcontext()
        off: AbstractContextManager[None] = (
            self._model.disable_adapter() if self._has_adapters else nullcontext()
        )
        return off

    def _chances(self, logits: torch.Tensor, token: int, num_top: int | None) -> list[Event]:
        if num_top is None:
            return []
        logprobs = logits.log_softmax(-1)
        top = [self._chance(index, logprobs) for index in logprobs.topk(num_top).indices.tolist()]
        return [{**self._chance(token, logprobs), "top_logprobs": top}]

    def _chance(self, token: int, logprobs: torch.Tensor) -> Event:
        text = self._tokenizer.decode([token], skip_special_tokens=False)
        return {"token": text, "bytes": list(text.encode()), "logprob": logprobs[token].item()}


def _dtype() -> torch.dtype:
    # Without instructions for bfloat16 a CPU computes it an order of magnitude slower than float32.
    able = torch.cpu.get_capabilities()
    return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_bf16") else torch.float32


def _with_adapters(base: Any, adapters: Sequence[Path]) -> Any:
    model = base
    for index, path in enumerate(adapters):
        if index:
            model.load_adapter(str(path), adapter_name=str(index))
        else:
            model = PeftModel.from_pretrained(base, str(path), adapter_name="0")
    return model


def _end_tokens(base: Any, tokenizer: Tokenizer) -> set[int]:
    told = base.generation_config.eos_token_id
    ends = {told} if isinstance(told, int) else set(told or ())
    end_of_turn = tokenizer.token_to_id(END_OF_TURN)
    return ends if end_of_turn is None else ends | {end_of_turn}


def _allowed(logits: torch.Tensor, matcher: Any) -> torch.Tensor:
    if matcher is None:
        return logits
    bits = np.frombuffer(matcher.compute_bitmask(), np.uint8)
    is_allowed = torch.from_numpy(np.unpackbits(bits, bitorder="little")[: len(logits)].astype(bool))
    return logits.masked_fill(~is_allowed, float("-inf"))


def _choose(logits: torch.Tensor, body: Mapping[str, Any], choice: torch.Generator) -> int:
    if body["temperature"] == 0:
        return int(logits.argmax())
    chances, order = (logits / body["temperature"]).softmax(-1).sort(descending=True, stable=True)
    # The likeliest token always stays, however small the share that is asked for.
    chances[1:][chances.cumsum(-1)[:-1] > body["top_p"]] = 0
    return int(order[torch.multinomial(chances, 1, generator=choice)])
