"""What the routes work on, taken from the app's state."""

from typing import Annotated

from fastapi import Depends, Query, Request

from finetune_server.config import Settings
from finetune_server.jobs.supervisor import Supervisor
from finetune_server.storage.store import Store


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _store(request: Request) -> Store:
    store: Store = request.app.state.store
    return store


async def _supervisor(request: Request) -> Supervisor:
    supervisor: Supervisor = request.app.state.supervisor
    return supervisor


SettingsOf = Annotated[Settings, Depends(_settings)]
StoreOf = Annotated[Store, Depends(_store)]
SupervisorOf = Annotated[Supervisor, Depends(_supervisor)]

After = Annotated[str | None, Query(max_length=100)]
"""The id behind which a page starts."""
JobLimit = Annotated[int, Query(ge=1, le=1000)]
FileLimit = Annotated[int, Query(ge=1, le=10_000)]
