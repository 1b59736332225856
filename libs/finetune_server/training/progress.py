"""What happens between two steps: metrics become events, checkpoints are kept, held-out rows are measured."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from transformers import TrainerCallback

from finetune_server.training.checkpoints import Checkpoints
from finetune_server.training.epochs import EpochAdapters
from finetune_server.training.errors import TrainingError
from finetune_server.training.events import EventLog
from finetune_server.training.plan import Plan
from finetune_server.training.stop_request import StopRequest

_SECONDS_BETWEEN_CHECKPOINTS: Final = 10.0


@dataclass(slots=True)
class Score:
    """Sums over label tokens."""

    loss: float = 0.0
    num_right: int = 0
    num_tokens: int = 0

    def add(self, loss: float, num_right: int, num_tokens: int) -> None:
        """Counts some tokens in."""
        self.loss += loss
        self.num_right += num_right
        self.num_tokens += num_tokens

    def mean_loss(self) -> float:
        """Per token."""
        return self.loss / self.num_tokens

    def accuracy(self) -> float:
        """The share of tokens that the model would have written itself."""
        return self.num_right / self.num_tokens


class Progress(TrainerCallback):  # type: ignore[misc]  # transformers ships no types that mypy reads
    """Reports and keeps what the trainer does.

    Args:
        plan: The job's plan.
        log: Where events go.
        checkpoints: Where checkpoints go.
        epochs: Where the adapters of the epochs go.
        stop: Whether the server has asked the trainer to end.
        validate: Measures the held-out rows; None where there are none.
    """

    def __init__(  # noqa: PLR0913 - what a step may touch, each with a name of its own
        self,
        plan: Plan,
        log: EventLog,
        *,
        checkpoints: Checkpoints,
        epochs: EpochAdapters,
        stop: StopRequest,
        validate: Callable[[], Score] | None,
    ) -> None:
        self._plan = plan
        self._log = log
        self._checkpoints = checkpoints
        self._epochs = epochs
        self._stop = stop
        self._metrics: dict[str, Any] = {}
        self._validate = validate
        self._last_checkpoint = time.monotonic()
        self.score = Score()
        """Of the step under way; the trainer adds to it."""

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Reports the step; asks for a checkpoint at the end of an epoch, when one is due, and before a stop.

        Raises:
            TrainingError: The loss is no number any more.
        """
        del args
        step: int = state.global_step
        is_epoch_end = self._is_epoch_end(step)
        self._metrics = self._measured(step, is_epoch_end=is_epoch_end)
        self._log.metrics(self._metrics)
        self.score = Score()
        is_due = time.monotonic() - self._last_checkpoint >= _SECONDS_BETWEEN_CHECKPOINTS
        control.should_save = is_epoch_end or is_due or self._stop.is_made
        control.should_training_stop = self._stop.is_made

    def _is_epoch_end(self, step: int) -> bool:
        return step % (self._plan.total_steps // self._plan.n_epochs) == 0

    def _measured(self, step: int, *, is_epoch_end: bool) -> dict[str, Any]:
        train_loss = self.score.mean_loss()
        if not math.isfinite(train_loss):
            msg = (
                f"The training loss is no number any more at step {step}. "
                "Lower learning_rate_multiplier and create the job again."
            )
            raise TrainingError(msg, code="training_diverged", param="hyperparameters")
        metrics = {
            "step": step,
            "total_steps": self._plan.total_steps,
            "train_loss": train_loss,
            "train_mean_token_accuracy": self.score.accuracy(),
        }
        if is_epoch_end and self._validate is not None:
            held_out = self._validate()
            metrics["full_valid_loss"] = held_out.mean_loss()
            metrics["full_valid_mean_token_accuracy"] = held_out.accuracy()
        return metrics

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Keeps the checkpoint that the trainer has written."""
        del control
        step: int = state.global_step
        written = Path(args.output_dir) / f"checkpoint-{step}"
        if self._is_epoch_end(step):
            # Before the checkpoint, from which a killed trainer's successor would not come here again.
            self._epochs.keep(written, step)
            self._log.checkpoint(self._metrics)
        self._checkpoints.keep(written, step)
        self._last_checkpoint = time.monotonic()
