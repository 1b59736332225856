"""One account at one host, with what this machine has recorded of its orders."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

import orjson

from langchain_finetune.hosts import Host
from langchain_finetune.trainers.hosts.protocol import HostProtocol, protocol_of
from langchain_finetune.trainers.ledger.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where an order goes."""

    host: Host
    protocol: HostProtocol
    ledger: Ledger
    clock: Callable[[], float] = time.time
    """Seconds since 1970."""

    @classmethod
    def of(
        cls, client: Any, host: Host, *, is_embedded: bool = False, clock: Callable[[], float] = time.time
    ) -> Self:
        """Return the account that a client speaks for.

        Args:
            client: The host's client.
            host: The host.
            is_embedded: Whether the client reaches the embedded server.
            clock: Seconds since 1970.

        Raises:
            StorageError: The state directory cannot be used.
        """
        ledger = Ledger(identity_of(client, is_embedded=is_embedded), clock=clock)
        return cls(host=host, protocol=protocol_of(host), ledger=ledger, clock=clock)


def identity_of(client: Any, *, is_embedded: bool) -> str:
    """Return which account at which host a client speaks for, without the key itself.

    Args:
        client: The host's client: what it has of `base_url`, `api_key`, `organization` and `project`.
        is_embedded: Whether it reaches the embedded server, whose port is another at every start.
    """
    url = "local" if is_embedded else str(getattr(client, "base_url", "")).rstrip("/")
    names = ("api_key", "organization", "project")
    account = [str(value) if (value := getattr(client, name, None)) else None for name in names]
    digest = hashlib.sha256(orjson.dumps(["langchain-finetune", url, *account])).hexdigest()
    # A URL may hold a name and a password, or a key in its query.
    parts = urlsplit(url)
    shown = f"{parts.hostname or ''}{parts.path}" if parts.scheme else url
    return f"{shown}#{digest[:24]}"
