"""The jobs that this machine has ordered, at whatever host: found in the ledger, looked at where they are.

The ledger names accounts and no keys: a job can be looked at where the environment has its account's key.
"""

import asyncio
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from langchain_finetune._tables import html_table, text_table
from langchain_finetune.errors import FineTuneError, HostError, JobNotFoundError, SettingError
from langchain_finetune.handles import Handle
from langchain_finetune.hosts import CUSTOM, HOSTS, LOCAL, Host
from langchain_finetune.trainers.exchange import Exchange
from langchain_finetune.trainers.fine_tune import FineTuneRunnable
from langchain_finetune.trainers.hosts.connection import Connection
from langchain_finetune.trainers.job import FineTuneJob
from langchain_finetune.trainers.jobs.job_state import JobState
from langchain_finetune.trainers.ledger.ledger import Ledger
from langchain_finetune.trainers.ledger.rows import Attempt
from langchain_finetune.trainers.placing.site import identity_of

_HEADER: Final = ("job", "status", "ordered", "model or base")
_MOST_SEARCHED: Final = 10_000
_UNKNOWN: Final = "?"
_NO_KEY: Final = "the environment has no key of its account"

Ordered = list[tuple[str, Attempt]]
Looks = dict[str, JobState | str]
"""By job: its state, or why it was not seen."""


class JobEntry(Handle):
    """One job that this machine has ordered, or has come back to."""

    job_id: str
    provider: str | None
    """None where the account is at no provider that the environment has a key for."""

    account: str
    """Where the host is, without the key."""

    status: str | None = None
    """None where it was not seen; `note` says why."""

    base: str | None = None
    model: str | None = None
    """Name of the tuned model."""

    ordered_at: datetime
    finished_at: datetime | None = None
    note: str | None = None

    @property
    def name(self) -> str:
        """`provider:job_id`, which `job_named` comes back to."""
        return f"{self.provider or CUSTOM.name}:{self.job_id}"


class JobList(tuple[JobEntry, ...]):
    """Jobs, the newest at the top; printed, and in a notebook, they are a table."""

    __slots__ = ()

    def __str__(self) -> str:
        if not self:
            return "No job was ordered from this machine yet."
        notes = sorted({f"{entry.account}: {entry.note}" for entry in self if entry.note})
        return "\n".join([text_table([_HEADER, *map(_cells, self)]), *notes])

    def _repr_html_(self) -> str:
        return html_table(map(_cells, self), _HEADER, f"{len(self)} jobs")


def job_list(*, limit: int = 20, provider: str | None = None) -> JobList:
    """List the jobs that this machine has ordered, with their states at their hosts.

    ```python
    print(job_list())
    ```

    A host that cannot be reached, or has no key in the environment, leaves its jobs' states unknown.

    Args:
        limit: Most jobs.
        provider: List those of one provider alone.

    Raises:
        StorageError: The ledger cannot be read.
    """
    found = _ordered(limit, provider)
    looks = {place: _looked(place.connection, ids) for place, ids in found.by_place.items()}
    return found.entries(looks)


async def ajob_list(*, limit: int = 20, provider: str | None = None) -> JobList:
    """List the jobs that this machine has ordered, as `job_list` does; the hosts are asked at once."""
    found = await asyncio.to_thread(_ordered, limit, provider)
    told = await asyncio.gather(*(_alooked(it.connection, ids) for it, ids in found.by_place.items()))
    return found.entries(dict(zip(found.by_place, told, strict=True)))


def job_named(name: str, **settings: Any) -> FineTuneJob:
    """Come back to a job by its name.

    ```python
    job_named("openai:ftjob-abc").result()
    ```

    Args:
        name: `"provider:job_id"`, or the bare id of a job that this machine has ordered.
        **settings: Of the `FineTuneRunnable` that it is attached to, such as `timeout` or `base_url`.

    Raises:
        JobNotFoundError: No job of that id was ordered here, or the host has none.
        HostError: The host refused, or cannot be reached.
    """
    provider, job_id = _place_of(name, settings)
    return FineTuneRunnable(f"{provider}:{job_id}", **settings).attach(job_id)


async def ajob_named(name: str, **settings: Any) -> FineTuneJob:
    """Come back to a job by its name, as `job_named` does."""
    provider, job_id = await asyncio.to_thread(_place_of, name, settings)
    return await FineTuneRunnable(f"{provider}:{job_id}", **settings).aattach(job_id)


def is_ordered(job_id: str) -> bool:
    """Tell whether a job of this id was ordered from this machine."""
    return any(attempt.job_id == job_id for _, attempt in _of_all_accounts(_MOST_SEARCHED))


class _Place:
    """An account that the environment has a key for."""

    def __init__(self, host: Host, connection: Connection, identity: str) -> None:
        self.host = host
        self.connection = connection
        self.identity = identity

    def has(self, account: str) -> bool:
        # The embedded server is this machine's own, whichever key it had by then.
        return account == self.identity or (self.host is LOCAL and _shown(account) == LOCAL.name)


class _Found:
    """What the ledger names, and where it is."""

    def __init__(self, ordered: Ordered, places: list[_Place]) -> None:
        self._ordered = ordered
        self._places = places
        self.by_place: dict[_Place, list[str]] = {}
        for account, attempt in ordered:
            if (place := self._place(account)) is not None:
                self.by_place.setdefault(place, []).append(attempt.job_id or "")

    def _place(self, account: str) -> _Place | None:
        return next((place for place in self._places if place.has(account)), None)

    def entries(self, looks: Mapping[_Place, Looks]) -> JobList:
        return JobList(self._entry(account, attempt, looks) for account, attempt in self._ordered)

    def _entry(self, account: str, attempt: Attempt, looks: Mapping[_Place, Looks]) -> JobEntry:
        place, job_id = self._place(account), attempt.job_id or ""
        seen = looks[place][job_id] if place is not None else _NO_KEY
        state = seen if isinstance(seen, JobState) else None
        return JobEntry(
            job_id=job_id,
            provider=place.host.name if place else None,
            account=_shown(account),
            status=state.status if state else None,
            base=(state.base or None) if state else None,
            model=state.model if state else None,
            ordered_at=datetime.fromtimestamp(attempt.created_at, UTC),
            finished_at=_moment(state.finished_at if state else attempt.ended_at),
            note=None if isinstance(seen, JobState) else seen,
        )


def _ordered(limit: int, provider: str | None) -> _Found:
    if provider is not None and provider not in HOSTS:
        msg = f"there is no provider {provider!r}: known are {', '.join(HOSTS)}."
        raise SettingError(msg)
    every = _of_all_accounts(_MOST_SEARCHED if provider else limit)
    accounts = {account for account, _ in every}
    found = _Found(every, _places(accounts))
    if provider is None:
        return found
    at_provider = [place for place in found.by_place if place.host.name == provider]
    mine = [it for it in every if any(place.has(it[0]) for place in at_provider)]
    return _Found(mine[:limit], at_provider)


def _of_all_accounts(limit: int) -> Ordered:
    reading = Connection(CUSTOM).run(Ledger("").of_all_accounts(limit))
    seen: set[tuple[str, str | None]] = set()
    # A host may answer several attempts with the same job.
    return [it for it in reading if (key := (it[0], it[1].job_id)) not in seen and not seen.add(key)]  # type: ignore[func-returns-value]


def _places(accounts: Iterable[str]) -> list[_Place]:
    """Return the accounts that can be asked, of those that are named."""
    wanted = set(accounts)
    hosts = [host for host in HOSTS.values() if host.key_variable and os.environ.get(host.key_variable)]
    # It is started where there is something to ask it, and not before.
    hosts += [LOCAL] if any(_shown(account) == LOCAL.name for account in wanted) else []
    places = []
    for host in hosts:
        connection = Connection(host)
        try:
            identity = identity_of(connection.client, is_embedded=connection.server is not None)
        except FineTuneError:
            continue  # an SDK or a URL that is missing: its jobs are listed without a state
        place = _Place(host, connection, identity)
        if any(place.has(account) for account in wanted):
            places.append(place)
    return places


def _looked(connection: Connection, job_ids: list[str]) -> Looks:
    return connection.run(_look(connection, job_ids))


async def _alooked(connection: Connection, job_ids: list[str]) -> Looks:
    return await connection.arun(_look(connection, job_ids))


def _look(connection: Connection, job_ids: list[str]) -> Exchange[Looks]:
    looks: Looks = {}
    for job_id in job_ids:
        try:
            looks[job_id] = yield from connection.protocol.retrieve_job(job_id)
        except JobNotFoundError:
            looks[job_id] = "the host has it no more"
        except HostError as e:
            # What one question is refused for, the others would be too.
            return {**{it: str(e) for it in job_ids}, **looks}
    return looks


def _place_of(name: str, settings: Mapping[str, Any]) -> tuple[str, str]:
    """Return provider and id of a job."""
    provider, colon, job_id = name.partition(":")
    if colon and provider in HOSTS:
        return provider, job_id
    if settings.get("base_url") is not None:
        return CUSTOM.name, name
    accounts = [account for account, attempt in _of_all_accounts(_MOST_SEARCHED) if attempt.job_id == name]
    for place in _places(accounts):
        return place.host.name, name
    known = ", ".join(f"{host}:{name}" for host in HOSTS if host != CUSTOM.name)
    reason = "no job of that id was ordered from this machine"
    if accounts:
        reason = f"it was ordered at {_shown(accounts[0])}, and {_NO_KEY}"
    msg = f"cannot tell where job {name} is: {reason}. Set the host's key and name its provider: {known}."
    raise JobNotFoundError(msg, name)


def _cells(entry: JobEntry) -> tuple[str, ...]:
    # The longest name stands last: a narrow terminal wraps that alone.
    name = entry.model or entry.base or _UNKNOWN
    return (entry.name, entry.status or _UNKNOWN, f"{entry.ordered_at:%Y-%m-%d %H:%M}", name)


def _shown(account: str) -> str:
    return account.partition("#")[0]


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
