"""The openai client of a host: where it is, with which key, in both colors, and for the chat models too."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, NamedTuple

import httpx2
import openai

from langchain_finetune.errors import AuthenticationFailedError, SettingError
from langchain_finetune.hosts import OPENAI, Host

ApiKey = str | Callable[[], str] | Callable[[], Awaitable[str]]
"""A key, or a function that returns one, such as a provider of Entra tokens."""

_ACCOUNT_HEADERS: Final = ("OpenAI-Organization", "OpenAI-Project")

_NO_KEPT_CONNECTIONS: Final = httpx2.Limits(max_connections=100, max_keepalive_connections=0)


class Endpoint(NamedTuple):
    """Where chat models are called, and with which key."""

    base_url: str
    api_key: ApiKey


def make_client(host: Host, base_url: str | None = None, api_key: ApiKey | None = None) -> openai.OpenAI:
    """Return a client of a host.

    Args:
        host: The host.
        base_url: Where it is; None is what the environment or the host's entry says.
        api_key: Its key; None is the environment's.

    Raises:
        AuthenticationFailedError: There is no key.
        SettingError: There is no URL.
    """
    key: Any = api_key or os.environ.get(host.key_variable or "")
    if not key:
        raise missing_key(host)
    url = base_url or url_of(host)
    if host is OPENAI:
        return openai.OpenAI(base_url=url, api_key=key)
    return openai.OpenAI(base_url=url, api_key=key, default_headers=_without(_ACCOUNT_HEADERS))


def url_of(host: Host) -> str | None:
    """Return the URL of a host as the environment or its entry says, None for OpenAI's own.

    Raises:
        SettingError: Neither says it.
    """
    if given := os.environ.get(host.url_variable or ""):
        slashed = f"{given.rstrip('/')}/"
        return slashed if slashed.endswith(host.url_path) else slashed + host.url_path
    if host.url is None and host is not OPENAI:
        variable = f"set {host.url_variable}, or " if host.url_variable else ""
        msg = f"there is no URL for {host.title}: {variable}give `base_url=` or `client=`."
        raise SettingError(msg)
    return host.url


def missing_key(host: Host) -> AuthenticationFailedError:
    """Return the error for a host without a key."""
    variable = f"set {host.key_variable}, " if host.key_variable else ""
    return AuthenticationFailedError(
        f"there is no API key for {host.title}: {variable}give `api_key=`, or hand over `client=`."
    )


def make_async_client(host: Host, client: openai.OpenAI) -> openai.AsyncOpenAI:
    """Return the async twin of a client: same URL, key, organization and project."""
    del host
    key: Any = key_of(client)
    if callable(key):
        key = _in_a_thread(key)
    # A kept connection belongs to the event loop that made it, and the next call may come from another.
    http_client = openai.DefaultAsyncHttpxClient(limits=_NO_KEPT_CONNECTIONS)
    return openai.AsyncOpenAI(**_settings(client), api_key=key, http_client=http_client)


def make_sync_client(host: Host, async_client: openai.AsyncOpenAI) -> openai.OpenAI:
    """Return the sync twin of an async client.

    Raises:
        AuthenticationFailedError: The key comes from an async function.
    """
    del host
    key: Any = key_of(async_client)
    if callable(key):
        msg = (
            "the async client handed over gets its key from an async function, which no sync call can "
            "await: hand over `client=openai.OpenAI(...)` as well."
        )
        raise AuthenticationFailedError(msg)
    return openai.OpenAI(**_settings(async_client), api_key=key)


def key_of(client: Any) -> ApiKey:
    """Return the key of a client, or the function that it gets its key from; empty where it has neither."""
    # Neither function has a public name; a client that gets its key from one shows an empty or false key.
    provider = getattr(client, "_azure_ad_token_provider", None) or getattr(client, "_api_key_provider", None)
    key: ApiKey = provider or client.api_key
    return key


def endpoint_of(client: Any) -> Endpoint:
    """Return where the models are called that a client trains: where they were trained, with its key."""
    return Endpoint(str(client.base_url), key_of(client))


def account_of(client: openai.OpenAI) -> tuple[str | None, str | None]:
    """Return the organization and the project that a client sends."""
    # Not its attributes: they are the environment's also where the headers are kept back.
    organization, project = (client.default_headers.get(name) for name in _ACCOUNT_HEADERS)
    return organization or None, project or None


def _in_a_thread(provide: Callable[[], str]) -> Callable[[], Awaitable[str]]:
    async def aprovide() -> str:
        # To get a token is to ask a server.
        return await asyncio.to_thread(provide)

    return aprovide


def _settings(client: openai.OpenAI | openai.AsyncOpenAI) -> dict[str, Any]:
    headers = client.default_headers
    return {
        "base_url": client.base_url,
        "organization": client.organization,
        "project": client.project,
        "timeout": client.timeout,
        "max_retries": client.max_retries,
        "default_headers": _without(
            [name for name in _ACCOUNT_HEADERS if isinstance(headers.get(name), openai.Omit)]
        ),
    }


def _without(names: Iterable[str]) -> Any:
    """Return what keeps headers from being sent.

    The client takes organization and project from the environment wherever they are None, also in each copy
    that `with_options` makes. They are no other host's business.
    """
    return {name: openai.Omit() for name in names}
