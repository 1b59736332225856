"""The shared layout computes what the plain layout computes, and less of it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from transformers import Gemma2Config, LlamaConfig, LlamaForCausalLM, MistralConfig, Qwen2Config

from finetune_server.training.adapter_trainer import _summed_loss
from finetune_server.training.collator import collate
from finetune_server.training.examples import Example
from finetune_server.training.progress import Score
from finetune_server.training.shared_prefix import can_share, collate_shared, shared_length

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:transformers")

VOCABULARY = 50


def llama(attention: str):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        attn_implementation=attention,
    )
    adapted = get_peft_model(
        LlamaForCausalLM(config), LoraConfig(task_type="CAUSAL_LM", r=2, target_modules="all-linear")
    )
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    return adapted


def rows(prefix: list[int], rests: list[list[tuple[int, bool]]]) -> list[Example]:
    examples = []
    for rest in rests:
        tokens = np.array([*prefix, *(token for token, _ in rest)], dtype=np.int32)
        is_trained = np.array([False] * len(prefix) + [trained for _, trained in rest])
        is_trained[-1] = True
        examples.append(Example(tokens, is_trained))
    return examples


TOKEN = st.integers(1, VOCABULARY - 1)
ROWS = st.builds(
    rows,
    st.lists(TOKEN, min_size=1, max_size=20),
    st.lists(st.lists(st.tuples(TOKEN, st.booleans()), min_size=1, max_size=6), min_size=1, max_size=5),
)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_loss_score_and_gradients_are_those_of_the_plain_layout(attention):
    model = llama(attention)
    random = np.random.default_rng(0)
    examples = rows(
        random.integers(1, VOCABULARY, 12).tolist(),
        [
            [(3, False), (4, True), (5, True)],
            [(6, True), (7, False), (8, True), (9, True)],
            [(3, False), (4, True)],
        ],
    )
    outcomes = []
    for layout in (collate, collate_shared):
        batch, score = layout(examples), Score()
        loss = _summed_loss(model, batch, score)
        model.zero_grad()
        loss.backward()
        gradients = torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])
        outcomes.append((batch["input_ids"].numel(), loss.item(), score, gradients))

    (num_plain, plain, plain_score, expected), (num_shared, shared, shared_score, got) = outcomes
    assert num_shared < num_plain
    assert shared == pytest.approx(plain, rel=1e-5)
    assert shared_score.num_tokens == plain_score.num_tokens
    assert torch.allclose(got, expected, rtol=1e-4, atol=1e-5)


@given(ROWS)
@settings(deadline=None)
def test_every_label_is_there_once_and_sees_its_own_row_alone(examples):
    batch = collate_shared(examples)
    if batch["attention_mask"].dtype != torch.bool:
        return  # the plain layout has its own test
    visible, tokens = batch["attention_mask"][0, 0], batch["input_ids"][0]
    labels = [(example, position) for example in examples for position in np.flatnonzero(example.is_trained)]

    assert batch["labels"][0].tolist() == [int(example.tokens[position]) for example, position in labels]
    for (example, position), at in zip(labels, batch["index"].tolist(), strict=True):
        if at < shared_length(examples):
            assert position == shared_length(examples)
        assert tokens[visible[at]].tolist() == example.tokens[:position].tolist()
        assert batch["position_ids"][0, visible[at]].tolist() == list(range(position))


@given(ROWS)
def test_the_shared_part_is_the_longest_with_nothing_learned(examples):
    length = shared_length(examples)

    assert len({tuple(example.tokens[:length]) for example in examples}) == 1
    assert not any(example.is_trained[:length].any() for example in examples)
    longer = {tuple(example.tokens[: length + 1]) for example in examples}
    assert len(longer) > 1 or any(example.is_trained[length] for example in examples)


def test_rows_with_little_in_common_are_laid_out_plainly():
    examples = rows([1], [[(2, False), (3, False), (4, True)], [(5, False), (6, False), (7, True)]])

    assert collate_shared(examples)["input_ids"].shape == (2, 4)


@pytest.mark.parametrize(
    ("config", "is_safe"),
    [
        (LlamaConfig(), True),
        (Qwen2Config(), True),
        (Qwen2Config(use_sliding_window=True, sliding_window=16, max_window_layers=0), False),
        (MistralConfig(), False),
        (Gemma2Config(), False),
    ],
    ids=lambda value: getattr(value, "model_type", value),
)
def test_only_models_that_see_every_token_share(config, is_safe):
    assert can_share(config) is is_safe
