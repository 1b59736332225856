"""The layout of a batch whose rows begin alike: what they share is computed once.

Recorded runs of one application begin with the same system prompt and tools. One sequence holds that prefix
once and then each row's continuation, whose positions start again behind the prefix; a mask lets a
continuation see the prefix and itself only. Loss and gradients are those of the plain layout, for models
whose layers all see every earlier token. See Wang and Hegde, 2024, on prefix sharing, and
https://arxiv.org/abs/2511.00413 for trees of prefixes.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch

from finetune_server.training.collator import Batch, collate
from finetune_server.training.examples import Example

_FULL_ATTENTION: Final = frozenset({"llama", "qwen2", "qwen3", "phi3", "smollm3"})
"""Elsewhere windows or convolutions read the neighbors in the sequence, which are another row's here, and
nothing raises an error."""

_MOST_OF_PLAIN: Final = 0.75
"""Share of the plain layout's tokens above which sharing does not pay: its mask is for one long sequence."""


def can_share(config: Any) -> bool:
    """Say whether every layer of a model with this configuration sees every earlier token."""
    is_windowed = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return config.model_type in _FULL_ATTENTION and not is_windowed and kinds == {"full_attention"}


def shared_length(examples: Sequence[Example]) -> int:
    """How many tokens all rows begin with; nothing of it is learned, and something follows in every row."""
    length = min(int(example.is_trained.argmax()) for example in examples)
    first = examples[0].tokens[:length]
    for example in examples[1:]:
        differs = np.flatnonzero(example.tokens[: len(first)] != first)
        first = first[: differs[0]] if len(differs) else first
    return len(first)


def collate_shared(examples: Sequence[Example]) -> Batch:
    """The shared layout where it computes fewer tokens, the plain one elsewhere."""
    prefix = shared_length(examples)
    num_tokens = prefix + sum(len(example.tokens) - prefix for example in examples)
    num_plain = len(examples) * max(len(example.tokens) for example in examples)
    return _shared(examples, prefix) if num_tokens <= _MOST_OF_PLAIN * num_plain else collate(examples)


def _shared(examples: Sequence[Example], prefix: int) -> Batch:
    tokens, positions, owners = [examples[0].tokens[:prefix]], [np.arange(prefix)], [np.zeros(prefix)]
    index, labels = [], []
    start = prefix
    for owner, example in enumerate(examples, 1):
        rest, is_trained = example.tokens[prefix:], example.is_trained[prefix:]
        learned = np.flatnonzero(is_trained)
        # The token before a continuation's first one is the prefix's last.
        index.append(np.where(learned == 0, prefix - 1, start + learned - 1))
        labels.append(rest[learned])
        tokens.append(rest)
        positions.append(np.arange(prefix, prefix + len(rest)))
        owners.append(np.full(len(rest), owner))
        start += len(rest)
    return Batch(
        input_ids=_row(tokens),
        attention_mask=_visible(torch.from_numpy(np.concatenate(owners))),
        position_ids=_row(positions),
        index=_row(index).squeeze(0),
        labels=_row(labels),
    )


def _visible(owners: torch.Tensor) -> torch.Tensor:
    """What each token sees, as attention layers take it: 1 by 1 by token by token seen."""
    is_prefix_or_own = (owners == 0) | (owners[:, None] == owners)
    return torch.tril(is_prefix_or_own)[None, None]


def _row(pieces: Sequence[Any]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(pieces).astype(np.int64))[None]
