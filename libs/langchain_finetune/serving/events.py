"""The events of one job, looked for once for all who follow them, and as server-sent events."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import orjson

from langchain_finetune.serving.told import scrubbed
from langchain_finetune.trainers.job import FineTuneJob
from langchain_finetune.trainers.jobs.job_state import event_id, event_time, numbers_in

ENDED: Final = frozenset({"succeeded", "failed", "cancelled"})
"""States in which a host has no more to tell."""


class SeenEvent(NamedTuple):
    """An event as clients get it."""

    id: str
    """The same for the same event, in every process."""
    data: dict[str, Any]


class Look(NamedTuple):
    """What a look at a job shows."""

    status: str
    events: list[SeenEvent]
    """All that were seen so far, oldest first; it grows."""


class JobWatch:
    """Looks at one job, at most once in so many seconds, however many ask.

    Args:
        job: The job.
        look_seconds: Least time between two looks.
        clock: Tells the time, in seconds since whenever.
    """

    def __init__(self, job: FineTuneJob, look_seconds: float, clock: Callable[[], float]) -> None:
        self.job = job
        self._look_seconds = look_seconds
        self._clock = clock
        self._asking = asyncio.Lock()
        self._looked_at: float | None = None
        self._known: set[str] = set()
        self._look = Look("", [])

    async def look(self, *, is_new: bool = False) -> Look:
        """Return what is known of the job, asking its host where that is old.

        Args:
            is_new: Whether the host is asked although what is known is young.

        Raises:
            HostError: The host refused, or cannot be reached.
        """
        async with self._asking:
            if is_new or not self._is_fresh():
                # In this order: the events of a job that has ended are all there.
                status = await self.job.astatus()
                events = await self.job.aevents(self._known)
                for event in events:
                    self._known.add(event_id(event))
                    self._look.events.append(seen_event(event))
                self._look = Look(status, self._look.events)
                self._looked_at = self._clock()
        return self._look

    def _is_fresh(self) -> bool:
        if self._looked_at is None:
            return False
        return self._look.status in ENDED or self._clock() - self._looked_at < self._look_seconds


def seen_event(event: Mapping[str, Any]) -> SeenEvent:
    """Return an event as clients get it: of what a host sends, the fields that are known and the numbers."""
    identifier = hashlib.sha256(event_id(event).encode(errors="surrogatepass")).hexdigest()[:16]
    data = event.get("data")
    told: dict[str, Any] = {"created_at": event_time(event)}
    for name in ("type", "level", "message"):
        if isinstance(value := event.get(name), str):
            # Half a surrogate pair is no JSON; a key or a place of the server's is none of the client's.
            told[name] = scrubbed(value.encode(errors="replace").decode())
    figures = numbers_in(data) if isinstance(data, Mapping) else {}
    told["data"] = {name.encode(errors="replace").decode(): number for name, number in figures.items()}
    return SeenEvent(identifier, told)


def events_after(events: list[SeenEvent], last_event_id: str | None) -> list[SeenEvent]:
    """Return the events that come after one, all of them where nobody knows that one."""
    for position in range(len(events) - 1, -1, -1):
        if events[position].id == last_event_id:
            return events[position + 1 :]
    return list(events)


def server_sent(event: str, data: Any, identifier: str | None = None) -> bytes:
    """Write one event in the form of [the standard](https://html.spec.whatwg.org/multipage/server-sent-events.html).

    Args:
        event: Its type.
        data: Its data, as JSON on one line.
        identifier: What a client that comes back names as the last one it had.
    """
    head = f"id: {identifier}\n" if identifier else ""
    return f"{head}event: {event}\ndata: ".encode() + orjson.dumps(data, default=to_json) + b"\n\n"


def to_json(value: Any) -> Any:
    """Turn what orjson does not know, a handle or a message, into what it does."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    return str(value)
