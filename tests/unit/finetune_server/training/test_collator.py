"""The layout of a batch."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune_server.training.collator import NO_LABEL, collate
from finetune_server.training.examples import Example


def example(tokens: list[int], trained: list[int]) -> Example:
    is_trained = np.zeros(len(tokens), dtype=np.bool_)
    is_trained[trained] = True
    return Example(np.array(tokens, dtype=np.int32), is_trained)


def test_rows_end_together_and_labels_are_the_next_tokens():
    batch = collate([example([5, 6, 7, 8], [2, 3]), example([9, 10, 11], [2])])

    assert batch["input_ids"].tolist() == [[5, 6, 7, 8], [0, 9, 10, 11]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [0, 1, 1, 1]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 3], [0, 0, 1, 2]]
    assert batch["index"].tolist() == [1, 2]
    assert batch["labels"].tolist() == [[7, 8], [NO_LABEL, 11]]


def test_several_answers_of_a_row_leave_gaps_in_the_index():
    batch = collate([example([1, 2, 3, 4, 5, 6], [1, 4, 5])])

    assert batch["index"].tolist() == [0, 3, 4]
    assert batch["labels"].tolist() == [[2, 5, 6]]


ROWS = st.lists(
    st.lists(st.tuples(st.integers(1, 99), st.booleans()), min_size=2, max_size=12), min_size=1, max_size=5
)


@given(ROWS)
def test_every_label_of_every_row_is_there_once(rows):
    examples = [
        example([t for t, _ in row], [i for i, (_, trained) in enumerate(row) if trained and i])
        for row in rows
    ]

    batch = collate(examples)

    for number, row in enumerate(examples):
        labels = batch["labels"][number]
        assert labels[labels != NO_LABEL].tolist() == row.tokens[row.is_trained].tolist()
        own = batch["input_ids"][number][batch["attention_mask"][number] == 1]
        assert own.tolist() == row.tokens.tolist()
        before = batch["index"][labels != NO_LABEL]
        width = batch["input_ids"].shape[1]
        assert (before + 1 - (width - len(row.tokens))).tolist() == np.flatnonzero(row.is_trained).tolist()
    assert torch.equal(batch["index"], batch["index"].unique())
