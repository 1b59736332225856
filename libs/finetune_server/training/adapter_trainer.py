"""How a LoRA on a frozen base learns: the Trainer, with a loss on the label tokens only."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import torch
from peft import set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import PrinterCallback, Trainer, TrainingArguments

from finetune_server.training.collator import NO_LABEL, Batch, Layout
from finetune_server.training.examples import Example
from finetune_server.training.progress import Progress, Score

_ADAPTER_WEIGHTS: Final = "adapter_model.safetensors"


class AdapterTrainer(Trainer):  # type: ignore[misc]  # transformers ships no types that mypy reads
    """The Trainer, with the head of the model applied to label positions only.

    Args:
        model: A PEFT model.
        arguments: The Trainer's.
        rows: What to learn.
        progress: Told of every step.
        layout: Lays out the batches.
    """

    loss_is_scaled_for_ga = True
    """The loss is divided by the label tokens of the whole optimizer batch."""

    def __init__(
        self,
        model: Any,
        arguments: TrainingArguments,
        rows: Sequence[Example],
        progress: Progress,
        layout: Layout,
    ) -> None:
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=rows,
            data_collator=layout,
            callbacks=[progress],
        )
        self.remove_callback(PrinterCallback)
        self._progress = progress

    def get_batch_samples(
        self, epoch_iterator: Iterator[Batch], num_batches: int, device: torch.device
    ) -> tuple[list[Batch], int]:
        """The batches of one optimizer step, and how many label tokens they have."""
        del device
        batches = [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)]
        return batches, sum(int((batch["labels"] != NO_LABEL).sum()) for batch in batches)

    def compute_loss(
        self,
        model: Any,
        inputs: Mapping[str, torch.Tensor],
        return_outputs: bool = False,  # noqa: FBT001, FBT002 - the signature is transformers'
        num_items_in_batch: int = 1,
    ) -> torch.Tensor:
        """This part's share of the mean loss over the label tokens of the optimizer batch."""
        del return_outputs
        return _summed_loss(model, inputs, self._progress.score) / num_items_in_batch

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        # transformers' own way turns a bfloat16 adapter into float32, and the resumed job into another one.
        load_adapter(model or self.model, Path(resume_from_checkpoint))


def load_adapter(model: Any, directory: Path) -> None:
    """Gives a model the adapter of a checkpoint, in the number type that the model has."""
    set_peft_model_state_dict(model, load_file(directory / _ADAPTER_WEIGHTS))


@torch.no_grad()
def measure(model: Any, examples: Sequence[Example], rows_at_once: int, layout: Layout) -> Score:
    """How well a model writes the answers of rows."""
    model.eval()
    score = Score()
    for start in range(0, len(examples), rows_at_once):
        batch = cast("Mapping[str, torch.Tensor]", layout(examples[start : start + rows_at_once]))
        here = {name: tensor.to(model.device) for name, tensor in batch.items()}
        _summed_loss(model, here, score)
    return score


def _summed_loss(model: Any, batch: Mapping[str, torch.Tensor], score: Score) -> torch.Tensor:
    """The loss of all label tokens, which are counted into the score."""
    output = model(
        input_ids=batch["input_ids"],
        attention_mask=_mask(batch["attention_mask"], model.dtype),
        position_ids=batch["position_ids"],
        logits_to_keep=batch["index"],
    )
    labels = batch["labels"]
    is_label = labels != NO_LABEL
    logits, labels = output.logits[is_label].float(), labels[is_label]
    loss = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
    score.add(loss.item(), int((logits.argmax(dim=-1) == labels).sum()), len(labels))
    return loss


def _mask(attention_mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What attention layers add to their scores, where the layout itself says what each token sees."""
    if attention_mask.dtype != torch.bool:
        return attention_mask
    hidden = torch.finfo(dtype).min
    return torch.zeros_like(attention_mask, dtype=dtype).masked_fill_(~attention_mask, hidden)
