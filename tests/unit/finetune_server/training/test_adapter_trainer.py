"""The loss, on label tokens only."""

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from finetune_server.training.adapter_trainer import _summed_loss, load_adapter, measure
from finetune_server.training.collator import collate
from finetune_server.training.examples import Example
from finetune_server.training.progress import Score

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:transformers")

VOCABULARY = 50


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        attn_implementation="eager",
    )
    lora = LoraConfig(task_type="CAUSAL_LM", r=2, target_modules="all-linear")
    adapted = get_peft_model(LlamaForCausalLM(config), lora)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    return adapted


@pytest.fixture
def rows() -> list[Example]:
    random = np.random.default_rng(0)
    examples = []
    for length, trained in ((9, [6, 7, 8]), (5, [3, 4]), (12, [2, 3, 9, 10, 11]), (7, [6])):
        is_trained = np.zeros(length, dtype=np.bool_)
        is_trained[trained] = True
        examples.append(Example(random.integers(1, VOCABULARY, length).astype(np.int32), is_trained))
    return examples


def plain_loss(model, example: Example) -> torch.Tensor:
    """One row, all logits, the long way."""
    tokens = torch.from_numpy(example.tokens).long()
    logits = model(input_ids=tokens[None]).logits[0]
    trained = np.flatnonzero(example.is_trained)
    return sum(torch.nn.functional.cross_entropy(logits[i - 1], tokens[i]) for i in trained)


def gradients(model, loss: torch.Tensor) -> torch.Tensor:
    model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])


def test_loss_and_gradients_of_a_batch_are_those_of_its_rows(model, rows):
    score = Score()

    loss = _summed_loss(model, collate(rows), score)
    expected = sum(plain_loss(model, row) for row in rows)

    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.allclose(gradients(model, loss), gradients(model, expected), rtol=1e-4, atol=1e-5)


def test_the_score_counts_every_label(model, rows):
    score = Score()

    loss = _summed_loss(model, collate(rows), score)

    assert score.num_tokens == sum(int(row.is_trained.sum()) for row in rows)
    assert score.mean_loss() == pytest.approx(loss.item() / score.num_tokens)


def test_accuracy_is_the_share_of_tokens_the_model_would_write(model, rows):
    row = rows[2]
    with torch.no_grad():
        written = model(input_ids=torch.from_numpy(row.tokens).long()[None]).logits[0].argmax(-1)
    row.tokens[11] = int(written[10])
    row.tokens[9] = (int(written[8]) + 1) % VOCABULARY

    is_right = [int(written[i - 1]) == row.tokens[i] for i in (2, 3, 10, 11)]
    assert measure(model, [row], 1, collate).num_right == sum(is_right) >= 1


def test_held_out_rows_are_measured_alike_in_any_pieces(model, rows):
    whole, pieces = measure(model, rows, 4, collate), measure(model, rows, 1, collate)

    assert whole.mean_loss() == pytest.approx(pieces.mean_loss(), rel=1e-5)
    assert (whole.num_right, whole.num_tokens) == (pieces.num_right, pieces.num_tokens)


def test_a_loaded_adapter_keeps_the_number_type_of_the_model(model, tmp_path):
    model.to(torch.bfloat16).save_pretrained(tmp_path)
    wanted = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.zeros_(parameter)

    load_adapter(model, tmp_path)

    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.dtype == torch.bfloat16
            assert torch.equal(parameter, wanted[name])
