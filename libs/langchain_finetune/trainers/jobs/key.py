"""An order for a job, and its key: same data, base and settings, same key; anything else, another."""

import hashlib
from collections.abc import Collection, Mapping
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

ALIAS_FIELD: Final = "langchain_finetune_alias"
"""Metadata field of a job whose tuned model the embedded server also serves under another name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A job to be had."""

    base: str
    method: str = "supervised"
    hyperparameters: Mapping[str, Any] | None = None
    method_settings: Mapping[str, Any] | None = None
    """What the method has besides hyperparameters, such as the grader of reinforcement."""
    extra_body: Mapping[str, Any] | None = None
    """Further fields of the job, as its host knows them."""
    suffix: str | None = None
    seed: int | None = None
    train: Path
    train_sha256: str
    validation: Path | None = None
    validation_sha256: str | None = None
    fingerprint: str = ""
    """Of the training data, for the job's metadata; the key is over what the host is sent."""
    alias: str | None = None
    """A further name of the tuned model."""


def job_key(order: Order, weights_sha256: str | None) -> str:
    """Return the SHA-256 over everything that decides what a job makes.

    Args:
        order: What is to be trained.
        weights_sha256: SHA-256 of the base's weights, where the host tells it: the same name may stand
            for other weights tomorrow.
    """
    parts: dict[str, Any] = {
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
    if order.alias is not None:
        # A job without it serves under one name less; the keys of such jobs are what they were.
        parts["alias"] = order.alias
    # Named only where they are set: the keys of jobs from before they existed stay the same.
    for name in ("method_settings", "extra_body"):
        if settings := getattr(order, name):
            parts[name] = dict(settings)
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()


def upload_name(role: str, sha256: str) -> str:
    """Return the name of a file at the host: the whole SHA-256 of its bytes, so that the name finds it again.

    Args:
        role: What it is for, for a person to read.
        sha256: SHA-256 of its bytes.
    """
    return f"{role}-{sha256}.jsonl"


def with_key(suffix: str | None, key: str) -> str:
    """Return the suffix of a job whose key travels in it; the host's rule leaves room for that."""
    return f"{suffix}-{tag_of(key)}" if suffix else tag_of(key)


def tag_of(key: str) -> str:
    """Return what of a key travels where there is no room for all of it: 64 bits, in hex."""
    return key[:16]


def idempotency_key(key: str, generation: int, seen: Collection[str], file_ids: Collection[str]) -> str:
    """Return the `Idempotency-Key` of the post that creates a job.

    A post that is repeated carries the same one. Where a job has failed, or a new one is wanted all the same,
    it is another: a host that remembers would answer with the old job. The ids of the jobs that the host
    tells of tell that even where the ledger is gone, or is another machine's.

    Args:
        key: The order's.
        generation: The how many-eth attempt this is here.
        seen: Ids of the order's jobs so far.
        file_ids: Ids of the uploads: with other ones it is another post.
    """
    parts = [key, generation, sorted(seen), list(file_ids)]
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()
