"""What is asked of an engine and what it answers, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from finetune_server.inference.engine_config import EngineName

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next token is chosen, in OpenAI's terms."""

    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    """By token id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRequest:
    """One answer to write."""

    prompt: tuple[int, ...]
    """Token ids."""
    max_tokens: int
    sampling: Sampling = field(default_factory=Sampling)
    stop: tuple[str, ...] = ()
    """Texts that end the answer and are not part of it."""
    grammar: str | None = None
    num_logprobs: int | None = None
    """How many likely tokens to report at each place; None reports no probabilities."""


@dataclass(frozen=True, slots=True)
class TokenChance:
    """A token and the logarithm of its probability."""

    text: str
    raw: tuple[int, ...]
    """Its bytes; those of one character may be spread over tokens."""
    logprob: float


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """The token that was chosen, and the likeliest at its place."""

    chosen: TokenChance
    likeliest: tuple[TokenChance, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """How an answer ended."""

    finish_reason: FinishReason
    stop_text: str | None
    """Which of the request's stop texts ended it."""
    num_completion_tokens: int
    num_cached_tokens: int
    """Of the prompt, whose work was there already."""


@dataclass(frozen=True, slots=True)
class CompletionChunk:
    """The next piece of an answer; the last one says how it ended."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()
    completed: Completed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """What a running engine is and what it cannot do."""

    name: EngineName
    context_length: int
    """Prompt and answer together, in tokens."""
    base_sha256: str
    unsupported: frozenset[str]
    """Parameters of a request that this engine has no way to honor."""


class EngineError(RuntimeError):
    """An engine answered with an error, or did not start.

    Args:
        message: What failed, on which base, and what to do.
    """


class EngineDiedError(EngineError):
    """The engine's process ended in the middle of the work."""
