"""The layout of a batch: examples in, tensors out.

The trainer computes logits only where `index` says, so a layout decides what is computed: which tokens, what
each token sees, and where a label stands. This is the plain layout: one example a row. Rows are padded on the
left, so that the answers, which end the rows, stand in the same columns and `index` stays short. The layout
for rows that begin alike is in `shared_prefix`.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypedDict

import torch

from finetune_server.training.examples import Example

NO_LABEL: Final = -100
"""Where `index` has a column that this row does not learn."""

_PADDING_TOKEN: Final = 0
"""Any token will do: padding is neither seen nor learned."""


class Batch(TypedDict):
    """What the model computes at once."""

    input_ids: torch.Tensor
    """Rows by columns."""
    attention_mask: torch.Tensor
    """Rows by columns, 0 for padding; or what each token sees, 1 by 1 by token by token seen."""
    position_ids: torch.Tensor
    index: torch.Tensor
    """The columns whose next token some row learns, ascending."""
    labels: torch.Tensor
    """Rows by `index`: the token that follows there, `NO_LABEL` where the row does not learn it."""


Layout = Callable[[Sequence[Example]], Batch]
"""Lays out a batch."""


def collate(examples: Sequence[Example]) -> Batch:
    """One example a row, padded on the left to the longest."""
    width = max(len(example.tokens) for example in examples)
    shape = (len(examples), width)
    input_ids = torch.full(shape, _PADDING_TOKEN, dtype=torch.long)
    attention_mask = torch.zeros(shape, dtype=torch.long)
    next_tokens = torch.full(shape, NO_LABEL, dtype=torch.long)
    for row, example in enumerate(examples):
        start = width - len(example.tokens)
        tokens = torch.from_numpy(example.tokens).long()
        is_trained = torch.from_numpy(example.is_trained)
        input_ids[row, start:] = tokens
        attention_mask[row, start:] = 1
        next_tokens[row, start : width - 1] = torch.where(is_trained[1:], tokens[1:], NO_LABEL)
    index = (next_tokens != NO_LABEL).any(dim=0).nonzero().squeeze(1)
    return Batch(
        input_ids=input_ids,
        attention_mask=attention_mask,
        position_ids=(attention_mask.cumsum(dim=1) - 1).clamp(min=0),
        index=index,
        labels=next_tokens[:, index],
    )
