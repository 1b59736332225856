"""Who may ask: keys of the application's own, in the header that the clients send anyway."""

import secrets
from collections.abc import Awaitable, Callable, Iterable

from fastapi import HTTPException, Request
from pydantic import SecretStr

from langchain_finetune.errors import SettingError


def key_check(api_keys: Iterable[str | SecretStr]) -> Callable[[Request], Awaitable[None]] | None:
    """Return a dependency that lets in whoever has one of the keys; None where there are none.

    Args:
        api_keys: The keys, to be sent as `Authorization: Bearer …`: what `ChatOpenAI(api_key=...)` does.

    Raises:
        SettingError: A key is empty or short.
    """
    keys = [key.get_secret_value() if isinstance(key, SecretStr) else key for key in api_keys]
    if not keys:
        return None
    if any(len(key) < 16 for key in keys):  # noqa: PLR2004 - a guess a microsecond takes a long time
        msg = "a key of `api_keys` is shorter than 16 characters: take `secrets.token_urlsafe(32)`."
        raise SettingError(msg)
    encoded = [key.encode() for key in keys]

    async def check(request: Request) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        # All of them, so that the time says nothing of which one is nearly right.
        found = [secrets.compare_digest(given.strip().encode(), key) for key in encoded]
        if scheme.lower() != "bearer" or not any(found):
            raise HTTPException(
                401,
                "send one of the server's keys: `Authorization: Bearer …`.",
                {"WWW-Authenticate": "Bearer"},
            )

    return check
