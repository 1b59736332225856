"""An order for a job, and its key: same data, base and settings, same key; anything else, another."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

KEY_VERSION: Final = 1
"""Version of what goes into the key; a change of it makes every earlier job a stranger."""

KEY_FIELD: Final = "langchain_finetune_key"
"""Metadata field of a job that carries its key."""

DATA_FIELD: Final = "langchain_finetune_data"
"""Metadata field of a job, and of the tuned model, that carries the training data's fingerprint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A job to be had."""

    base: str
    method: str = "supervised"
    hyperparameters: Mapping[str, Any] | None = None
    suffix: str | None = None
    seed: int | None = None
    train: Path
    train_sha256: str
    validation: Path | None = None
    validation_sha256: str | None = None
    fingerprint: str = ""
    """Of the training data, for the job's metadata; the key is over what the host is sent."""


def job_key(order: Order, weights_sha256: str | None) -> str:
    """Return the SHA-256 over everything that decides what a job makes.

    Args:
        order: What is to be trained.
        weights_sha256: SHA-256 of the base's weights, where the host tells it: the same name may stand
            for other weights tomorrow.
    """
    parts = {
        "version": KEY_VERSION,
        "train": order.train_sha256,
        "validation": order.validation_sha256,
        "base": order.base,
        "weights": weights_sha256,
        "method": order.method,
        "hyperparameters": dict(order.hyperparameters or {}),
        "suffix": order.suffix,
        "seed": order.seed,
    }
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()
