"""How long, in which steps and in which pieces a job trains."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

LEARNING_RATE: Final = 2e-3
"""At a `learning_rate_multiplier` of 1."""

_AUTO_BATCH_SIZE: Final = 4
_AUTO_ROW_VISITS: Final = 100
_AUTO_MAX_EPOCHS: Final = 4
_WARM_UP: Final = 0.1
_MAX_EAGER_TOKENS: Final = 512
_MAX_KEPT_TOKENS: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A job's resolved hyperparameters and what follows from them."""

    n_epochs: int
    batch_size: int
    """Rows that the optimizer sees in one step."""
    learning_rate_multiplier: float
    num_rows: int
    num_tokens: int
    """Of all rows, once."""
    rows_at_once: int
    """Rows computed at once: a divisor of the batch size that keeps memory flat when rows are long."""
    attention: str
    """Eager is fastest for short rows; its memory grows with the square of their length."""
    recomputes_activations: bool
    """Whether a row is too long to keep what its layers computed."""

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole job."""
        return math.ceil(self.num_rows / self.batch_size) * self.n_epochs

    @property
    def warm_up_steps(self) -> int:
        """Steps until the learning rate has risen to its peak."""
        return math.ceil(_WARM_UP * self.total_steps)

    @property
    def learning_rate(self) -> float:
        """The peak of the learning rate."""
        return LEARNING_RATE * self.learning_rate_multiplier

    @property
    def trained_tokens(self) -> int:
        """Tokens the job reads in all."""
        return self.num_tokens * self.n_epochs

    def resolved(self) -> dict[str, int | float]:
        """The hyperparameters, none of them `auto`."""
        return {
            "n_epochs": self.n_epochs,
            "batch_size": self.batch_size,
            "learning_rate_multiplier": self.learning_rate_multiplier,
        }


def make_plan(
    hyperparameters: Mapping[str, Any],
    row_lengths: Sequence[int],
    *,
    tokens_at_once: int,
    shared_length: int = 0,
) -> Plan:
    """Resolves `auto` and lays the job out.

    Args:
        hyperparameters: As the job asks for them; each may be `auto` or absent.
        row_lengths: Tokens of each row.
        tokens_at_once: Tokens that the device should compute at once; a single row may have more.
        shared_length: Tokens that all rows begin with and that are computed once.
    """
    num_rows, longest = len(row_lengths), max(row_lengths)
    batch_size = _given(hyperparameters, "batch_size") or min(_AUTO_BATCH_SIZE, num_rows)
    own_length = longest - shared_length
    rows_at_once = _rows_at_once(batch_size, (tokens_at_once - shared_length) // own_length)
    sequence_length = shared_length + rows_at_once * own_length if shared_length else longest
    return Plan(
        n_epochs=_given(hyperparameters, "n_epochs") or auto_epochs(num_rows),
        batch_size=batch_size,
        learning_rate_multiplier=_given(hyperparameters, "learning_rate_multiplier") or 1.0,
        num_rows=num_rows,
        num_tokens=sum(row_lengths),
        rows_at_once=rows_at_once,
        attention="eager" if sequence_length <= _MAX_EAGER_TOKENS else "sdpa",
        recomputes_activations=longest > _MAX_KEPT_TOKENS,
    )


def auto_epochs(num_rows: int) -> int:
    """Enough visits of a row for a small job to learn its task, and one epoch for a large one."""
    return max(1, min(_AUTO_MAX_EPOCHS, math.ceil(_AUTO_ROW_VISITS / num_rows)))


def _given(hyperparameters: Mapping[str, Any], name: str) -> Any:
    value = hyperparameters.get(name)
    return None if value == "auto" else value


def _rows_at_once(batch_size: int, num_fitting: int) -> int:
    most = max(1, min(batch_size, num_fitting))
    return next(number for number in range(most, 0, -1) if batch_size % number == 0)
