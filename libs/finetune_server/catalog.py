"""Base models become models of the server: resolved, measured, entered in the store."""

import time

from finetune_server.bases import Base, known_bases, resolve_base
from finetune_server.inference.engine import MAX_CONTEXT_LENGTH
from finetune_server.storage.store import Store


def enter_base(store: Store, name: str) -> None:
    """Resolves a base and enters what its files are now.

    Raises:
        UnknownBase: There is no such base.
    """
    _enter(store, resolve_base(name))


def enter_known_bases(store: Store) -> None:
    """Enters the bases that are here under a name of their own."""
    for base in known_bases():
        _enter(store, base)


def _enter(store: Store, base: Base) -> None:
    store.add_base(
        base.name,
        weights_sha256=base.sha256,
        max_model_len=min(base.context_length, MAX_CONTEXT_LENGTH),
        now=int(time.time()),
    )
