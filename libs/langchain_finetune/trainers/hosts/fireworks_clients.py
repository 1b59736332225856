"""Clients of Fireworks' own SDK."""

from typing import Any, Final

import fireworks
import httpx

from langchain_finetune.errors import SettingError
from langchain_finetune.hosts import Host
from langchain_finetune.trainers.hosts.openai_clients import ApiKey, Endpoint, missing_key

_NO_KEPT_CONNECTIONS: Final = httpx.Limits(max_connections=100, max_keepalive_connections=0)


def make_client(
    host: Host, base_url: str | None = None, api_key: ApiKey | None = None
) -> fireworks.Fireworks:
    """Return a client; URL, key and account are the environment's where they are not given.

    Raises:
        AuthenticationFailedError: There is no key.
        SettingError: There is no account.
    """
    given: Any = {"base_url": base_url, "api_key": api_key}
    try:
        client = fireworks.Fireworks(**given)
    except fireworks.FireworksError as e:
        raise missing_key(host) from e
    if not client.account_id:
        msg = (
            f"there is no account for {host.title}: set FIREWORKS_ACCOUNT_ID, or hand over "
            '`client=fireworks.Fireworks(account_id="...")`.'
        )
        raise SettingError(msg)
    return client


def make_async_client(host: Host, client: fireworks.Fireworks) -> fireworks.AsyncFireworks:
    """Return the async twin of a client."""
    del host
    # A kept connection belongs to the event loop that made it, and the next call may come from another.
    http_client = fireworks.DefaultAsyncHttpxClient(limits=_NO_KEPT_CONNECTIONS)
    return fireworks.AsyncFireworks(**_settings(client), http_client=http_client)


def make_sync_client(host: Host, async_client: fireworks.AsyncFireworks) -> fireworks.Fireworks:
    """Return the sync twin of an async client."""
    del host
    return fireworks.Fireworks(**_settings(async_client))


def endpoint_of(client: Any) -> Endpoint:
    """Return where the models are called that a client trains."""
    base_url = str(client.base_url).rstrip("/")
    return Endpoint(f"{base_url}/inference/v1", client.api_key)


def _settings(client: Any) -> dict[str, Any]:
    return {
        "base_url": client.base_url,
        "api_key": client.api_key,
        "account_id": client.account_id,
        "timeout": client.timeout,
        "max_retries": client.max_retries,
    }
