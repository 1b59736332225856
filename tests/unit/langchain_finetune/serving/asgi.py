"""An application asked in this process, without a socket."""

import json
from typing import Any

import httpx2
from fastapi import FastAPI


class Client:
    """Asks an application; every answer is whole when it is there."""

    def __init__(self, app: FastAPI, **headers: str) -> None:
        transport = httpx2.ASGITransport(app=app, client=("127.0.0.1", 5000))
        self._client = httpx2.AsyncClient(transport=transport, base_url="http://app.example", headers=headers)

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        return await self._client.get(path, headers=headers)

    async def post(self, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        return await self._client.post(path, json={} if body is None else body, headers=headers)

    async def send(self, path: str, content: bytes, **headers: str) -> httpx2.Response:
        return await self._client.post(path, content=content, headers=headers)


def events_in(answer: httpx2.Response) -> list[tuple[str, Any, str | None]]:
    """The server-sent events of an answer: type, data, id."""
    found = []
    for part in answer.text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in part.splitlines() if ": " in line)
        if "event" in fields:
            data = json.loads(fields["data"]) if fields.get("data") else None
            found.append((fields["event"], data, fields.get("id")))
    return found
