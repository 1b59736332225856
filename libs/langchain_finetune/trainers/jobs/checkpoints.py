"""Which of a job's checkpoints is meant."""

from collections.abc import Sequence
from typing import Final

from langchain_finetune.errors import CheckpointNotFoundError
from langchain_finetune.trainers.jobs.job_state import Checkpoint

_LOSSES: Final = ("full_valid_loss", "valid_loss")
"""What makes a checkpoint the best: over all held-out rows before over a batch of them."""


def choose_checkpoint(found: Sequence[Checkpoint], which: int | str, job_id: str) -> Checkpoint:
    """Return the checkpoint that is meant.

    Args:
        found: The job's checkpoints.
        which: A step, an id, the name of the model, `"last"`, or `"best"`: the one with the lowest
            `full_valid_loss`, or `valid_loss` where the host does not tell that; the earlier of equals.
        job_id: Their job.

    Raises:
        CheckpointNotFoundError: There is none.
    """
    if not found:
        msg = f"job {job_id} has no checkpoint (yet): hosts make one after each epoch and keep the last few."
        raise CheckpointNotFoundError(msg, job_id)
    in_order = sorted(found, key=lambda checkpoint: checkpoint.step)
    if which == "last":
        return in_order[-1]
    if which == "best":
        return _best(in_order, job_id)
    for checkpoint in reversed(in_order):
        if which in (checkpoint.step, checkpoint.id, checkpoint.model):
            return checkpoint
    steps = ", ".join(str(checkpoint.step) for checkpoint in in_order)
    msg = (
        f"job {job_id} has no checkpoint {which!r}. There are those of the steps {steps}; "
        '"last" and "best" will do too.'
    )
    raise CheckpointNotFoundError(msg, job_id)


def _best(in_order: Sequence[Checkpoint], job_id: str) -> Checkpoint:
    for loss in _LOSSES:
        measured = [checkpoint for checkpoint in in_order if loss in checkpoint.metrics]
        if measured:
            return min(measured, key=lambda checkpoint: checkpoint.metrics[loss])
    msg = (
        f"the checkpoints of job {job_id} have no {' or '.join(_LOSSES)} to find the best by: train with "
        'validation rows, or give a step or "last".'
    )
    raise CheckpointNotFoundError(msg, job_id)
