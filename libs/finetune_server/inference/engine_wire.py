"""The few fields of llama.cpp's `/completion` that are spoken with every engine. Pure."""

from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from typing import Any

import orjson

from finetune_server.inference.completion import (
    Completed,
    CompletionChunk,
    CompletionRequest,
    EngineError,
    TokenChance,
    TokenLogprob,
)

_NEVER = -100.0
"""OpenAI's bias that bans a token; llama.cpp has its own word for that."""
_SEED_RANGE = 0xFFFF_FFFF
"""llama.cpp's seeds have 32 bits, and all ones mean chance."""


def completion_body(request: CompletionRequest, is_adapter_on: Sequence[bool]) -> dict[str, Any]:
    """Return the body of a request. Every adapter is named, since one that is not keeps what it has."""
    sampling = request.sampling
    body: dict[str, Any] = {
        "prompt": request.prompt,
        "n_predict": request.max_tokens,
        "stop": request.stop,
        "stream": True,
        "cache_prompt": True,
        "lora": [{"id": index, "scale": float(is_on)} for index, is_on in enumerate(is_adapter_on)],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "logit_bias": [
            [token, False if bias <= _NEVER else bias] for token, bias in sampling.logit_bias.items()
        ],
        # llama.cpp's own defaults cut the choice of tokens and look back 64 of them; OpenAI's do not.
        "top_k": 0,
        "min_p": 0.0,
        "repeat_last_n": len(request.prompt) + request.max_tokens,
    }
    if sampling.seed is not None:
        body["seed"] = sampling.seed % _SEED_RANGE
    if request.grammar is not None:
        body["grammar"] = request.grammar
    if request.num_logprobs is not None:
        # With 0 nothing is reported at all, not even of the token that was chosen.
        body["n_probs"] = max(1, request.num_logprobs)
    return body


async def read_events(parts: AsyncIterable[bytes]) -> AsyncIterator[dict[str, Any]]:
    """Read server-sent events of JSON objects, however their bytes arrive.

    Raises:
        EngineError: An event is an error.
    """
    pending = b""
    async for part in parts:
        *lines, pending = (pending + part).split(b"\n")
        for line in lines:
            field, _, value = line.partition(b": ")
            if field in (b"data", b"error") and value:
                event = orjson.loads(value)
                if "error" in event or field == b"error":
                    raise EngineError(error_of(value))
                yield event


def completion_chunk(event: Mapping[str, Any]) -> CompletionChunk:
    """Return the piece of an answer that an event carries."""
    logprobs = tuple(map(_token_logprob, event.get("completion_probabilities", ())))
    if not event["stop"]:
        return CompletionChunk(event["content"], logprobs)
    completed = Completed(
        finish_reason="length" if event["stop_type"] == "limit" else "stop",
        stop_text=event.get("stopping_word") or None,
        num_completion_tokens=event["tokens_predicted"],
        num_cached_tokens=event["timings"]["cache_n"],
    )
    return CompletionChunk(event["content"], logprobs, completed)


def error_of(body: bytes) -> str:
    """Return the message of an error that an engine answers."""
    try:
        found = orjson.loads(body)
        error = found.get("error", found)
        return str(error["message"])
    except (ValueError, KeyError, AttributeError, TypeError):
        return "the engine answered with an error that cannot be read"


def _token_logprob(place: Mapping[str, Any]) -> TokenLogprob:
    return TokenLogprob(_chance(place), tuple(map(_chance, place["top_logprobs"])))


def _chance(token: Mapping[str, Any]) -> TokenChance:
    return TokenChance(token["token"], tuple(token["bytes"]), token["logprob"])
